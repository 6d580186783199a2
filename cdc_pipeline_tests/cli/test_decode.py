"""`decode` prints what Cassandra's own reader prints, and says where bytes are damaged."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cdc_pipeline_tests.cli.conftest import Shell
from cdc_pipeline_tests.recordings import Recording


def test_mutations_equal_the_oracle(shell: Shell, open_recording: Callable[[str], Recording]) -> None:
    """The lines on stdout are the dump of Cassandra's own reader, byte for byte; nothing is on stderr."""
    answer = shell("decode", "cdc_raw", "--schema", "schema.json", "--format", "mutations")
    assert answer.code == 0
    assert answer.out.encode().split(b"\n")[:-1] == open_recording("tombstones-5.0").main.oracle_lines()
    assert answer.err == ""


def test_a_locale_of_ascii_still_prints_utf8(shell: Shell, open_recording: Callable[[str], Recording]) -> None:
    """The installed script writes UTF-8 whatever the locale says."""
    script = Path(sys.executable).with_name("cdc-pipeline")
    command = [script, "decode", "cdc_raw", "--schema", "schema.json"]
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=shell.folder, env=environment, capture_output=True, timeout=60, check=True)
    assert done.stdout.split(b"\n")[:-1] == open_recording("tombstones-5.0").main.oracle_lines()


@pytest.mark.parametrize("by", ["keystore", "key file"])
def test_encrypted_segments(by: str, shell: Shell, open_recording: Callable[[str], Recording]) -> None:
    """A keystore, its password in a variable, or the bare key opens encrypted segments."""
    recording = open_recording("shop-encrypted-5.0")
    assert recording.keystore is not None
    Path("key.hex").write_text(recording.keystore["AES key (hex)"] + "\n")
    options = {
        "keystore": ["--keystore", str(recording.path / "keystore.jceks"), "--keystore-password", "recording"],
        "key file": ["--key-file", "key.hex"],
    }[by]
    schema = str(recording.path / "schema.json")
    answer = shell("decode", str(recording.path / "cdc_raw"), "--schema", schema, *options)
    assert answer.code == 0
    assert answer.out.encode().split(b"\n")[:-1] == recording.main.oracle_lines()


def test_an_encrypted_segment_without_its_key(shell: Shell, open_recording: Callable[[str], Recording]) -> None:
    """Without a key the sentence names the segment and the alias, and the exit code is 2."""
    recording = open_recording("shop-encrypted-5.0")
    answer = shell("decode", str(recording.path / "cdc_raw"), "--schema", str(recording.path / "schema.json"))
    assert answer.code == 2
    assert "CommitLog-7-" in answer.err
    assert "testing:1" in answer.err
    assert answer.out == ""


def test_tables_by_glob(shell: Shell) -> None:
    """`--tables` takes globs and takes away with `!`."""
    answer = shell("decode", "cdc_raw", "--schema", "schema.json", "--tables", "tombs.*,!tombs.up")
    assert {record["table"] for record in answer.records} == {"down", "mixed", "one", "single"}


def test_changes_say_that_they_are_not_masked(shell: Shell) -> None:
    """`--format changes` prints a readable object per change and warns on stderr that values are in the clear."""
    answer = shell("decode", "cdc_raw", "--schema", "schema.json", "--format", "changes")
    assert answer.code == 0
    assert "--mask" in answer.err
    types = {record["event_type"] for record in answer.records}
    assert types == {"insert", "update", "delete", "range_delete", "partition_delete"}
    assert len({record["event_id"] for record in answer.records}) == len(answer.records)


def test_changes_masked(shell: Shell) -> None:
    """With `--mask` no value of a masked column is printed, in keys and in collections neither."""
    shell("keys", "generate", "keys.json")
    Path("rules.yaml").write_text(
        "rules:\n"
        "  - {match: 'tombs.single.v', strategy: PII_HASH}\n"
        "  - {match: 'tombs.single.m', strategy: PII_HASH}\n"
        "  - {match: 'tombs.single.pk', strategy: PHI_TOKENIZE}\n"
    )
    options = ["--format", "changes", "--tables", "tombs.single", "--mask", "rules.yaml", "--keys", "keys.json"]
    answer = shell("decode", "cdc_raw", "--schema", "schema.json", *options)
    assert answer.code == 0
    assert answer.err == ""
    values = [cell["value"] for record in answer.records for cell in record["cells"] if cell["column"] in ("v", "m")]
    assert {value[:6] for value in values if value is not None} == {"h1.k1."}
    assert {record["partition_key"]["pk"][:6] for record in answer.records} == {"t1.k1."}


def test_masked_mutations_are_refused(shell: Shell) -> None:
    """The dump form holds raw bytes: it cannot be masked."""
    Path("rules.yaml").write_text("{}\n")
    answer = shell("decode", "cdc_raw", "--schema", "schema.json", "--mask", "rules.yaml")
    assert answer.code == 2
    assert "--format changes" in answer.err


def test_a_damaged_mutation_is_named_and_the_rest_goes_on(shell: Shell) -> None:
    """One flipped byte costs one mutation: stderr names segment and offset, exit code 1."""
    whole = shell("decode", "cdc_raw", "--schema", "schema.json").out.splitlines()
    segment = shell.segments[0]
    raw = bytearray(segment.read_bytes())
    raw[raw.index(b"re-inserted")] ^= 1
    segment.write_bytes(raw)
    answer = shell("decode", "cdc_raw", "--schema", "schema.json")
    assert answer.code == 1
    assert segment.name in answer.err
    assert "mutation CRC expected" in answer.err
    left = answer.out.splitlines()
    assert 0 < len(whole) - len(left) <= 5
    assert set(left) < set(whole)


def test_a_broken_segment_leaves_the_others(shell: Shell) -> None:
    """A file of an unknown version and one cut to nothing are named; the good one is printed."""
    whole = shell("decode", "cdc_raw", "--schema", "schema.json").out
    good = shell.segments[0]
    Path("cdc_raw/CommitLog-7-1.log").write_bytes(b"")
    Path("cdc_raw/CommitLog-7-2.log").write_bytes(good.read_bytes()[:10] + bytes(100))
    answer = shell("decode", "cdc_raw", "--schema", "schema.json")
    assert answer.code == 1
    assert answer.out == whole
    assert "CommitLog-7-1.log, offset 0" in answer.err
    assert "CommitLog-7-2.log, offset" in answer.err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["decode", "nowhere", "--schema", "schema.json"], "nowhere"),
        (["decode", "cdc_raw", "--schema", "nowhere.json"], "nowhere.json"),
        (["decode", "cdc_raw", "--schema", "cdc.yaml"], "cdc.yaml"),
        (["decode", "cdc_raw", "--schema", "schema.json", "--schema-history", "nowhere"], "nowhere"),
        (["decode", "cdc_raw", "--schema", "schema.json", "--key-file", "nowhere"], "nowhere"),
        (["decode", "cdc_raw", "--schema", "schema.json", "--keystore", "nowhere"], "--keystore-password"),
        (["decode", "cdc_raw", "--schema", "schema.json", "--mask", "nowhere", "--format", "changes"], "nowhere"),
        (["decode", "cdc_raw"], "--schema"),
        (["decode"], "PATH"),
    ],
)
def test_wrong_usage_is_one_sentence(arguments: list[str], named: str, shell: Shell) -> None:
    """What was asked for and is not there is named; exit code 2, no traceback."""
    answer = shell(*arguments)
    assert answer.code == 2
    assert named in answer.err
    assert "Traceback" not in answer.err
    assert answer.out == ""


def test_parquet(shell: Shell) -> None:
    """`--output FILE.parquet` holds a row for each line of `--format changes`; nothing lies beside it."""
    lines = shell("decode", "cdc_raw", "--schema", "schema.json", "--format", "changes").records
    answer = shell("decode", "cdc_raw", "--schema", "schema.json", "--output", "changes.parquet")
    assert (answer.code, answer.out) == (0, "")
    table = pq.read_table("changes.parquet")
    assert table.column("event_id").to_pylist() == [line["event_id"] for line in lines]
    assert not list(Path().glob("*.part"))


def test_lines_into_a_file(shell: Shell) -> None:
    """`--output FILE` takes what would go to stdout."""
    printed = shell("decode", "cdc_raw", "--schema", "schema.json").out
    assert shell("decode", "cdc_raw", "--schema", "schema.json", "-o", "mutations.jsonl").out == ""
    assert Path("mutations.jsonl").read_text(encoding="utf-8") == printed


def test_parquet_is_masked(shell: Shell) -> None:
    """`--mask` holds for it too: no value of a masked column is in the file."""
    shell("keys", "generate", "keys.json")
    Path("rules.yaml").write_text("rules:\n  - {match: '*.*.v', strategy: PII_HASH}\n")
    plain = shell("decode", "cdc_raw", "--schema", "schema.json", "-o", "plain.parquet")
    masked = shell(
        *("decode", "cdc_raw", "--schema", "schema.json", "--mask", "rules.yaml", "--keys", "keys.json"),
        *("-o", "masked.parquet"),
    )
    assert (plain.code, masked.code) == (0, 0)
    values = {
        cell["value"]
        for cells in pq.read_table("plain.parquet").column("cells").to_pylist()
        for cell in cells
        if cell["column"] == "v" and cell["value"] is not None
    }
    shown = {
        cell["value"]
        for cells in pq.read_table("masked.parquet").column("cells").to_pylist()
        for cell in cells
        if cell["column"] == "v"
    }
    assert len(values) > 10
    assert not values & shown


def test_a_file_that_cannot_be_written(shell: Shell) -> None:
    """One sentence that names it, exit code 2."""
    answer = shell("decode", "cdc_raw", "--schema", "schema.json", "-o", "nowhere/changes.parquet")
    assert answer.code == 2
    assert "nowhere/changes.parquet: expected a file to write, found: No such file or directory" in answer.err
