"""All commands, imported so that they register."""

from cdc_pipeline.cli import backfill, check, decode, demo, health, keys, plan, run, schema, sql, status

__all__ = ["backfill", "check", "decode", "demo", "health", "keys", "plan", "run", "schema", "sql", "status"]
