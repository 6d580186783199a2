from __future__ import annotations

import pytest

from cdc_pipeline.errors import ConfigurationError
from cdc_pipeline.offsets import Lane
from cdc_pipeline.orchestration import names


def test_plain_names_stay() -> None:
    """A name that Dagster takes as it is stays as it is."""
    assert names.drain_name("warehouse") == "drain_warehouse"


def test_different_names_stay_different() -> None:
    """Names that differ only in characters that Dagster refuses give different jobs."""
    assert len({names.drain_job_name(name) for name in ("eu-1", "eu.1", "eu_1")}) == 3


def test_keys_follow_the_table() -> None:
    """An asset's key is made of its place and its table's two names."""
    assert names.destination_key("eu.1", "shop.users").path == ["eu.1", "shop", "users"]
    assert names.cassandra_key("shop.users").path == ["cassandra", "shop", "users"]


def test_a_lane_has_a_tag() -> None:
    """A run's lane is one tag, so that a limit per value is a limit per lane."""
    assert names.lane_tags(Lane("warehouse", "node1")) == {"cdc/lane": "warehouse/node1"}


def test_a_destination_cannot_be_the_source() -> None:
    """A destination whose assets would be Cassandra's is refused with its key."""
    with pytest.raises(ConfigurationError, match=r"destinations\.cassandra: expected another name"):
        names.check_destination("cassandra")
