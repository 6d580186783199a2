"""Collections, JSON and overrides: what whole columns become, and what they refuse."""

from __future__ import annotations

import json
import re
import struct
import time

import pytest

from cdc_pipeline.errors import ConfigurationError
from cdc_pipeline.load.postgres.types import MASKED, CellsType, Unfit, cells_type, value_type
from cdc_pipeline.load.postgres.types.columns import masked_cells_type
from cdc_pipeline_tests.load.changes import Cell, Change, batch, cql, table
from cdc_pipeline_tests.load.destination import Destination
from cdc_pipeline_tests.load.histories import NOW
from cdc_pipeline_tests.load.postgres.conftest import Stored
from cdc_pipeline_tests.load.reference import reference
from cdc_pipeline_tests.types.values import counted, decimal_bytes, fields, int_bytes, pairs, varint_bytes

HALF = struct.pack(">q", 1)

ARRAYS: list[tuple[str, str, bytes, str]] = [
    ("frozen<list<int>>", "integer[]", counted(), "{}"),
    ("frozen<list<int>>", "integer[]", counted(int_bytes(1), None, b"", int_bytes(-2)), "{1,NULL,NULL,-2}"),
    ("frozen<list<text>>", "text[]", counted(b"a", b"", b'"', b"NULL", None), '{a,"","\\"","NULL",NULL}'),
    ("frozen<set<blob>>", "bytea[]", counted(b"", b"\x01"), '{"\\\\x","\\\\x01"}'),
    ("vector<float, 2>", "real[]", struct.pack(">2f", 1.5, -0.0), "{1.5,-0}"),
    ("vector<text, 2>", "text[]", b"\x01a\x00", '{a,""}'),
    ("frozen<list<decimal>>", "numeric[]", counted(decimal_bytes(10, 1), b""), "{1.0,NULL}"),
]


@pytest.mark.parametrize(("type_", "sql", "raw", "text"), ARRAYS)
def test_arrays(stored: Stored, type_: str, sql: str, raw: bytes, text: str) -> None:
    """Frozen lists, sets and vectors of scalars are arrays; null and empty elements are NULL, of texts empty ones."""
    kind = value_type(cql(type_), "native")
    assert kind.sql == sql
    assert stored(sql, [kind.encode(raw)]) == [text]


@pytest.mark.parametrize("name", ["varint", "decimal", "duration", "timestamp", "date", "time"])
def test_empty_elements_in_exact(stored: Stored, name: str) -> None:
    """Also where `exact` stores a text, an empty element of another type is NULL and nothing is parked."""
    kind = value_type(cql(f"frozen<list<{name}>>"), "exact")
    assert stored(kind.sql, [kind.encode(counted(b"", None))]) == ["{NULL,NULL}"]
    for multi in (cells_type(cql(f"list<{name}>"), "exact"), cells_type(cql(f"set<{name}>"), "exact")):
        assert multi.fragment(b"", b"") is None


JSON: list[tuple[str, bytes, str]] = [
    ("frozen<map<text, int>>", pairs(b"a", int_bytes(1), b'"', b""), '{"a": 1, "\\"": null}'),
    ("frozen<map<int, text>>", pairs(int_bytes(-1), b""), '{"-1": ""}'),
    ("tuple<int, text>", fields(int_bytes(1)), "[1, null]"),
    ("frozen<name>", fields(b"x", int_bytes(2)), '{"first": "x", "\\"Last\\"": 2}'),
    ("frozen<list<frozen<list<double>>>>", counted(counted(struct.pack(">d", float("nan")))), '[["NaN"]]'),
    ("frozen<map<text, decimal>>", pairs(b"a", decimal_bytes(1, 16_383)), '{"a": 0.' + "0" * 16_382 + "1}"),
]


@pytest.mark.parametrize(("type_", "raw", "text"), JSON, ids=[case[0] for case in JSON])
def test_json(stored: Stored, type_: str, raw: bytes, text: str) -> None:
    """Maps, tuples, user types and what is nested are `jsonb`, and in `exact` text holding the same JSON."""
    native, exact = value_type(cql(type_), "native"), value_type(cql(type_), "exact")
    assert (native.sql, exact.sql) == ("jsonb", "text")
    ((shown,), (plain,)) = stored("jsonb", [native.encode(raw)]), stored("text", [exact.encode(raw)])
    assert json.loads(shown or "", parse_float=str) == json.loads(text, parse_float=str)
    assert json.loads(plain or "") == json.loads(text)


REFUSED = {
    "U+0000": ("frozen<map<text, text>>", pairs(b"a", b"\x00"), "U+0000 inside a text"),
    "U+0000 in a key": ("frozen<map<text, int>>", pairs(b"\x00", int_bytes(1)), "U+0000 inside a text"),
    "a fraction": ("tuple<decimal>", fields(decimal_bytes(1, 16_384)), "a number beyond numeric"),
    "a number": ("tuple<decimal>", fields(decimal_bytes(1, -131_072)), "a number beyond numeric"),
    "a great number": ("tuple<varint>", fields(varint_bytes(10**131_072)), "a number beyond numeric"),
}


@pytest.mark.parametrize(("type_", "raw", "why"), REFUSED.values(), ids=REFUSED)
def test_json_that_jsonb_refuses(type_: str, raw: bytes, why: str) -> None:
    """What `jsonb` would refuse or round does not fit; `exact` takes it as text."""
    with pytest.raises(Unfit, match=f"^{why.replace('+', '[+]')}$"):
        value_type(cql(type_), "native").encode(raw)
    assert value_type(cql(type_), "exact").encode(raw)


def test_escaped_backslashes_are_no_nul(stored: Stored) -> None:
    """The six characters of an escaped U+0000 inside a text are not one."""
    kind = value_type(cql("tuple<text>"), "native")
    (shown,) = stored("jsonb", [kind.encode(fields(b"\\u0000"))])
    assert json.loads(shown or "") == ["\\u0000"]


# --- overrides -------------------------------------------------------------------------------------------------------


def test_numeric_override(stored: Stored) -> None:
    """`numeric(p,s)` takes what fits exactly, with zeros added or taken from the end, and refuses to round."""
    kind = value_type(cql("decimal"), "native", "numeric(5,2)")
    fits = [
        decimal_bytes(12345, 2),
        decimal_bytes(1, 0),
        decimal_bytes(100, 4),
        decimal_bytes(9, -2),
        decimal_bytes(0, 9),
    ]
    assert stored(kind.sql, [kind.encode(raw) for raw in fits]) == ["123.45", "1.00", "0.01", "900.00", "0.00"]
    for raw in (decimal_bytes(1, 3), decimal_bytes(1000, 0), decimal_bytes(1, -3), decimal_bytes(1, -(2**31))):
        with pytest.raises(Unfit, match="more than 3 integer or 2 fraction digits"):
            kind.encode(raw)
    assert stored("numeric(4,0)", [value_type(cql("varint"), "native", "numeric(4)").encode(varint_bytes(-9999))]) == [
        "-9999"
    ]


@pytest.mark.parametrize("scale", [2**31 - 1, -(2**31), 10**6])
def test_zero_of_any_scale(stored: Stored, scale: int) -> None:
    """A zero with an absurd scale is a zero, at once."""
    kind = value_type(cql("decimal"), "native", "numeric(5,2)")
    started = time.monotonic()
    assert stored(kind.sql, [kind.encode(decimal_bytes(0, scale))]) == ["0.00"]
    assert time.monotonic() - started < 1


def test_text_and_bytea_overrides(stored: Stored) -> None:
    """`text` shows a value as JSON does, without quotes; `bytea` keeps Cassandra's bytes, U+0000 included."""
    for type_, raw, text in (
        ("timestamp", struct.pack(">q", 0), "1970-01-01 00:00:00.000Z"),
        ("decimal", decimal_bytes(1, -3), "1E+3"),
        ("int", int_bytes(-5), "-5"),
        ("text", "ü".encode(), "ü"),
        ("frozen<list<int>>", counted(int_bytes(1)), "[1]"),
    ):
        kind = value_type(cql(type_), "native", "text")
        assert (kind.sql, stored("text", [kind.encode(raw)])) == ("text", [text])
    kind = value_type(cql("text"), "native", "bytea")
    assert stored(kind.sql, [kind.encode(b"a\x00\xff")]) == ["\\x6100ff"]


@pytest.mark.parametrize(
    ("type_", "override"), [("int", "numeric(5,2)"), ("text", "varchar(5)"), ("decimal", "numeric")]
)
def test_overrides_that_are_none(type_: str, override: str) -> None:
    """An override that the column cannot take says what it may be."""
    with pytest.raises(ConfigurationError, match=r"expected text, bytea, numeric\(p,s\) \(of decimal or varint\)"):
        value_type(cql(type_), "native", override)


# --- multi-cell columns ----------------------------------------------------------------------------------------------

MULTI = {
    "list<int>": [(bytes(16), int_bytes(5))],
    "set<text>": [(b"b", b""), (b"a", b"")],
    "map<text, int>": [(b"k", int_bytes(1))],
    "map<int, frozen<list<text>>>": [(int_bytes(2), counted(b"x", None))],
    "name": [(b"\x00\x01", int_bytes(1))],
    "list<frozen<map<text, text>>>": [(bytes(16), pairs(b"a", b"b"))],
    "set<frozen<tuple<int, text>>>": [(fields(int_bytes(1), None), b"")],
    "list<blob>": [(bytes(16), b"")],
    "set<duration>": [],
    "list<timestamp>": [(bytes(16), struct.pack(">q", -62_135_596_800_001))],
}


@pytest.mark.parametrize("profile", ["native", "exact"])
def test_multi_cell_columns_equal_their_frozen_form(pg_database: str, profile: str) -> None:
    """A non-frozen collection is shown as the frozen one with the same elements would be."""
    columns = [(f"c{at}", type_) for at, type_ in enumerate(MULTI)]
    of = table("t", regular=columns)
    cells = tuple(
        Cell(f"c{at}", 1, value, path) for at, elements in enumerate(MULTI.values()) for path, value in elements
    )
    changes = [Change((int_bytes(1),), cells=cells, live=1)]
    with Destination(pg_database, (of,), profile=profile).prepare() as there:
        assert there.load(batch(of, changes)) == []
        parity = there.compare(of, reference(of, changes).select(NOW), NOW)
        assert (parity.missing, parity.extra, parity.equal) == ((), (), 1)


UNFIT_CELLS = {
    "an element": ("list<time>", bytes(16), HALF, "nanoseconds that are no whole microsecond"),
    "an element of a set": ("set<time>", HALF, b"", "nanoseconds that are no whole microsecond"),
    "a map's value": ("map<int, text>", int_bytes(1), b"\x00", "U[+]0000 inside a text"),
    "a map's key": ("map<text, int>", b"\x00", int_bytes(1), "U[+]0000 inside a text"),
    "a field": ("name", b"\x00\x00", b"\x00", "U[+]0000 inside a text"),
    "a field that is none": ("name", b"\x00\x07", b"x", "a field that the user type lacks"),
    "bytes": ("map<int, int>", b"\x01", int_bytes(1), "bytes that are none of the type's"),
}


@pytest.mark.parametrize(("type_", "path", "value", "why"), UNFIT_CELLS.values(), ids=UNFIT_CELLS)
def test_cells_that_do_not_fit(pg_database: str, type_: str, path: bytes, value: bytes, why: str) -> None:
    """A cell whose text has no place in the view's type parks its change, and says the column and why."""
    of = table("t", regular=[("c", type_)])
    changes = [Change((int_bytes(n),), cells=(Cell("c", 1, value, path),) if n else (), live=1) for n in range(2)]
    with Destination(pg_database, (of,)).prepare() as there:
        (letter,) = there.load(batch(of, changes))
        assert re.fullmatch(rf"column ks\.t\.c: .* does not fit .*: {why}", letter.message)
        assert there.query("SELECT pk FROM ks.t") == [(0,)]


def test_masked_types_are_text() -> None:
    """A masked column is text: of one value its mask, of many JSON of masks."""
    assert (MASKED.sql, MASKED.empty_is_null) == ("text", False)
    for type_ in ("list<int>", "set<int>", "map<text, int>", "name"):
        masked = masked_cells_type(cql(type_))
        assert isinstance(masked, CellsType)
        assert masked.sql == "text"
