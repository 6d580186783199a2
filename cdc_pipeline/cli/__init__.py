"""`cdc-pipeline`: a thin layer over the library.

`app.py` the commands' common part and `main`; `output.py` tables for people, JSON lines for programs; then a module per
command or family of commands.
"""

from cdc_pipeline.cli.app import main

__all__ = ["main"]
