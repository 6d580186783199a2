"""Results on stdout, for people or as JSON lines; messages on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

_WIDTH = 120
"""Columns of a table that goes into a file or a pipe."""


class Output:
    """`as_json`: every record is one JSON object a line."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self._out = Console(soft_wrap=True, highlight=False)
        if not self._out.is_terminal:
            self._out.width = _WIDTH
        self._err = Console(stderr=True, soft_wrap=True, highlight=False)

    def record(self, record: Mapping[str, Any]) -> None:
        """One JSON line; for people nothing."""
        if self.as_json:
            sys.stdout.write(json.dumps(record, ensure_ascii=False, default=str) + "\n")

    def text(self, text: str = "") -> None:
        """A line for people."""
        if not self.as_json:
            self._out.print(text)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A table for people; numbers to the right."""
        if self.as_json:
            return
        table = Table(title=title or None, title_justify="left", header_style="bold")
        for index, column in enumerate(columns):
            numbers = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
            table.add_column(column, justify="right" if numbers else "left", overflow="fold")
        for row in rows:
            table.add_row(*(_cell(value) for value in row))
        self._out.print(table)

    def message(self, text: str) -> None:
        """A line on stderr."""
        self._err.print(text, markup=False)

    def error(self, text: str) -> None:
        """What went wrong, on stderr."""
        if self.as_json:
            sys.stderr.write(json.dumps({"error": text}, ensure_ascii=False) + "\n")
        else:
            self._err.print(f"error: {text}", markup=False, style="red")

    def progress(self, *columns: ProgressColumn) -> Progress:
        """A progress bar on stderr; silent where that is no terminal."""
        shown = columns or (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        silent = self.as_json or not self._err.is_terminal
        return Progress(*shown, console=self._err, transient=True, disable=silent)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ")
    if isinstance(value, float):
        return f"{value:,.3f}".replace(",", " ")
    return "" if value is None else str(value)
