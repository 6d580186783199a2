"""Tests of masking: one module per module of `cdc_pipeline.transform`, and a search for canary values."""
