"""Settings: one YAML file and the environment, checked whole before anything starts.

`load_config(path)` gives frozen `Settings` or raises `ConfigurationError` naming file, key and what was expected. The
settings of one system (`PostgresSettings()`, …) load from the environment alone, without those of another.
"""

from cdc_pipeline.config.batch import BatchSettings
from cdc_pipeline.config.clickhouse import ClickHouseDestination, ClickHouseSettings
from cdc_pipeline.config.destinations import (
    Destination,
    PostgresDestination,
    PostgresSettings,
    TimescaleDestination,
    TimescaleSettings,
)
from cdc_pipeline.config.loading import load_config
from cdc_pipeline.config.place import TypeSettings
from cdc_pipeline.config.section import Secret
from cdc_pipeline.config.settings import (
    KeySource,
    MaskingSettings,
    MetricsSettings,
    RetrySettings,
    Settings,
)
from cdc_pipeline.config.source import (
    ArchiveSettings,
    CassandraSettings,
    ClusterSchema,
    FileSchema,
    KeyFileEncryption,
    KeystoreEncryption,
    ShardSettings,
    SourceSettings,
)

__all__ = [
    "ArchiveSettings",
    "BatchSettings",
    "CassandraSettings",
    "ClickHouseDestination",
    "ClickHouseSettings",
    "ClusterSchema",
    "Destination",
    "FileSchema",
    "KeyFileEncryption",
    "KeySource",
    "KeystoreEncryption",
    "MaskingSettings",
    "MetricsSettings",
    "PostgresDestination",
    "PostgresSettings",
    "RetrySettings",
    "Secret",
    "Settings",
    "ShardSettings",
    "SourceSettings",
    "TimescaleDestination",
    "TimescaleSettings",
    "TypeSettings",
    "load_config",
]
