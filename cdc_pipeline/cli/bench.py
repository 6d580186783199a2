"""`bench`: measures on given segments, several passes, and prints medians beside the limits of the same run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cdc_pipeline.capture.listing import segment_files
from cdc_pipeline.cli.app import JsonOption, app, output
from cdc_pipeline.cli.bench_decode import measure_decoding
from cdc_pipeline.cli.demo_files import DemoFolder
from cdc_pipeline.cli.output import Output
from cdc_pipeline.errors import ConfigurationError
from cdc_pipeline.schema import load_schema

bench_app = typer.Typer(help="Measure on your own segments.", no_args_is_help=True)
app.add_typer(bench_app, name="bench")

Directory = Annotated[Path | None, typer.Argument(help="A directory of segments; default the demo's recording.")]
Passes = Annotated[int, typer.Option(help="Counted passes after one that is not.", min=1)]
SchemaFile = Annotated[Path | None, typer.Option(help="Default: schema.json beside or above.", metavar="FILE")]


@bench_app.command("decode")
def bench_decode(
    directory: Directory = None,
    schema: SchemaFile = None,
    passes: Passes = 5,
    as_json: JsonOption = False,
) -> int:
    """Decodes all segments into Arrow columns, on one core, and says what each part of the work takes of it.

    Example: `cdc-pipeline bench decode data/cdc_raw`
    """
    directory = directory or recording()
    loaded = load_schema(schema or beside(directory))
    files = segment_files([directory])
    show(output(as_json), measure_decoding(files, loaded, passes).record())
    return 0


def recording() -> Path:
    """The demo's segments, unpacked below the working directory."""
    folder = DemoFolder(Path(".demo").resolve())
    folder.make()
    return folder.root / "cdc_raw"


def beside(directory: Path) -> Path:
    """The schema.json of segments."""
    for folder in (directory, directory.parent):
        if (folder / "schema.json").is_file():
            return folder / "schema.json"
    raise ConfigurationError("expected schema.json beside or above, or --schema FILE", where=str(directory))


def show(out: Output, figures: dict[str, object]) -> None:
    """One object, or a table of two columns."""
    out.record(figures)
    out.table("", ["figure", "value"], list(figures.items()))
