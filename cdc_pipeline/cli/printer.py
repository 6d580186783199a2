"""Where `decode` puts what it read: lines on stdout or in a file, or a Parquet file of changes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from cdc_pipeline.cli.changes import masked_by, schema_change_json
from cdc_pipeline.decode import DecodedBatch, change_schema, dump_lines
from cdc_pipeline.decode.changes import Show, change_line, change_record, ordered_events, records_table
from cdc_pipeline.errors import ConfigurationError
from cdc_pipeline.schema import Table
from cdc_pipeline.transform import MaskingPolicy, TableMasks

_ROW_GROUP = 50_000


class Format(StrEnum):
    """What is printed."""

    MUTATIONS = "mutations"
    CHANGES = "changes"


class Printer(Protocol):
    """Takes batches in the log's order."""

    def show(self, batch: DecodedBatch) -> None:
        """Prints a batch."""

    def flush(self) -> None:
        """Gives away what was held back."""


class Masks:
    """How the values of each table are shown."""

    def __init__(self, policy: MaskingPolicy | None) -> None:
        self._policy = policy
        self._shows: dict[Table, Show] = {}

    def records(self, batch: DecodedBatch) -> Iterator[dict[str, Any]]:
        """The changes of a batch in the log's order."""
        return (change_record(event, table, self._of(table)) for event, table in ordered_events(batch.tables))

    def _of(self, table: Table) -> Show:
        if table not in self._shows:
            self._shows[table] = masked_by(None if self._policy is None else TableMasks(self._policy, table))
        return self._shows[table]


class LinePrinter:
    """JSON lines as UTF-8, whatever the locale says."""

    def __init__(self, out: BinaryIO, format: Format, masks: Masks, *, changes_only: bool = False) -> None:
        self._out = out
        self._format = format
        self._changes_only = changes_only
        self._masks = masks

    def show(self, batch: DecodedBatch) -> None:
        lines = dump_lines(batch.tables) if self._format is Format.MUTATIONS else self._changes(batch)
        for line in lines:
            self._out.write(line.encode() + b"\n")
        for event in batch.events if self._changes_only else ():
            line = json.dumps(schema_change_json(event), ensure_ascii=False, separators=(",", ":"))
            self._out.write(line.encode() + b"\n")

    def flush(self) -> None:
        self._out.flush()

    def _changes(self, batch: DecodedBatch) -> Iterator[str]:
        return map(change_line, self._masks.records(batch))


class ParquetPrinter:
    """Changes as rows of a Parquet file, in row groups."""

    def __init__(self, file: BinaryIO, masks: Masks) -> None:
        import pyarrow.parquet as pq

        self._writer = pq.ParquetWriter(file, change_schema(), compression="zstd")
        self._masks = masks
        self._held: list[Mapping[str, Any]] = []

    def show(self, batch: DecodedBatch) -> None:
        self._held += self._masks.records(batch)
        if len(self._held) >= _ROW_GROUP:
            self.flush()

    def flush(self) -> None:
        if self._held:
            self._writer.write_table(records_table(self._held))
        self._held = []

    def close(self) -> None:
        """Writes the end of the file."""
        self.flush()
        self._writer.close()


@contextmanager
def printing(
    output: Path | None, format: Format, policy: MaskingPolicy | None, *, changes_only: bool
) -> Iterator[Printer]:
    """A printer to stdout, or to a file that appears whole: beside it first, then renamed."""
    masks = Masks(policy)
    if output is None:
        yield LinePrinter(sys.stdout.buffer, format, masks, changes_only=changes_only)
        return
    part = output.with_name(output.name + ".part")
    try:
        with part.open("wb") as file:
            if output.suffix == ".parquet":
                with closing(ParquetPrinter(file, masks)) as printer:
                    yield printer
            else:
                yield LinePrinter(file, format, masks, changes_only=changes_only)
        part.rename(output)
    except OSError as error:  # the segments' own are caught where they are read
        raise ConfigurationError(f"expected a file to write, found: {error.strerror}", where=str(output)) from None
    finally:
        part.unlink(missing_ok=True)
