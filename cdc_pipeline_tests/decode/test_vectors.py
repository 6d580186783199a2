"""The worked example and the vectors of the format document's section 9, as bytes."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from cdc_pipeline_tests.decode import encoder as en
from cdc_pipeline_tests.decode.tables import KEY, MICROS, NOW, T, decode, insert, only_line, read

HEAD = bytes.fromhex("01 11111111 22221333 84445555 55555555 04 00000001")

SEGMENT = bytes.fromhex(
    "00000007 0000018bcfe56801 0002 7b7d 9362229a"
    "00000059 cd7c5877 00000031 709adf26"
    "01 11111111 22221333 84445555 55555555 04 00000001 10 fce9d96a43c000 00 00 01 01 76 01 24 00 01 61 00 08"
    "05 68656c6c6f 01 a2217321 00000000 00000000"
)

A = [{"name": "ck", "hex": "61", "json": "a"}]
NOTHING: dict[str, Any] = {"liveness": None, "deletion": None, "complex_deletions": {}, "cells": []}


def cell(column: str, value: str | int | None, micros: int, **more: Any) -> dict[str, Any]:
    """A cell of the dump form."""
    serialized = value.encode().hex() if isinstance(value, str) else None if value is None else f"{value:08x}"
    absent = {"path": None, "ttl": None, "expires": None, "tombstone": False, "local": None}
    return {"column": column, "hex": serialized, "json": value, "timestamp": micros, **absent, **more}


def row(prefix: list[dict[str, Any]] = A, **more: Any) -> dict[str, Any]:
    """A row of the dump form."""
    return {"clustering": prefix, **NOTHING, **more}


CK_A, CK_B = en.clustering([b"a"]), [b"b"]


def test_worked_example(tmp_path: Path, kernel: ModuleType) -> None:
    """The 97 bytes of the document read as the INSERT that they were made from, at position 89."""
    assert kernel
    batches = read(en.write(tmp_path, SEGMENT))
    line = only_line(batches)
    assert line["segment"] == "CommitLog-7-1700000000001.log"
    assert line["position"] == batches[-1].end == 89
    assert (line["keyspace"], line["table"], line["table_id"]) == ("ks", "t", str(T.id))
    assert line["key"] == [{"name": "pk", "hex": "00000001", "json": 1}]
    liveness = {"timestamp": MICROS, "ttl": None, "expires": None}
    assert line["rows"] == [row(liveness=liveness, cells=[cell("v", "hello", MICROS)])]


def test_encoder_writes_the_worked_example() -> None:
    """The tests' own encoder writes the document's bytes."""
    base = en.Base(MICROS)
    one = en.row(CK_A, [en.cell(b"hello")], live=en.Liveness(MICROS), base=base)
    mutation = en.mutation(en.update(T.id.bytes, KEY, [one], columns=["v"], base=base))
    assert len(mutation) == 49
    assert en.segment([en.entry(mutation)]) == SEGMENT


VECTORS: dict[str, tuple[str, dict[str, Any]]] = {
    "UPDATE with TTL": (
        "10 fce9d96a43c001 ef536510 8e10 01 0176 01 20 00 0161 02 00 00 00 03627965 01",
        {"rows": [row(cells=[cell("v", "bye", MICROS + 1, ttl=3600, expires=NOW + 3600)])]},
    ),
    "DELETE v": (
        "10 fce9d96a43c002 ef535700 00 01 0176 01 20 00 0161 05 00 00 01",
        {"rows": [row(cells=[cell("v", None, MICROS + 2, tombstone=True, local=NOW)])]},
    ),
    "DELETE row": (
        "10 fce9d96a43c003 ef535700 00 00 01 30 00 0161 00 00 01",
        {"rows": [row(deletion={"timestamp": MICROS + 3, "local": NOW})]},
    ),
    "DELETE partition": (
        "14 fce9d96a43c004 ef535700 00 00 00 00 00 01",
        {"deletion": {"timestamp": MICROS + 4, "local": NOW}},
    ),
    "DELETE ck > 'b'": (
        "10 fce9d96a43c005 ef535700 00 00 00 02 07 0001 00 0162 00 00 02 06 0000 00 00 01",
        {
            "ranges": [
                {
                    "start": {"values": [{"name": "ck", "hex": "62", "json": "b"}], "inclusive": False},
                    "end": {"values": [], "inclusive": True},
                    "timestamp": MICROS + 5,
                    "local": NOW,
                }
            ]
        },
    ),
    "INSERT m": (
        "10 fce9d96a43bfff ef535700 00 01 016d 01 64 00 0161 01 00 00 01 08 016b 04 00000007 01",
        {
            "rows": [
                row(
                    liveness={"timestamp": MICROS, "ttl": None, "expires": None},
                    complex_deletions={"m": {"timestamp": MICROS - 1, "local": NOW}},
                    cells=[cell("m", 7, MICROS, path="6b")],
                )
            ]
        },
    ),
    "UPDATE s (static)": (
        "18 fce9d96a43c000 00 00 01 0173 00 a001 00 00 0178 00 01",
        {"static": row([], cells=[cell("s", "x", MICROS)])},
    ),
}


@pytest.mark.parametrize("name", VECTORS)
def test_vector(tmp_path: Path, kernel: ModuleType, name: str) -> None:
    """Each of the further vectors reads as its statement."""
    assert kernel
    serialized, said = VECTORS[name]
    line = only_line(decode(tmp_path, HEAD + bytes.fromhex(serialized)))
    assert {**line, **said} == line
    rest: dict[str, Any] = {"deletion": None, "static": None, "rows": [], "ranges": []}
    assert {key: line[key] for key in rest if key not in said} == {k: v for k, v in rest.items() if k not in said}


def test_encoder_writes_the_vectors() -> None:
    """The tests' own encoder writes the document's vectors."""
    ttl, plain = en.Base(MICROS + 1, NOW + 3600, 3600), [en.Base(MICROS + i, NOW) for i in range(6)]
    before, timeless = en.Base(MICROS - 1, NOW), en.Base(MICROS)

    def gone(i: int) -> bytes:
        return plain[i].deletion(MICROS + i, NOW)

    bye = en.cell(b"bye", at=MICROS + 1, ttl=3600, local=NOW + 3600, base=ttl)
    none = en.cell(None, at=MICROS + 2, local=NOW, base=plain[2])
    entry = en.cell(en.number(7, 4), path=b"k")
    m = en.collection([entry], before.deletion(MICROS - 1, NOW))
    markers = [en.bound(en.EXCL_START, CK_B, gone(5)), en.bound(en.INCL_END, [], gone(5))]
    x = en.static_row([en.cell(b"x", at=MICROS, base=timeless)], base=timeless)
    written: dict[str, tuple[en.Base, list[bytes], dict[str, Any]]] = {
        "UPDATE with TTL": (ttl, [en.row(CK_A, [bye], base=ttl)], {"columns": ["v"]}),
        "DELETE v": (plain[2], [en.row(CK_A, [none])], {"columns": ["v"]}),
        "DELETE row": (plain[3], [en.row(CK_A, deletion=gone(3))], {}),
        "DELETE partition": (plain[4], [], {"deletion": gone(4)}),
        "DELETE ck > 'b'": (plain[5], markers, {}),
        "INSERT m": (
            before,
            [en.row(CK_A, [m], live=en.Liveness(MICROS), flags=0x40, base=before)],
            {"columns": ["m"]},
        ),
        "UPDATE s (static)": (timeless, [], {"static_columns": ["s"], "static": x}),
    }
    for name, (base, rows, more) in written.items():
        assert en.mutation(en.update(T.id.bytes, KEY, rows, base=base, **more)).hex() == _hex(name)
    assert set(written) == set(VECTORS)


def _hex(name: str) -> str:
    return (HEAD + bytes.fromhex(VECTORS[name][0])).hex()


def test_insert_of_these_tests(tmp_path: Path, kernel: ModuleType) -> None:
    """The short INSERT that other tests use reads back."""
    assert kernel
    assert only_line(decode(tmp_path, insert(b"x")))["rows"][0]["cells"][0]["json"] == "x"
