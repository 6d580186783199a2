"""`decode`: segments to stdout, no destination needed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from cdc_pipeline.capture import ShardLog, watching
from cdc_pipeline.capture.listing import segment_files
from cdc_pipeline.change import START
from cdc_pipeline.cli.app import JsonOption, app, output, stopping
from cdc_pipeline.cli.output import Output
from cdc_pipeline.cli.printer import Format, Printer, printing
from cdc_pipeline.decode import Decoder, KeyProvider
from cdc_pipeline.errors import ConfigurationError, SegmentError
from cdc_pipeline.following import LogReader
from cdc_pipeline.schema import SYSTEM_KEYSPACES, TableFilter, load_schema
from cdc_pipeline.transform import KeyRing, MaskingPolicy, MaskingRules


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
    to: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Into this file; .parquet takes a row per change.", metavar="FILE"),
    ] = None,
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
    if to is not None and to.suffix == ".parquet":
        if schema_changes:
            raise ConfigurationError("expected a file of lines with --schema-changes, found .parquet", where=str(to))
        format = Format.CHANGES
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
    with printing(to, format, masks, changes_only=schema_changes) as printer:
        if follow:
            return _follow(_directory(paths), decoder, printer, out)
        return _print(files, decoder, printer, out)


def _print(files: Sequence[Path], decoder: Decoder, printer: Printer, out: Output) -> int:
    """Prints segments in order; 1 when something in them could not be read."""
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
    printer.flush()
    return int(attention)


def _directory(paths: Sequence[Path]) -> Path:
    if len(paths) != 1 or not paths[0].is_dir():
        raise ConfigurationError(f"expected one directory with --follow, found {', '.join(map(str, paths))}")
    return paths[0]


def _follow(directory: Path, decoder: Decoder, printer: Printer, out: Output) -> int:
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
            printer.flush()
            changes.wait(asked)
    return int(bool(told))


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
