"""Mirrors `cdc_pipeline.types`; `values` serializes, draws and compares values in the plainest way."""
