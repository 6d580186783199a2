"""The application: options that stand before and after the command, errors as one sentence, exit codes 0, 1 and 2."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from cdc_pipeline.cli.output import Output
from cdc_pipeline.errors import CdcError
from cdc_pipeline.observability.logging import configure_logging

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="The configuration; default CDC_CONFIG, else cdc.yaml.", metavar="FILE")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON lines instead of tables.")]

app = typer.Typer(
    name="cdc-pipeline",
    help="Cassandra's CDC segments, read natively, masked, and merged into PostgreSQL, TimescaleDB and ClickHouse.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


# typer carries a copy of click or uses the real one, by version: either way this is the root of its errors
_ClickError: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


class Common:
    """What stood before the command; the same options behind it win."""

    config: Path | None = None
    json: bool = False


@app.callback()
def _before(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "warning",
) -> None:
    Common.config = config
    Common.json = as_json
    configure_logging(json=True, level=log_level)


def output(as_json: bool) -> Output:
    """Where results go."""
    return Output(as_json or Common.json)


def config_path(config: Path | None) -> Path | None:
    """The configuration that was asked for."""
    return config or Common.config


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code. 0 all well, 1 something needs attention, 2 usage or configuration."""
    import cdc_pipeline.cli.commands  # noqa: F401 - the commands register themselves

    Common.config, Common.json = None, False
    try:
        code = app(args=list(arguments) if arguments is not None else None, standalone_mode=False)
        return code if isinstance(code, int) else 0
    except CdcError as error:
        given = list(arguments) if arguments is not None else sys.argv
        Output(Common.json or "--json" in given).error(str(error))
        return error.exit_code
    except _ClickError as error:
        error.show()
        return int(error.exit_code)
    except typer.Abort:
        return 1
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets, so that a run ends between two micro-batches; the second time, at once."""
    asked = threading.Event()

    def ask(_signal: int, _frame: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
