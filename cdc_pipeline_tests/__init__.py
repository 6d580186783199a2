"""Mirrors `cdc_pipeline`: one test module per module; every docstring is a claim."""
