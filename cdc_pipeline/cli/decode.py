"""`decode`: segments to stdout, no destination needed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cdc_pipeline.capture import ShardLog, watching
from cdc_pipeline.capture.listing import segment_files
from cdc_pipeline.change import START
from cdc_pipeline.cli.app import JsonOption, app, output, stopping
from cdc_pipeline.cli.changes import change_line, schema_change_json
from cdc_pipeline.cli.output import Output
from cdc_pipeline.decode import DecodedBatch, Decoder, KeyProvider, dump_lines
from cdc_pipeline.errors import ConfigurationError, SegmentError
from cdc_pipeline.following import LogReader
from cdc_pipeline.schema import SYSTEM_KEYSPACES, Table, TableFilter, load_schema
from cdc_pipeline.transform import KeyRing, MaskingPolicy, MaskingRules, TableMasks


class Format(StrEnum):
    """What is printed."""

    MUTATIONS = "mutations"
    CHANGES = "changes"


@app.command()
def decode(
    paths: Annotated[list[Path], typer.Argument(help="Segments or directories of segments.", metavar="PATH...")],
    schema: Annotated[Path, typer.Option(help="schema.json of the tables.", metavar="FILE")],
    schema_history: Annotated[Path | None, typer.Option(help="Earlier snapshots, NNN.json.", metavar="DIR")] = None,
    format: Annotated[Format, typer.Option(help="A line per partition update, or per row change.")] = Format.MUTATIONS,
    tables: Annotated[str | None, typer.Option(help="Only these, as 'shop.*,!shop.log'.", metavar="GLOB")] = None,
    keystore: Annotated[Path | None, typer.Option(help="Java keystore of encrypted segments.", metavar="FILE")] = None,
    keystore_password: Annotated[str | None, typer.Option(help="Its password, or env:NAME.", metavar="P")] = None,
    key_password: Annotated[str | None, typer.Option(help="The key's password, or env:NAME.", metavar="P")] = None,
    store_type: Annotated[str, typer.Option(help="JCEKS or JKS.")] = "JCEKS",
    key_file: Annotated[Path | None, typer.Option(help="The bare key as hex digits.", metavar="HEXFILE")] = None,
    with_ddl: Annotated[
        bool,
        typer.Option("--with-ddl", help="Read each row with the schema of its place, as DDL in the log changed it"),
    ] = False,
    schema_changes: Annotated[
        bool, typer.Option("--schema-changes", help="Print only what DDL and TRUNCATE in the log did.")
    ] = False,
    mask: Annotated[Path | None, typer.Option(help="Mask by these rules (changes only).", metavar="RULES")] = None,
    mask_keys: Annotated[Path | None, typer.Option("--keys", help="Key ring for --mask.", metavar="FILE")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what becomes durable, until Ctrl-C.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Prints what segments hold, as JSON lines.

    Example: `cdc-pipeline decode data/cdc_raw --schema data/schema.json --format changes`

    With `--follow DIR` a node's `cdc_raw` is read as Cassandra writes it: whole sections up to the offset in
    `_cdc.idx`.
    """
    out = output(as_json)
    keys = _keys(keystore, keystore_password, key_password, store_type, key_file)
    loaded = load_schema(schema, schema_history)
    files = [] if follow else segment_files(paths)
    chosen = TableFilter.of(tables.split(",") if tables else None)
    masks = _masks(mask, mask_keys, format)
    if masks is None and format is Format.CHANGES:
        out.message("values are printed as they are: masking is applied only with --mask RULES")
    decoder = Decoder(
        loaded,
        lambda t: not schema_changes and t.keyspace not in SYSTEM_KEYSPACES and chosen.matches(t.full_name),
        keys=keys,
        follow=with_ddl or schema_changes,
    )
    if (with_ddl or schema_changes) and not decoder.follows:
        raise ConfigurationError(
            "expected the tables of system_schema in it, to follow DDL; found none", where=str(schema)
        )
    printer = _Printer(format, masks, changes_only=schema_changes)
    if follow:
        return _follow(_directory(paths), decoder, printer, out)
    attention = False
    with out.progress() as bar:
        for file in bar.track(files, description="decoding"):
            try:
                for batch in decoder.read(file):
                    printer.show(batch)
                    for damage in batch.damage:
                        attention = True
                        out.message(str(damage.error))
            except SegmentError as error:
                attention = True
                out.message(str(error))
            except BrokenPipeError:
                raise
            except OSError as error:
                attention = True
                out.message(f"segment {file.name}: expected a readable file, found: {error.strerror}")
    sys.stdout.buffer.flush()
    return int(attention)


def _directory(paths: Sequence[Path]) -> Path:
    if len(paths) != 1 or not paths[0].is_dir():
        raise ConfigurationError(f"expected one directory with --follow, found {', '.join(map(str, paths))}")
    return paths[0]


def _follow(directory: Path, decoder: Decoder, printer: _Printer, out: Output) -> int:
    """Prints what is there, then what comes; returns when asked to stop."""
    source = ShardLog(directory.name, directory)
    told: list[str] = []

    def tell(message: str) -> None:
        if message not in told:
            told.append(message)
            out.message(message)

    position = START
    with stopping() as asked, watching(source) as changes, closing(LogReader(source, decoder, tell)) as log:
        while not asked.is_set():
            for batch in log.new(position):
                position = batch.position
                printer.show(batch)
                for damage in batch.damage:
                    tell(str(damage.error))
            sys.stdout.buffer.flush()
            changes.wait(asked)
    return int(bool(told))


class _Printer:
    """Writes batches to stdout as UTF-8, whatever the locale says."""

    def __init__(self, format: Format, masks: MaskingPolicy | None, *, changes_only: bool = False) -> None:
        self._format = format
        self._changes_only = changes_only
        self._policy = masks
        self._masks: dict[Table, TableMasks] = {}

    def show(self, batch: DecodedBatch) -> None:
        write = sys.stdout.buffer.write
        for line in dump_lines(batch.tables) if self._format is Format.MUTATIONS else self._changes(batch):
            write(line.encode() + b"\n")
        for event in batch.events if self._changes_only else ():
            line = json.dumps(schema_change_json(event), ensure_ascii=False, separators=(",", ":"))
            write(line.encode() + b"\n")

    def _changes(self, batch: DecodedBatch) -> Iterator[str]:
        lines = [
            (update, index, change_line(event, table.table, self._of(table.table)))
            for table in batch.tables
            for updates in [table.rows.column("update").to_pylist()]
            for index, event in table.indexed_events()
            for update in [updates[index]]
        ]
        lines.sort(key=lambda line: line[:2])
        return (line for _, _, line in lines)

    def _of(self, table: Table) -> TableMasks | None:
        if self._policy is None:
            return None
        if table not in self._masks:
            self._masks[table] = TableMasks(self._policy, table)
        return self._masks[table]


def _masks(rules: Path | None, keys: Path | None, format: Format) -> MaskingPolicy | None:
    if rules is None:
        return None
    if format is Format.MUTATIONS:
        raise ConfigurationError("expected --format changes with --mask: the form of mutations holds raw bytes")
    return MaskingPolicy(MaskingRules.load(rules), KeyRing.load(keys) if keys is not None else None)


def _keys(
    keystore: Path | None, password: str | None, key_password: str | None, store_type: str, key_file: Path | None
) -> KeyProvider | None:
    if keystore is not None and key_file is not None:
        raise ConfigurationError("expected --keystore or --key-file, found both")
    if key_file is not None:
        return KeyProvider.from_hex_file(key_file)
    if keystore is None:
        return None
    if password is None:
        raise ConfigurationError("expected --keystore-password with --keystore, found none")
    own = _password(key_password) if key_password is not None else None
    return KeyProvider.from_keystore(keystore, _password(password), own, store_type.upper())


def _password(text: str) -> str:
    if not text.startswith("env:"):
        return text
    name = text.removeprefix("env:")
    if name not in os.environ:
        raise ConfigurationError(f"expected a password in the environment variable {name}, found it not set")
    return os.environ[name]
