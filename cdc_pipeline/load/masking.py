"""How columns were masked when they were loaded: a key or a rule that changed silently would break every join, or leave
raw values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cdc_pipeline.errors import ConfigurationError
from cdc_pipeline.transform import TableMasks

How = tuple[str, str]
"""A decision and the fingerprint of its key."""

_IN_THE_CLEAR = ("NONE", "-")


def decided(masks: TableMasks, places: Mapping[str, str]) -> dict[str, How]:
    """How each column of a table is masked now. `places` maps a name of a key column's place to the column's: it is
    remembered by its place, too, for under another name it may be masked otherwise."""
    found = dict.fromkeys(masks.decisions, _IN_THE_CLEAR) | masks.fingerprints()
    return found | {place: found[name] for place, name in places.items()}


def check(destination: str, table: str, now: Mapping[str, How], loaded: Iterable[tuple[str, str, str]]) -> None:
    """`ConfigurationError` where a column (name, decision, fingerprint) was loaded otherwise than decided now."""
    for name, decision, fingerprint in loaded:
        if name in now and now[name] != (decision, fingerprint):
            what = "key" if now[name][0] == decision else "rule"
            raise ConfigurationError(
                f"expected the masking {what} that {table}.{name} was loaded with ({decision}, fingerprint "
                f"{fingerprint}), found another ({', fingerprint '.join(now[name])})",
                where=f"destination {destination}",
                key="masking",
            )
