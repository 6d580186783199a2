"""Mirrors `cdc_pipeline.decode`; `encoder` writes segments by the rules, in the plainest way."""
