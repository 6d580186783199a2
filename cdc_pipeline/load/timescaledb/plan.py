"""What one Cassandra table becomes in TimescaleDB: PostgreSQL's plan, and the time of its rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from cdc_pipeline.load.postgres.plan import TablePlan
from cdc_pipeline.load.timescaledb.timecolumn import TimeColumn, bounded, time_column


@dataclass(frozen=True)
class HypertablePlan(TablePlan):
    """The plan of a table whose rows are a hypertable by `time`, without which it is a plain table."""

    time: TimeColumn | None = None

    @property
    def row_key(self) -> tuple[str, ...]:
        """TimescaleDB refuses a unique index without the time."""
        known = super().row_key
        return known if self.time is None or self.time.name in known else (*known, self.time.name)

    @property
    def derived(self) -> Mapping[str, tuple[str, str]]:
        """The time, where it is made of a key column."""
        if self.time is None or self.time.expression is None:
            return {}
        return {self.time.name: ("timestamp with time zone", self.time.expression)}

    @property
    def takes_copies(self) -> bool:
        """A hypertable's rows are merged: a compressed chunk has no index of all its keys."""
        return self.time is None and super().takes_copies

    @property
    def covers_by_key(self) -> bool:
        """An UPDATE over a join unpacks every compressed chunk."""
        return self.time is not None


def hypertable_plan(plan: TablePlan, *, wanted: bool) -> HypertablePlan:
    """The plan of a table in TimescaleDB; `wanted`: the configuration lets it be a hypertable."""
    fields = {field.name: getattr(plan, field.name) for field in dataclasses.fields(TablePlan)}
    time = time_column(plan) if wanted else None
    if time is None:
        why = "no hypertable: "
        why += (
            "no timestamp, date or timeuuid column in its primary key that is not masked"
            if wanted
            else "the configuration says so"
        )
        return HypertablePlan(**{**fields, "warnings": (*plan.warnings, why)})
    if time.expression is None:
        for part in ("partition_key", "clustering"):
            fields[part] = tuple(bounded(key) if key == time.key else key for key in fields[part])
    return HypertablePlan(**fields, time=time)
