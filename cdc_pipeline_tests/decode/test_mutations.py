"""The dump's own rules; what its values print as is tested with the types and against every recording."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cdc_pipeline.decode import dump_lines
from cdc_pipeline_tests.decode import encoder as en
from cdc_pipeline_tests.decode.tables import KEY, MICROS, NOW, T, decode, insert, make_table, only_line

A = en.clustering([b"a"])


def test_line_to_the_byte(tmp_path: Path) -> None:
    """Keys in the promised order, no spaces, everything there."""
    (batch,) = decode(tmp_path, insert())
    assert list(dump_lines(batch.tables)) == [
        '{"segment":"CommitLog-7-1700000000001.log","position":89,"keyspace":"ks","table":"t",'
        '"table_id":"11111111-2222-1333-8444-555555555555","key":[{"name":"pk","hex":"00000001","json":1}],'
        '"deletion":null,"static":null,"rows":[{"clustering":[{"name":"ck","hex":"61","json":"a"}],'
        '"liveness":{"timestamp":1700000000000000,"ttl":null,"expires":null},"deletion":null,"complex_deletions":{},'
        '"cells":[{"column":"v","path":null,"hex":"68656c6c6f","json":"hello","timestamp":1700000000000000,'
        '"ttl":null,"expires":null,"tombstone":false,"local":null}]}],"ranges":[],"cdc":true}'
    ]


def test_order_of_several_tables(tmp_path: Path) -> None:
    """Lines of several tables lie as their updates lie in the segment."""
    other = make_table("other")
    texts = [b"1", b"2", b"3", b"4", b"5"]
    mutations = [insert(text, table=other if i % 2 else T) for i, text in enumerate(texts)]
    (batch,) = decode(tmp_path, *mutations, tables=[other, T])
    shown = [json.loads(line) for line in dump_lines(batch.tables)]
    assert [line["rows"][0]["cells"][0]["json"] for line in shown] == ["1", "2", "3", "4", "5"]
    assert [line["table"] for line in shown] == ["t", "other", "t", "other", "t"]


def test_nothing() -> None:
    """No batches, no lines."""
    assert list(dump_lines([])) == []


@pytest.mark.parametrize("cdc", [True, False])
def test_cdc(tmp_path: Path, cdc: bool) -> None:
    """Tables without CDC are dumped too, and say so."""
    table = make_table("plain", cdc=cdc)
    assert only_line(decode(tmp_path, insert(table=table), tables=[table]))["cdc"] is cdc


def test_names_are_escaped(tmp_path: Path) -> None:
    """Names of tables and columns are JSON strings."""
    table = make_table('a "b"\n', regular=[('"v"\\', "text")])
    row = en.row(A, [en.cell(b"x", at=MICROS)])
    mutation = en.mutation(en.update(table.id.bytes, KEY, [row], columns=['"v"\\']))
    line = only_line(decode(tmp_path, mutation, tables=[table]))
    assert (line["table"], line["rows"][0]["cells"][0]["column"]) == ('a "b"\n', '"v"\\')


def test_value_that_its_type_cannot_read(tmp_path: Path) -> None:
    """A value too short for its type prints as null, its bytes stand in hex; nothing stops."""
    table = make_table("bad", regular=[("d", "decimal"), ("u", "text"), ("z", "date")])
    cells = [en.cell(b"\1", at=MICROS), en.cell(b"\xff\xfe", at=MICROS), en.cell(b"\1\2", at=MICROS)]
    mutation = en.mutation(en.update(table.id.bytes, KEY, [en.row(A, cells)], columns=["d", "u", "z"]))
    (row,) = only_line(decode(tmp_path, mutation, tables=[table]))["rows"]
    assert [cell["hex"] for cell in row["cells"]] == ["01", "fffe", "0102"]
    assert (row["cells"][0]["json"], row["cells"][2]["json"]) == (None, None)


def test_field_that_the_type_lacks(tmp_path: Path) -> None:
    """A cell of a user type's field that the schema at hand does not have yet prints as null."""
    table = make_table("udt", regular=[("n", "name")])
    cells = en.collection([en.cell(b"x", at=MICROS, path=b"\0\7"), en.cell(b"y", at=MICROS, path=b"\0\1")])
    mutation = en.mutation(en.update(table.id.bytes, KEY, [en.row(A, [cells])], columns=["n"]))
    (row,) = only_line(decode(tmp_path, mutation, tables=[table]))["rows"]
    assert [(cell["hex"], cell["json"]) for cell in row["cells"]] == [("78", None), ("79", "y")]


def test_complex_deletion_beside_cells(tmp_path: Path) -> None:
    """Deletions of whole columns stand apart from the cells, under their column's name."""
    cells = en.collection([en.cell(en.number(1, 4), at=MICROS, path=b"k")], en.BASE.deletion(MICROS - 1, NOW))
    row = en.row(A, [cells], flags=0x40)
    (shown,) = only_line(decode(tmp_path, en.mutation(en.update(T.id.bytes, KEY, [row], columns=["m"]))))["rows"]
    assert shown["complex_deletions"] == {"m": {"timestamp": MICROS - 1, "local": NOW}}
    assert [cell["path"] for cell in shown["cells"]] == ["6b"]
