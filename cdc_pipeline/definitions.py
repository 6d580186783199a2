"""What Dagster loads: the definitions of `CDC_CONFIG`, else of `cdc.yaml` in the working directory."""

from cdc_pipeline.orchestration import load_definitions

defs = load_definitions()
