"""Mirrors `cdc_pipeline.schema`."""
