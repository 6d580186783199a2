"""All commands, imported so that they register."""

from cdc_pipeline.cli import backfill, bench, check, decode, demo, health, keys, plan, run, schema, sql, status

__all__ = ["backfill", "bench", "check", "decode", "demo", "health", "keys", "plan", "run", "schema", "sql", "status"]
