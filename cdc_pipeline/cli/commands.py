"""All commands, imported so that they register."""

from cdc_pipeline.cli import (
    archive,
    backfill,
    bench,
    bench_live,
    bench_load,
    check,
    decode,
    demo,
    health,
    keys,
    plan,
    run,
    schema,
    sql,
    status,
)

__all__ = [
    "archive",
    "backfill",
    "bench",
    "bench_live",
    "bench_load",
    "check",
    "decode",
    "demo",
    "health",
    "keys",
    "plan",
    "run",
    "schema",
    "sql",
    "status",
]
