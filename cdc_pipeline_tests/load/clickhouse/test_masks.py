"""A masking key or rule that changed since a table was loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cdc_pipeline.errors import ConfigurationError
from cdc_pipeline.load.clickhouse.options import ClickHouseOptions
from cdc_pipeline.load.clickhouse.sink import ClickHouseSink
from cdc_pipeline.transform import KeyRing, MaskingPolicy, MaskingRules, TableMasks
from cdc_pipeline_tests.clickhouse import ChDatabase
from cdc_pipeline_tests.load.changes import table
from cdc_pipeline_tests.load.clickhouse.destination import address_of

USERS = table("users", key=[("id", "int")], regular=[("name", "text")])


def policy(fields: tuple[str, ...], ring: KeyRing) -> TableMasks:
    """The masks of `users` by a rule for these fields."""
    return TableMasks(MaskingPolicy(MaskingRules(pii_fields=fields, phi_fields=()), ring), USERS)


def test_another_key_or_rule_is_refused(make_ch_database: Callable[[], ChDatabase], tmp_path: Path) -> None:
    """The same one goes on; another stops before anything is loaded, and says which column."""
    place = make_ch_database()
    options = ClickHouseOptions(state_database=f"{place.prefix}cdc", prefix=place.prefix)
    one, other = (KeyRing.generate(tmp_path / name) for name in ("one.json", "other.json"))

    def prepare(masks: TableMasks) -> None:
        sink = ClickHouseSink("lake", address_of(place), options=options)
        try:
            sink.prepare([(USERS, masks)])
        finally:
            sink.close()

    prepare(policy(("name",), one))
    prepare(policy(("name",), one))
    with pytest.raises(ConfigurationError, match=r"expected the masking key that ks\.users\.name was loaded with"):
        prepare(policy(("name",), other))
    with pytest.raises(ConfigurationError, match=r"expected the masking rule that ks\.users\.name was loaded with"):
        prepare(policy((), one))
