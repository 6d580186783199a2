"""Entries, mutations and keys, written by the encoder and read through both twins; `test_section_rows` goes on."""

from __future__ import annotations

import tracemalloc
import uuid
from pathlib import Path

import pytest

from cdc_pipeline.decode import Decoder
from cdc_pipeline.errors import EntryError, SectionError
from cdc_pipeline.schema import Schema
from cdc_pipeline_tests.decode import encoder as en
from cdc_pipeline_tests.decode.tables import (
    KEY,
    MICROS,
    NOW,
    T,
    damage,
    decode,
    insert,
    lines,
    make_table,
    malformed,
    only_line,
    read,
    t_update,
    values,
)

pytestmark = pytest.mark.usefixtures("kernel")

ONE, TWO, THREE = (en.entry(insert(value)) for value in (b"one", b"two", b"three"))
U = make_table("u", regular=[("w", "int")])
STRANGER = uuid.uuid5(uuid.NAMESPACE_OID, "stranger").bytes
HUGE = [2**31 - 1, 2**31, 2**32, 2**62, 2**63, 2**64 - 1]


def u_update(value: int = 7) -> bytes:
    """An update of `U` with one live cell."""
    row = en.row(en.clustering([b"a"]), [en.cell(en.number(value, 4), at=MICROS, fixed=True)])
    return en.update(U.id.bytes, KEY, [row], columns=["w"])


# --- entries (5) -----------------------------------------------------------------------------------------------------


def sections(folder: Path, *contents: bytes) -> tuple[list[str], list[str]]:
    """Values and damage of a segment with these sections."""
    batches = read(en.write(folder, en.segment(contents)))
    assert all(isinstance(one.error, (SectionError, EntryError)) for one in damage(batches))
    return values(batches), [f"{one.kind}: {one.error.what}" for one in damage(batches)]


def test_zero_size_ends_the_segment(tmp_path: Path) -> None:
    """A size of 0 ends the section and the segment, as in Cassandra's reader, and is reported."""
    message = "section: expected an entry, found a size of 0: the segment ends here"
    assert sections(tmp_path, ONE + bytes(4) + TWO, THREE) == (["one"], [message])


def test_a_later_reading_does_not_go_on_behind_the_end(tmp_path: Path) -> None:
    """A segment that ended at a size of 0 is passed as a whole: from its position on nothing comes, nor damage."""
    path = en.write(tmp_path, en.segment([ONE + bytes(4) + TWO, THREE]))
    batches = read(path)
    assert values(batches) == ["one"]
    assert batches[-1].end == path.stat().st_size - 8
    again = read(path, after=batches[-1].end)
    assert (values(again), damage(again)) == ([], [])


@pytest.mark.parametrize("rest", [b"\0", b"\xff\xff", b"\0\0\1"])
def test_short_rest_ends_the_segment(tmp_path: Path, rest: bytes) -> None:
    """A rest of under 4 bytes ends the section and the segment, and is reported."""
    message = f"section: expected an entry, found {len(rest)} bytes: the segment ends here"
    assert sections(tmp_path, ONE + rest, TWO) == (["one"], [message])


@pytest.mark.parametrize("size", [1, 9, 2**31, 2**32 - 1])
def test_impossible_size(tmp_path: Path, size: int) -> None:
    """A size under 10, or negative, gives up its section; the next one is read."""
    bad = en.number(size, 4) + en.crc(en.number(size, 4)) + bytes(40)
    shown = size - 2**32 if size >= 2**31 else size
    assert sections(tmp_path, ONE + bad + TWO, THREE) == (
        ["one", "three"],
        [f"section: entry size expected at least 10, found {shown}"],
    )


def test_size_crc(tmp_path: Path) -> None:
    """A wrong size CRC gives up its section; the next one is read."""
    bad = TWO[:4] + b"\0\0\0\0" + TWO[8:]
    found, (message,) = sections(tmp_path, ONE + bad + TWO, THREE)
    assert found == ["one", "three"]
    assert message == f"section: size CRC expected {en.crc(TWO[:4]).hex()}, found 00000000"


@pytest.mark.parametrize("size", [4, 5, 6, 7])
def test_size_without_its_crc(tmp_path: Path, size: int) -> None:
    """A section that ends within the size CRC."""
    assert sections(tmp_path, ONE + TWO[:size], THREE) == (
        ["one", "three"],
        ["section: an entry runs past its section"],
    )


@pytest.mark.parametrize("cut", [1, 4, 5, 30])
def test_entry_past_its_section(tmp_path: Path, cut: int) -> None:
    """A size that reaches beyond the section, with the right CRC."""
    size = len(TWO) - 12
    assert sections(tmp_path, ONE + TWO[:-cut], THREE) == (
        ["one", "three"],
        [f"section: an entry of {size} bytes runs past its section"],
    )


@pytest.mark.parametrize("at", [8, 40, -5, -1])
def test_mutation_crc(tmp_path: Path, at: int) -> None:
    """A wrong mutation CRC gives up its entry alone; the next one is read."""
    bad = bytearray(TWO)
    bad[at] ^= 0x10
    found, (message,) = sections(tmp_path, ONE + bad + ONE, THREE)
    assert found == ["one", "one", "three"]
    assert message.startswith("entry: mutation CRC expected ")


def test_damage_has_its_place(tmp_path: Path) -> None:
    """The error names the file and the offset of the entry in it."""
    bad = TWO[:-1] + bytes([TWO[-1] ^ 1])
    path = en.write(tmp_path, en.segment([ONE, ONE + bad]))
    (found,) = damage(read(path))
    offset = 20 + 8 + len(ONE) + 8 + len(ONE)
    assert (found.error.segment, found.error.offset, found.size) == (path.name, offset, len(TWO) - 12)
    assert str(found.error).startswith(f"segment {path.name}, offset {offset}: mutation CRC expected")


def test_positions(tmp_path: Path) -> None:
    """An entry's position is the logical offset behind it."""
    batches = decode(tmp_path, insert(b"one"), insert(b"two"))
    assert [line["position"] for line in lines(batches)] == [28 + len(ONE), 28 + len(ONE) + len(TWO)]


# --- mutations and updates (6.2, 6.3) --------------------------------------------------------------------------------


def test_unknown_table(tmp_path: Path) -> None:
    """A mutation of a table that the schema lacks is passed over and reported with the table's id."""
    strange = en.mutation(en.update(STRANGER, KEY, [b"whatever"], columns=["x"]))
    batches = decode(tmp_path, insert(b"before"), strange, insert(b"after"))
    assert values(batches) == ["before", "after"]
    (found,) = damage(batches)
    assert (found.kind, found.table_id, found.size) == ("table", uuid.UUID(bytes=STRANGER), len(strange))
    assert f"table id {uuid.UUID(bytes=STRANGER)}" in str(found.error)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_unknown_table_among_others(tmp_path: Path, place: int) -> None:
    """A mutation of several tables is out as a whole, wherever the unknown one stands in it."""
    row = en.row(en.clustering([b"a"]), [en.cell(b"lost", at=MICROS)])
    updates = [t_update(row, columns=["v"]), u_update()]
    updates.insert(place, en.update(STRANGER, KEY, [row], columns=["x"]))
    batches = decode(tmp_path, insert(b"before"), en.mutation(*updates), insert(b"after"), tables=[T, U])
    assert values(batches) == ["before", "after"]
    assert [one.kind for one in damage(batches)] == ["table"]


def test_unknown_column(tmp_path: Path) -> None:
    """A column that the schema lacks gives its name and table; the mutation is out, the next one is read."""
    row = en.row(en.clustering([b"a"]), [en.cell(b"x", at=MICROS)])
    strange = en.mutation(u_update(), t_update(row, columns=["näw"]))
    batches = decode(tmp_path, strange, insert(b"after"), tables=[T, U])
    assert values(batches) == ["after"]
    (found,) = damage(batches)
    assert (found.kind, found.table_id, found.column) == ("column", T.id, "näw")
    assert "column näw of ks.t" in str(found.error)


def test_several_tables(tmp_path: Path) -> None:
    """One mutation of two tables gives a line each, in its order, at one position."""
    row = en.row(en.clustering([b"a"]), [en.cell(b"x", at=MICROS)])
    batches = decode(tmp_path, en.mutation(u_update(), t_update(row, columns=["v"])), insert(), tables=[T, U])
    assert [line["table"] for line in lines(batches)] == ["u", "t", "t"]
    assert lines(batches)[0]["position"] == lines(batches)[1]["position"]
    assert batches[-1].mutations == 2


def test_filtered_tables(tmp_path: Path) -> None:
    """Tables that nobody wants give no rows, alone or beside others, and their mutations are counted."""
    row = en.row(en.clustering([b"a"]), [en.cell(b"x", at=MICROS)])
    mutations = en.mutation(u_update()), en.mutation(u_update(), t_update(row, columns=["v"]))
    path = en.write(tmp_path, en.segment([b"".join(map(en.entry, mutations))]))
    (batch,) = Decoder(Schema([T, U]), lambda table: table is T).read(path)
    assert [(change.table.name, change.changes) for change in batch.tables] == [("t", 1)]
    assert (batch.mutations, batch.damage) == (2, ())


def test_filtered_table_is_not_decoded(tmp_path: Path) -> None:
    """What stands in a mutation of one unwanted table does not matter: a new column of it is no damage."""
    row = en.row(en.clustering([b"a"]), [en.cell(b"x", at=MICROS)])
    strange = en.entry(en.mutation(en.update(U.id.bytes, KEY, [row], columns=["new"])))
    (batch,) = Decoder(Schema([T, U]), lambda table: table is T).read(en.write(tmp_path, en.segment([strange + ONE])))
    assert (batch.mutations, batch.damage) == (2, ())


def test_update_that_says_nothing(tmp_path: Path) -> None:
    """IS_EMPTY gives a line and no change."""
    batches = decode(tmp_path, en.mutation(en.empty_update(T.id.bytes, KEY)))
    line = only_line(batches)
    assert (line["deletion"], line["static"], line["rows"], line["ranges"]) == (None, None, [], [])
    assert batches[0].tables[0].changes == 0


def test_row_that_says_nothing(tmp_path: Path) -> None:
    """A row without liveness, deletion and cells does not appear; its update does."""
    empty = en.row(en.clustering([b"a"]))
    assert only_line(decode(tmp_path, en.mutation(t_update(empty))))["rows"] == []


@pytest.mark.parametrize("count", [0, 3, *HUGE])
def test_number_of_updates(tmp_path: Path, count: int) -> None:
    """A number of updates that is not there."""
    malformed(tmp_path, en.vint(count) + t_update(en.row(en.clustering([b"a"]), live=en.Liveness(MICROS))), "expected")


def test_rest_behind_the_mutation(tmp_path: Path) -> None:
    """Bytes behind the last update."""
    malformed(tmp_path, insert() + b"\0\0", "expected the end of the mutation, found 2 more bytes")


def test_mutation_without_a_table_id(tmp_path: Path) -> None:
    """The shortest possible size is too short for a table id."""
    malformed(tmp_path, b"\x01" + bytes(9), "expected 16 more bytes, found 9")


def test_reversed_update(tmp_path: Path) -> None:
    """IS_REVERSED never stands in a mutation."""
    malformed(tmp_path, en.mutation(T.id.bytes + en.sized(KEY) + b"\x12\0\0\0\0\0\1"), "found a reversed one")


@pytest.mark.parametrize("length", HUGE)
def test_huge_lengths(tmp_path: Path, length: int) -> None:
    """A length of 2 GiB and more anywhere is malformed and takes no memory."""
    size = en.vint(length)
    head = T.id.bytes + en.sized(KEY) + b"\x10" + en.BASE.stats
    v, m = en.names(["v"]) + b"\1\x20\0\1a", en.names(["m"]) + b"\1\x20\0\1a"
    places = {
        "key": T.id.bytes + size,
        "columns": head + size,
        "column name": head + b"\1" + size,
        "clustering": head + en.names(["v"]) + b"\1\x20\0" + size,
        "subset": head + en.names(["v"]) + b"\1\0\0\1a" + size,
        "value": head + v + b"\x00\0" + size,
        "cells": head + m + size,
        "path": head + m + b"\1\0\0" + size,
        "element": head + m + b"\1\0\0\1k" + size,
        "bound": head + b"\0\0\2\1\0\1\0" + size,
    }
    tracemalloc.start()
    try:
        for place in places.values():
            malformed(tmp_path, en.mutation(place + b"\1" * 20), "")
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


def test_rolled_back_as_a_whole(tmp_path: Path) -> None:
    """Rows, cells, nulls and ranges of a mutation that turns out to be damaged are all taken back."""
    gone = en.BASE.deletion(MICROS, NOW)
    rows = [
        en.row(en.clustering([b"a"]), [en.cell(None, at=MICROS, local=NOW)]),
        en.bound(en.INCL_START, [b"b"], gone),
        en.bound(en.INCL_END, [b"c"], gone),
    ]
    good = t_update(*rows, columns=["v"], deletion=gone)
    batches = decode(
        tmp_path, en.mutation(good), en.mutation(good, u_update(), good[:-3]), en.mutation(good), tables=[T, U]
    )
    first, second = lines(batches)
    assert {**first, "position": 0} == {**second, "position": 0}
    assert len(first["ranges"]) == len(first["rows"]) == 1
    assert [change.table.name for change in batches[0].tables] == ["t"]
    assert batches[0].tables[0].cells.column("value").null_count == 2


# --- partition keys (7) ----------------------------------------------------------------------------------------------

PAIR = make_table("pair", key=[("a", "text"), ("b", "int")], clustering=[], regular=[("v", "text")])


def pair_update(key: bytes) -> bytes:
    """A mutation of a table whose key has two columns."""
    row = en.row(columns=[en.cell(b"x", at=MICROS)])
    return en.mutation(en.update(PAIR.id.bytes, key, [row], columns=["v"]))


def test_composite_key(tmp_path: Path) -> None:
    """A key of several columns is split; an empty part stays one."""
    keys = en.composite("ü".encode(), en.number(5, 4)), en.composite(b"", en.number(-1, 4))
    found = lines(decode(tmp_path, *map(pair_update, keys), tables=[PAIR]))
    assert [[part["json"] for part in line["key"]] for line in found] == [["ü", 5], ["", -1]]
    assert found[0]["rows"][0]["clustering"] == []


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"\0",
        en.composite(b"a"),
        en.composite(b"a", b"b", b"c"),
        en.composite(b"a", b"bbbb")[:-1],
        b"\xff\xff" + en.composite(b"a", b"b"),
        en.composite(b"a") + b"\0\5ab\0",
    ],
)
def test_malformed_composite_key(tmp_path: Path, key: bytes) -> None:
    """A key with too few, too many or too long parts."""
    batches = decode(tmp_path, pair_update(key), pair_update(en.composite(b"a", bytes(4))), tables=[PAIR])
    assert values(batches) == ["x"]
    assert "the partition key" in str(damage(batches)[0].error)


def test_empty_single_key(tmp_path: Path) -> None:
    """A key of one column is all its bytes."""
    table = make_table("text", key=[("pk", "text")], clustering=[])
    mutation = en.mutation(en.update(table.id.bytes, "\x00é".encode(), [], deletion=en.BASE.deletion(MICROS, NOW)))
    assert only_line(decode(tmp_path, mutation, tables=[table]))["key"][0]["json"] == "\x00é"
