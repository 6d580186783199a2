from __future__ import annotations

from dataclasses import replace

import pytest

from cdc_pipeline.schema import TableFilter
from cdc_pipeline_tests.decode.tables import make_table


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        (None, {"ks.a", "ks.b", "shop.a"}),
        (["*"], {"ks.a", "ks.b", "shop.a"}),
        (["ks.*"], {"ks.a", "ks.b"}),
        (["*.a"], {"ks.a", "shop.a"}),
        (["ks.a", "shop.a"], {"ks.a", "shop.a"}),
        (["k?.[ab]"], {"ks.a", "ks.b"}),
        (["!ks.a"], {"ks.b", "shop.a"}),
        (["!ks.*", "!shop.*"], set()),
        (["*", "!ks.a"], {"ks.b", "shop.a"}),
        (["*", "!ks.*", "ks.b"], {"shop.a"}),
        (["!ks.a", "ks.a"], set()),
        ([], {"ks.a", "ks.b", "shop.a"}),
        (["KS.A"], set()),
        (["ks"], set()),
    ],
)
def test_patterns(patterns: list[str] | None, chosen: set[str]) -> None:
    """Globs over `keyspace.table`; `!` takes away, wherever it stands; only `!` begins with everything."""
    table_filter = TableFilter.of(patterns)
    assert {name for name in ("ks.a", "ks.b", "shop.a") if table_filter.matches(name)} == chosen


@pytest.mark.parametrize("patterns", [None, ["*"], ["ks.t"]])
def test_never_loaded(patterns: list[str] | None) -> None:
    """Views, tables without CDC and Cassandra's own are never loaded, whatever the patterns say."""
    table_filter = TableFilter.of(patterns)
    assert table_filter.selects(make_table())
    assert not table_filter.selects(make_table(is_view=True))
    assert not table_filter.selects(make_table(cdc=False))


def test_cassandras_own_tables() -> None:
    """The node's keyspaces stay out, although a pattern may name them."""
    own = replace(make_table("local"), keyspace="system")
    assert not TableFilter.of(["system.*"]).selects(own)
    assert TableFilter.of(["system.*"]).matches(own.full_name)


def test_filters_are_values() -> None:
    """A filter can be compared and hashed."""
    assert TableFilter.of(["a", "b"]) == TableFilter(("a", "b"))
    assert hash(TableFilter.of(None)) == hash(TableFilter())
