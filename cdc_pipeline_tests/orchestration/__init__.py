"""Mirrors `cdc_pipeline.orchestration`: real recordings, a real PostgreSQL, a real Dagster instance."""
