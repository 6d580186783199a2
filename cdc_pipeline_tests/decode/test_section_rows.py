"""The grammar of rows, written by the encoder and read through both twins of the kernel."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from cdc_pipeline_tests.decode import encoder as en
from cdc_pipeline_tests.decode.tables import (
    KEY,
    MICROS,
    NOW,
    damage,
    decode,
    lines,
    make_table,
    malformed,
    only_line,
    t_update,
)

pytestmark = pytest.mark.usefixtures("kernel")

# --- clustering (6.7) ------------------------------------------------------------------------------------------------

WIDE = make_table("wide", clustering=[(f"c{i:02}", "text" if i % 3 else "int") for i in range(70)])


def wide_prefix(count: int) -> list[bytes | None]:
    """Clustering values among which every fifth is null and every seventh empty."""
    prefix: list[bytes | None] = []
    for i in range(count):
        value = f"text {i}".encode() if i % 3 else en.number(i, 4)
        prefix.append(None if i % 5 == 4 else b"" if i % 7 == 6 else value)
    return prefix


def wide_bytes(prefix: list[bytes | None]) -> bytes:
    """The prefix as stored: ints bare, texts with their length."""
    out = b""
    for first in range(0, len(prefix), 32):
        batch = list(enumerate(prefix))[first : first + 32]
        header = sum((2 if v is None else 0 if v else 1) << 2 * (i - first) for i, v in batch)
        out += en.vint(header) + b"".join((en.sized(v) if i % 3 else v) for i, v in batch if v)
    return out


def hexes(shown: list[dict[str, Any]]) -> list[str | None]:
    """The bytes of shown values."""
    return [value["hex"] for value in shown]


def test_clustering_of_more_than_32_columns(tmp_path: Path) -> None:
    """Nulls and empty values in headers of 32 each, with bare and sized values between."""
    prefix = wide_prefix(70)
    row = en.row(wide_bytes(prefix), [en.cell(b"x", at=MICROS)])
    line = only_line(decode(tmp_path, en.mutation(en.update(WIDE.id.bytes, KEY, [row], columns=["v"])), tables=[WIDE]))
    assert hexes(line["rows"][0]["clustering"]) == [None if v is None else v.hex() for v in prefix]


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 64, 65, 70])
def test_bounds_of_more_than_32_values(tmp_path: Path, count: int) -> None:
    """A bound's values are stored alike, as many as it has."""
    prefix = wide_prefix(count)
    gone = en.BASE.deletion(MICROS, NOW)
    start = bytes([2, en.EXCL_START]) + en.number(count, 2) + wide_bytes(prefix) + gone
    end = bytes([2, en.EXCL_END]) + en.number(count, 2) + wide_bytes(prefix) + gone
    line = only_line(decode(tmp_path, en.mutation(en.update(WIDE.id.bytes, KEY, [start, end])), tables=[WIDE]))
    (shown,) = line["ranges"]
    assert (
        hexes(shown["start"]["values"])
        == hexes(shown["end"]["values"])
        == [v if v is None else v.hex() for v in prefix]
    )
    assert shown["start"]["inclusive"] is shown["end"]["inclusive"] is (count == 0)


# --- range tombstones (6.7) ------------------------------------------------------------------------------------------

GONE = en.BASE.deletion(MICROS, NOW)
LATER = en.BASE.deletion(MICROS + 5, NOW + 1)


def ranges(folder: Path, *markers: bytes) -> list[tuple[list[Any], bool, list[Any], bool, int]]:
    """The ranges of an update: start, inclusive, end, inclusive, timestamp."""
    line = only_line(decode(folder, en.mutation(t_update(*markers))))
    return [
        (
            [value["json"] for value in one["start"]["values"]],
            one["start"]["inclusive"],
            [value["json"] for value in one["end"]["values"]],
            one["end"]["inclusive"],
            one["timestamp"],
        )
        for one in line["ranges"]
    ]


@pytest.mark.parametrize("start", [en.INCL_START, en.EXCL_START])
@pytest.mark.parametrize("end", [en.INCL_END, en.EXCL_END])
def test_bounds(tmp_path: Path, start: int, end: int) -> None:
    """Each kind of start with each kind of end."""
    found = ranges(tmp_path, en.bound(start, [b"a"], GONE), en.bound(end, [b"b"], GONE))
    assert found == [(["a"], start == en.INCL_START, ["b"], end == en.INCL_END, MICROS)]


@pytest.mark.parametrize("kind", [en.EXCL_END_INCL_START, en.INCL_END_EXCL_START])
def test_boundaries(tmp_path: Path, kind: int) -> None:
    """A boundary ends a range and starts the next: first the deletion that ends, then the one that starts."""
    markers = en.bound(en.INCL_START, [], GONE), en.bound(kind, [b"m"], GONE, LATER), en.bound(en.INCL_END, [], LATER)
    ends_inclusive = kind == en.INCL_END_EXCL_START
    assert ranges(tmp_path, *markers) == [
        ([], True, ["m"], ends_inclusive, MICROS),
        (["m"], not ends_inclusive, [], True, MICROS + 5),
    ]


def test_open_exclusive_bound(tmp_path: Path) -> None:
    """An open end prints as inclusive, whatever its kind."""
    found = ranges(tmp_path, en.bound(en.EXCL_START, [], GONE), en.bound(en.EXCL_END, [], GONE))
    assert found == [([], True, [], True, MICROS)]


def test_rows_between_markers(tmp_path: Path) -> None:
    """Rows and markers come in clustering order, and each keeps its own."""
    row = en.row(en.clustering([b"b"]), [en.cell(b"x", at=MICROS)])
    markers = en.bound(en.INCL_START, [b"a"], GONE), row, en.bound(en.INCL_END, [b"c"], GONE)
    line = only_line(decode(tmp_path, en.mutation(t_update(*markers, columns=["v"]))))
    assert (len(line["rows"]), len(line["ranges"])) == (1, 1)
    assert line["rows"][0]["clustering"][0]["json"] == "b"


START, END = en.bound(en.INCL_START, [b"a"], GONE), en.bound(en.INCL_END, [b"a"], GONE)


@pytest.mark.parametrize(
    ("markers", "message"),
    [
        ([START], "found the end of the partition"),
        ([END], "expected a range tombstone to be opened"),
        ([START, START, END], "found another one opened inside it"),
        ([START, END, END], "expected a range tombstone to be opened"),
        ([en.bound(en.EXCL_END_INCL_START, [b"a"], GONE, GONE), END], "expected a range tombstone to be opened"),
        ([en.bound(3, [], GONE)], "expected a bound, found kind 3"),
        ([en.bound(4, [], GONE)], "expected a bound, found kind 4"),
        ([en.bound(8, [], GONE)], "expected a bound, found kind 8"),
        ([en.bound(en.INCL_START, [b"a", b"b"], GONE)], "a bound of at most 1 values, found 2"),
        ([b"\2\1\xff\xff"], "a bound of at most 1 values, found 65535"),
    ],
)
def test_malformed_markers(tmp_path: Path, markers: list[bytes], message: str) -> None:
    """Markers that do not pair, unknown kinds and bounds longer than the clustering."""
    malformed(tmp_path, en.mutation(t_update(*markers)), message)


# --- rows (6.6) ------------------------------------------------------------------------------------------------------


def one_row(folder: Path, row: bytes, *columns: str, version: int = 7, base: en.Base = en.BASE) -> dict[str, Any]:
    """The one row of an update of `T`."""
    batches = decode(folder, en.mutation(t_update(row, columns=columns, base=base)), version=version)
    (shown,) = only_line(batches)["rows"]
    return dict(shown)


A = en.clustering([b"a"])


def test_expiring_liveness(tmp_path: Path) -> None:
    """A row's liveness with TTL, and cells that take timestamp, TTL and expiry from it."""
    live = en.Liveness(MICROS, 60, NOW + 60)
    cells = [en.collection([en.cell(b"\0\0\0\1", path=b"k", flags=en.ROW_TTL)]), en.cell(b"x", flags=en.ROW_TTL)]
    row = one_row(tmp_path, en.row(A, cells, live=live), "m", "v")
    assert row["liveness"] == {"timestamp": MICROS, "ttl": 60, "expires": NOW + 60}
    assert [(c["timestamp"], c["ttl"], c["expires"]) for c in row["cells"]] == [(MICROS, 60, NOW + 60)] * 2


def test_expired_liveness(tmp_path: Path) -> None:
    """An expired liveness marker has the greatest TTL."""
    row = one_row(tmp_path, en.row(A, live=en.Liveness(MICROS, 2**31 - 1, NOW)))
    assert row["liveness"] == {"timestamp": MICROS, "ttl": 2**31 - 1, "expires": NOW}


def test_tombstone_with_the_rows_local_deletion_time(tmp_path: Path) -> None:
    """A tombstone may take its local deletion time, but no TTL, from the row."""
    cell = en.cell(None, flags=en.ROW_TTL)
    row = one_row(tmp_path, en.row(A, [cell], live=en.Liveness(MICROS, 60, NOW)), "v")
    assert (row["cells"][0]["tombstone"], row["cells"][0]["local"], row["cells"][0]["ttl"]) == (True, NOW, None)


def test_deletion_beside_liveness(tmp_path: Path) -> None:
    """A row deletion, a liveness and a cell in one row keep their own timestamps."""
    row = one_row(tmp_path, en.row(A, [en.cell(b"x", at=MICROS + 2)], live=en.Liveness(MICROS + 1), deletion=GONE), "v")
    stamps = row["deletion"]["timestamp"], row["liveness"]["timestamp"], row["cells"][0]["timestamp"]
    assert stamps == (MICROS, MICROS + 1, MICROS + 2)


def test_shadowable_deletion(tmp_path: Path) -> None:
    """The deletion of an old materialized view is one like others."""
    assert one_row(tmp_path, en.row(A, deletion=GONE, extended=2))["deletion"] == {"timestamp": MICROS, "local": NOW}


@pytest.mark.parametrize("micros", [0, -1, 1, -(2**63) + 1, 2**63 - 1, MICROS])
@pytest.mark.parametrize("least", [en.EPOCH_MICROS, -(2**63) + 1, 2**63 - 1, 0])
def test_timestamps(tmp_path: Path, micros: int, least: int) -> None:
    """Timestamps come back from differences modulo 2^64, negative ones and the extremes too."""
    base = en.Base(least)
    row = one_row(tmp_path, en.row(A, [en.cell(b"x", at=micros, base=base)], base=base), "v", base=base)
    assert row["cells"][0]["timestamp"] == micros


@pytest.mark.parametrize("version", [6, 7, 8])
@pytest.mark.parametrize("local", [0, NOW, 2**31 - 2, 2**31 - 1, 2**31, 2**31 + 5, 2**32 - 3, 2**32 - 1])
@pytest.mark.parametrize("least", [en.EPOCH_SECONDS, 2**32 - 1])
def test_local_deletion_times(tmp_path: Path, version: int, local: int, least: int) -> None:
    """Local deletion times are signed in versions 6 and 7, where negative ones are invalid, and unsigned in 8."""
    base = en.Base(MICROS, least)
    row = one_row(
        tmp_path, en.row(A, [en.cell(None, at=MICROS, local=local, base=base)]), "v", version=version, base=base
    )
    assert row["cells"][0]["local"] == (local if version == 8 or local < 2**31 else 4294967294)


def test_sign_extended_difference(tmp_path: Path) -> None:
    """5.0 writes a large difference of local deletion times in 9 bytes, sign-extended."""
    cell = b"\5\0" + bytes.fromhex("ffffffffff94fd0ee5")
    base = en.Base(MICROS, 1795354906)
    assert one_row(tmp_path, en.row(A, [cell]), "v", base=base, version=8)["cells"][0]["local"] == 4294967295


def test_bare_and_sized_values(tmp_path: Path) -> None:
    """Types of a fixed length are written bare, all others with their length, small ones too."""
    fixed = {
        "boolean": b"\1",
        "int": en.number(5, 4),
        "float": bytes.fromhex("3f8ccccd"),
        "bigint": en.number(-5, 8),
        "double": bytes(8),
        "timestamp": en.number(5, 8),
        "uuid": uuid.uuid4().bytes,
        "timeuuid": uuid.uuid1().bytes,
        "vector<float, 2>": bytes(8),
        "'org.apache.cassandra.db.marshal.LexicalUUIDType'": uuid.uuid4().bytes,
    }
    sized = {
        "tinyint": b"\5",
        "smallint": b"\0\5",
        "date": b"\x80\0\0\0",
        "time": bytes(8),
        "text": b"x",
        "ascii": b"x",
        "blob": b"\0",
        "varint": b"\5",
        "decimal": en.number(0, 4) + b"\5",
        "inet": b"\x7f\0\0\1",
        "duration": b"\2\2\2",
        "frozen<list<int>>": en.number(0, 4),
        "frozen<map<int, int>>": en.number(0, 4),
        "frozen<tuple<int, int>>": en.number(-1, 4),
        "frozen<name>": en.number(-1, 4),
        "vector<text, 1>": b"\1x",
        "'com.example.Unknown'": b"abc",
    }
    types = sorted([*fixed, *sized])
    table = make_table("types", regular=[(f"c{i:02}", name) for i, name in enumerate(types)])
    cells = [en.cell({**fixed, **sized}[name], at=MICROS, fixed=name in fixed) for name in types]
    columns = [column.name for column in table.regular]
    mutation = en.mutation(en.update(table.id.bytes, KEY, [en.row(A, cells)], columns=columns))
    (row,) = only_line(decode(tmp_path, mutation, tables=[table]))["rows"]
    assert [cell["hex"] for cell in row["cells"]] == [{**fixed, **sized}[name].hex() for name in types]


def test_empty_values(tmp_path: Path) -> None:
    """An empty value is a flag, for a type of fixed length too; a length of 0 is accepted."""
    table = make_table("empty", regular=[("i", "int"), ("s", "text"), ("z", "text")])
    cells = [en.cell(b"", at=MICROS), en.cell(b"", at=MICROS), b"\0" + en.BASE.timestamp(MICROS) + b"\0"]
    mutation = en.mutation(en.update(table.id.bytes, KEY, [en.row(A, cells)], columns=["i", "s", "z"]))
    (row,) = only_line(decode(tmp_path, mutation, tables=[table]))["rows"]
    assert [(cell["hex"], cell["json"], cell["tombstone"]) for cell in row["cells"]] == [("", "", False)] * 3


def test_descending_clustering(tmp_path: Path) -> None:
    """Values of DESC columns are stored as those of ASC ones (bare where the type is)."""
    table = make_table("ints", clustering=[("ck", "int")])
    row = en.row(en.clustering([en.number(-5, 4)], fixed=True), live=en.Liveness(MICROS))
    line = only_line(decode(tmp_path, en.mutation(en.update(table.id.bytes, KEY, [row])), tables=[table]))
    assert line["rows"][0]["clustering"][0]["json"] == -5


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (b"\x03\0\0\0\1x", "found both in one"),
        (b"\x08\1x", "expected a timestamp in the row"),
        (b"\x00\0\5x", "expected a value of 5 bytes"),
        (b"\x00", ""),
        (b"\x01\0\xff\xff", ""),
    ],
)
def test_malformed_cells(tmp_path: Path, cell: bytes, message: str) -> None:
    """Flags that exclude one another, a timestamp that the row lacks, and cells that end too early."""
    malformed(tmp_path, en.mutation(t_update(en.row(A, [cell]), columns=["v"])), message)


def test_static_row_among_rows(tmp_path: Path) -> None:
    """A static row belongs in front of the others."""
    malformed(tmp_path, en.mutation(t_update(en.static_row([]))), "found a static row among the rows")


@pytest.mark.parametrize("flags", [b"\x20", b"\xa0\x02"])
def test_static_row_that_is_none(tmp_path: Path, flags: bytes) -> None:
    """An announced static row without the flag of one."""
    malformed(tmp_path, en.mutation(t_update(static_columns=["s"], static=flags)), "expected a static row")


# --- static rows -----------------------------------------------------------------------------------------------------


def test_static_row_with_rows(tmp_path: Path) -> None:
    """A static row has its own column list and comes before the rows."""
    static = en.static_row([en.cell(b"all", at=MICROS)])
    row = en.row(A, [en.cell(b"one", at=MICROS)])
    mutation = en.mutation(t_update(row, columns=["v"], static_columns=["s"], static=static))
    line = only_line(decode(tmp_path, mutation))
    assert line["static"]["clustering"] == []
    assert [cell["json"] for cell in line["static"]["cells"]] == ["all"]
    assert [cell["column"] for cell in line["rows"][0]["cells"]] == ["v"]


def test_empty_static_row(tmp_path: Path) -> None:
    """A static row without cells is as good as none."""
    line = only_line(decode(tmp_path, en.mutation(t_update(static_columns=[], static=en.static_row([])))))
    assert line["static"] is None


def test_column_lists_are_remembered_apart(tmp_path: Path) -> None:
    """Static and regular lists, and lists that begin alike, are not taken for one another."""
    table = make_table(static=[("a", "text"), ("b", "text")], regular=[("c", "text"), ("d", "text")], name="lists")

    def said(static: str, regular: str) -> bytes:
        columns = en.row(A, [en.cell(name.encode(), at=MICROS) for name in regular])
        statics = en.static_row([en.cell(name.encode(), at=MICROS) for name in static])
        more: dict[str, Any] = {"static_columns": list(static), "static": statics} if static else {}
        return en.mutation(en.update(table.id.bytes, KEY, [columns], columns=list(regular), **more))

    wanted = [("a", "c"), ("", "cd"), ("ab", "d"), ("b", "c"), ("", "c"), ("a", "cd"), ("ab", "d")] * 2
    found = lines(decode(tmp_path, *(said(*one) for one in wanted), tables=[table]))
    shown = [
        (
            "".join(cell["json"] for cell in (line["static"] or {"cells": []})["cells"]),
            "".join(cell["json"] for cell in line["rows"][0]["cells"]),
        )
        for line in found
    ]
    assert shown == wanted
    assert all(c["column"] == c["json"] for line in found for c in line["rows"][0]["cells"])


def test_ever_new_column_lists(tmp_path: Path) -> None:
    """More column lists than are remembered."""
    columns = [(f"c{i}", "text") for i in range(9)]
    table = make_table("many", regular=columns)
    subsets = [[name for i, (name, _) in enumerate(columns) if mask >> i & 1] for mask in range(1, 2**9)]

    def said(chosen: list[str]) -> bytes:
        row = en.row(A, [en.cell(name.encode(), at=MICROS) for name in chosen])
        return en.mutation(en.update(table.id.bytes, KEY, [row], columns=chosen))

    found = lines(decode(tmp_path, *map(said, subsets), tables=[table]))
    assert [[cell["json"] for cell in line["rows"][0]["cells"]] for line in found] == subsets


# --- column subsets (6.8) --------------------------------------------------------------------------------------------


def subset_of(present: list[int], count: int) -> bytes:
    """A column subset by the rules."""
    missing = [i for i in range(count) if i not in present]
    if count < 64:
        return en.vint(sum(1 << i for i in missing))
    listed = present if len(present) < count // 2 else missing
    return en.vint(len(missing)) + b"".join(map(en.vint, listed if missing else []))


def subset_row(count: int, present: list[int], subset: bytes | None = None) -> tuple[Any, bytes]:
    """A table of `count` int columns and a mutation in which the present ones hold their number."""
    table = make_table(f"subset{count}", regular=[(f"c{i:03}", "int") for i in range(count)])
    cells = [en.cell(en.number(i, 4), at=MICROS, fixed=True) for i in present]
    row = en.row(A, cells, subset=subset_of(present, count) if subset is None else subset)
    columns = [column.name for column in table.regular]
    return table, en.mutation(en.update(table.id.bytes, KEY, [row], columns=columns))


@pytest.mark.parametrize("count", [1, 2, 7, 8, 62, 63, 64, 65, 127, 128, 129, 200])
def test_column_subsets(tmp_path: Path, count: int) -> None:
    """A bitmap of missing columns under 64, else the indexes of the present ones or of the missing ones."""
    everything = list(range(count))
    half = count // 2
    shapes = [everything, everything[:-1], everything[1:], everything[:half], everything[: half + 1], everything[:1]]
    shapes += [everything[::3], [i for i in everything if i % 3], everything[-1:], everything[: half - 1]]
    for present in filter(None, shapes):
        table, mutation = subset_row(count, present)
        cells = only_line(decode(tmp_path, mutation, tables=[table]))["rows"][0]["cells"]
        assert [(cell["column"], cell["json"]) for cell in cells] == [(f"c{i:03}", i) for i in present]


@pytest.mark.parametrize(
    ("count", "subset"),
    [
        (1, en.vint(2)),
        (5, en.vint(32)),
        (63, en.vint(2**63)),
        (5, en.vint(2**64 - 1)),
        (64, en.vint(65)),
        (64, en.vint(2**63)),
        (64, en.vint(2**64 - 1)),
        (64, en.vint(1) + en.vint(64)),
        (64, en.vint(2) + en.vint(5) + en.vint(5)),
        (64, en.vint(2) + en.vint(5) + en.vint(4)),
        (64, en.vint(63) + en.vint(2**63)),
    ],
)
def test_malformed_subsets(tmp_path: Path, count: int, subset: bytes) -> None:
    """Bits and indexes beyond the columns, or out of order."""
    table, mutation = subset_row(count, [0] * count, subset)
    batches = decode(tmp_path, mutation, tables=[table])
    assert lines(batches) == []
    assert [one.kind for one in damage(batches)] == ["entry"]


# --- multi-cell columns and dropped ones -----------------------------------------------------------------------------

MULTI = make_table(
    "multi",
    regular=[("l", "list<int>"), ("m", "map<text, int>"), ("n", "name"), ("s", "set<text>"), ("v", "text")],
)
BEFORE = en.BASE.deletion(MICROS - 1, NOW)


def multi_row(folder: Path, columns: list[str], *stored: bytes, flags: int = 0, base: en.Base = en.BASE) -> Any:
    """The one row of an update of `MULTI`, its columns in header order."""
    update = en.update(MULTI.id.bytes, KEY, [en.row(A, stored, flags=flags)], columns=columns, base=base)
    return only_line(decode(folder, en.mutation(update), tables=[MULTI]))["rows"][0]


def test_multi_cell_columns(tmp_path: Path) -> None:
    """Elements of each kind of multi-cell column: values always have a length, elements of sets have none."""
    path = uuid.uuid1().bytes
    stored = [
        en.cell(b"x", at=MICROS),
        en.collection([en.cell(en.number(5, 4), at=MICROS, path=path)]),
        en.collection([en.cell(en.number(6, 4), at=MICROS, path=b"k"), en.cell(None, at=MICROS, local=NOW, path=b"l")]),
        en.collection([en.cell(b"Ann", at=MICROS, path=b"\0\0"), en.cell(en.number(9, 4), at=MICROS, path=b"\0\2")]),
        en.collection([en.cell(b"", at=MICROS, path=b"red")]),
    ]
    row = multi_row(tmp_path, ["v", "l", "m", "n", "s"], *stored)
    assert [(cell["column"], cell["path"], cell["hex"], cell["json"]) for cell in row["cells"]] == [
        ("v", None, "78", "x"),
        ("l", path.hex(), "00000005", 5),
        ("m", "6b", "00000006", 6),
        ("m", "6c", None, None),
        ("n", "0000", "416e6e", "Ann"),
        ("n", "0002", "00000009", 9),
        ("s", "726564", "", None),
    ]


def test_complex_deletions(tmp_path: Path) -> None:
    """With the flag every multi-cell column carries a deletion; a timestamp of -2^63 is none, whatever follows it."""
    older = en.vint(en.NO_TIMESTAMP - en.EPOCH_MICROS) + en.BASE.local(2147483647)
    newer = en.vint(en.NO_TIMESTAMP - en.EPOCH_MICROS) + bytes.fromhex("ffffffffff") + bytes.fromhex("94fd0ee5")
    cell = en.cell(en.number(5, 4), at=MICROS, path=b"k")
    stored = [
        en.cell(b"x", at=MICROS),
        en.collection([en.cell(en.number(5, 4), at=MICROS, path=bytes(16))], older),
        en.collection([cell], BEFORE),
        en.collection([en.cell(b"", at=MICROS, path=b"red")], newer),
    ]
    row = multi_row(tmp_path, ["v", "l", "m", "s"], *stored, flags=0x40)
    assert row["complex_deletions"] == {"m": {"timestamp": MICROS - 1, "local": NOW}}
    assert [cell["column"] for cell in row["cells"]] == ["v", "l", "m", "s"]


def test_collection_set_to_null(tmp_path: Path) -> None:
    """A deletion without cells is a row that says something."""
    row = multi_row(tmp_path, ["m"], en.collection([], BEFORE), flags=0x40)
    assert row["complex_deletions"] == {"m": {"timestamp": MICROS - 1, "local": NOW}}
    assert row["cells"] == []


DROP = MICROS + 10
DROPPED = make_table(
    "dropped",
    regular=[("again", "int"), ("v", "text")],
    dropped=[
        ("again", "text", DROP),
        ("gone", "text", DROP),
        ("gone_map", "map<text, int>", DROP),
        ("int_gone", "int", DROP),
    ],
)


def dropped_lines(folder: Path, *rows: bytes, columns: list[str]) -> list[Any]:
    """The rows of an update of a table with dropped columns."""
    update = en.update(DROPPED.id.bytes, KEY, rows, columns=columns)
    return list(only_line(decode(folder, en.mutation(update), tables=[DROPPED]))["rows"])


@pytest.mark.parametrize(("at", "kept"), [(DROP - 1, False), (DROP, False), (DROP + 1, True)])
def test_cells_of_dropped_columns(tmp_path: Path, at: int, kept: bool) -> None:
    """A cell not younger than the drop is left out; a younger one comes with the type at hand."""
    cells = [
        en.cell(en.number(7, 4), at=at, fixed=True),
        en.cell(b"text", at=at),
        en.cell(en.number(8, 4), at=at, fixed=True),
        en.cell(b"stays", at=at),
        en.collection([en.cell(en.number(9, 4), at=at, path=b"k")], en.BASE.deletion(at, NOW)),
    ]
    rows = dropped_lines(tmp_path, en.row(A, cells, flags=0x40), columns=["again", "gone", "int_gone", "v", "gone_map"])
    found = [(cell["column"], cell["json"]) for cell in rows[0]["cells"]]
    everything = [("again", 7), ("gone", "text"), ("int_gone", 8), ("v", "stays"), ("gone_map", 9)]
    assert found == (everything if kept else [("v", "stays")])
    assert bool(rows[0]["complex_deletions"]) is kept


def test_row_of_dropped_columns_alone(tmp_path: Path) -> None:
    """A row with nothing left does not appear; its neighbours keep their cells."""
    gone, stays = en.cell(b"x", at=DROP), en.cell(b"y", at=DROP)
    rows = [
        en.row(en.clustering([b"a"]), [stays], subset=en.vint(1)),
        en.row(en.clustering([b"b"]), [gone], subset=en.vint(2)),
        en.row(en.clustering([b"c"]), [gone, stays]),
    ]
    found = dropped_lines(tmp_path, *rows, columns=["gone", "v"])
    assert [row["clustering"][0]["json"] for row in found] == ["a", "c"]
    assert [[cell["json"] for cell in row["cells"]] for row in found] == [["y"], ["y"]]


def test_counters(tmp_path: Path) -> None:
    """A counter's context is a value with a length."""
    table = make_table("counts", regular=[("n", "counter")], flags=frozenset({"compound", "counter"}))
    context = b"\0\1\x80\0" + uuid.uuid1().bytes + en.number(4, 8) + en.number(-7, 8)
    row = en.row(A, [en.cell(context, at=MICROS)])
    mutation = en.mutation(en.update(table.id.bytes, KEY, [row], columns=["n"]))
    (cell,) = only_line(decode(tmp_path, mutation, tables=[table]))["rows"][0]["cells"]
    assert (cell["hex"], cell["json"]) == (context.hex(), None)


def test_rows_grow_beyond_every_buffer(tmp_path: Path) -> None:
    """Thousands of rows, long values and a long path in one mutation."""
    rows = [
        en.row(en.clustering([f"{i:05}".encode()]), [en.cell(bytes([i % 250]) * (i % 300), at=MICROS + i)])
        for i in range(3000)
    ]
    table = make_table("blobs", regular=[("v", "blob")])
    line = only_line(decode(tmp_path, en.mutation(en.update(table.id.bytes, KEY, rows, columns=["v"])), tables=[table]))
    assert [row["cells"][0]["hex"] for row in line["rows"]] == [
        (bytes([i % 250]) * (i % 300)).hex() for i in range(3000)
    ]
    assert [row["clustering"][0]["json"] for row in line["rows"]] == [f"{i:05}" for i in range(3000)]
