"""Apache Cassandra's change data, read natively, masked, and merged into other databases.

The stages in the data's order, a folder each:

    capture      which bytes of which segments are safe to read
    decode       segments to `ChangeBatch`es of Arrow columns
    transform    compaction to one row per key, masking
    load         a destination's types, and one transaction per micro-batch

Beside them: `types` CQL types, `schema` tables, `offsets` and `dlq` records of positions and dead letters,
`observability`, `embedded`. `pipeline` tells the way of one micro-batch, of which `ahead` makes the next meanwhile;
`project` makes everything from the settings;
`orchestration` is Dagster, and only there; `cli` is the command line.

The public names are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PUBLIC = {
    "ChangeBatch": "change",
    "ChangeEvent": "change",
    "EventType": "change",
    "Position": "change",
    "CdcError": "errors",
    "ConfigurationError": "errors",
    "Settings": "config",
    "load_config": "config",
    "Decoder": "decode",
    "Schema": "schema",
    "Table": "schema",
    "load_schema": "schema",
    "MaskingRules": "transform",
    "MaskingStrategy": "transform",
    "classify_field": "transform",
    "DeadLetterEvent": "dlq",
    "FailureReason": "dlq",
    "Lane": "offsets",
    "LaneState": "offsets",
    "LaneRunner": "pipeline",
    "Project": "project",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    """A public name, from the module that has it (PEP 562)."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return __all__
