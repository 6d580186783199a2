from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cdc_pipeline.errors import ConfigurationError, SchemaError
from cdc_pipeline.schema import SYSTEM_KEYSPACES, ColumnKind, Schema, load_schema, tables_of
from cdc_pipeline.types import Scalar, SetType, UserType
from cdc_pipeline_tests.recordings import NAMES, Recording, opener
from cdc_pipeline_tests.schema.rows import TABLE_ID, column, snapshot, write

TEXT, INT = Scalar("text"), Scalar("int")


@pytest.fixture(scope="session")
def open_recording(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Recording]:
    """A function that opens a recording by its name, unpacked once."""
    return opener(tmp_path_factory)


# --- reading ---------------------------------------------------------------------------------------------------------


def test_table(tmp_path: Path) -> None:
    """A table with its facts, and its columns in CQL's order: keys by position, the others by name bytes."""
    schema = load_schema(write(tmp_path / "schema.json", snapshot()))
    (table,) = schema
    assert (table.full_name, table.id, table.cdc, table.is_view) == ("ks.t", uuid.UUID(TABLE_ID), True, False)
    assert (table.flags, table.gc_grace_seconds, table.durable_writes) == (frozenset({"compound"}), 10, True)
    assert [c.name for c in table.columns] == ["pk1", "pk2", "ck1", "ck2", "Z", "a", "v", "é"]
    assert [c.name for c in table.primary_key] == ["pk1", "pk2", "ck1", "ck2"]
    assert [c.descending for c in table.clustering] == [False, True]
    assert table.static[0].type == SetType(INT, multi_cell=True)
    assert table.regular[0].type == UserType("ks", "person", ("name",), (TEXT,))


@pytest.mark.parametrize("cdc", [None, False, True])
def test_cdc_is_false_where_cassandra_says_null(cdc: bool | None) -> None:
    """Only nodes with CDC write the column."""
    rows = snapshot()
    rows["tables"][0]["cdc"] = cdc
    (table,) = tables_of(rows, "here")
    assert table.cdc is bool(cdc)


def test_facts_that_may_be_missing() -> None:
    """3.11 has no `cdc`; lists of dropped columns and views may be absent."""
    rows = snapshot()
    for name in ("cdc", "gc_grace_seconds", "flags"):
        del rows["tables"][0][name]
    del rows["dropped_columns"], rows["views"], rows["keyspaces"][0]["durable_writes"]
    (table,) = tables_of(rows, "here")
    assert (table.cdc, table.gc_grace_seconds, table.flags, table.durable_writes) == (False, 0, frozenset(), True)


def test_durable_writes() -> None:
    """A keyspace without durable writes marks its tables."""
    rows = snapshot(keyspaces=[{"keyspace_name": "ks", "durable_writes": False}])
    (table,) = tables_of(rows, "here")
    assert not table.durable_writes
    assert "durable_writes = false" in str(table.refusal)


def test_views() -> None:
    """A materialized view is a table with its own id, and says that it is one."""
    view = {"keyspace_name": "ks", "view_name": "by_v", "id": str(uuid.uuid4()), "cdc": True}
    columns = [column("v", "partition_key", "text", 0, "by_v"), column("pk1", "clustering", "uuid", 0, "by_v")]
    rows = snapshot(views=[view])
    rows["columns"] += columns
    assert [(table.name, table.is_view) for table in tables_of(rows, "here")] == [("t", False), ("by_v", True)]


def test_types_of_one_keyspace_only() -> None:
    """A user type of another keyspace is not taken, even when it has the same name."""
    other = {"keyspace_name": "other", "type_name": "person", "field_names": ["n"], "field_types": ["int"]}
    (table,) = tables_of(snapshot(types=[*snapshot()["types"], other]), "here")
    assert table.regular[0].type == UserType("ks", "person", ("name",), (TEXT,))
    with pytest.raises(SchemaError, match=r"here: .*person"):
        list(tables_of(snapshot(types=[other]), "here"))


def test_tables_by_name() -> None:
    """A table by its full name; another name is an error that says it."""
    schema = Schema(tables_of(snapshot(), "here"))
    assert schema.table("ks.t").id == uuid.UUID(TABLE_ID)
    with pytest.raises(SchemaError, match=r"table ks\.other: expected in the schema"):
        schema.table("ks.other")


@pytest.mark.parametrize("name", NAMES)
def test_real_snapshots(open_recording: Callable[[str], Recording], name: str) -> None:
    """Every recording's snapshot is read, Cassandra's own tables included, with a partition key for each table."""
    schema = open_recording(name).schema
    assert all(table.partition_key and table.values is not None for table in schema)
    assert any(table.cdc for table in schema)
    assert {"system", "system_schema"} <= {table.keyspace for table in schema} & SYSTEM_KEYSPACES


def test_fixed_ids_of_system_tables(open_recording: Callable[[str], Recording]) -> None:
    """Cassandra's own tables have the ids that the document names."""
    schema = open_recording("tombstones-5.0").schema
    assert schema.table("system_schema.columns").id == uuid.UUID("24101c25-a2ae-3af7-87c1-b40ee1aca33f")


# --- dropped columns -------------------------------------------------------------------------------------------------


def dropped(**more: Any) -> dict[str, Any]:
    """A row of `dropped_columns`."""
    return {
        "keyspace_name": "ks",
        "table_name": "t",
        "column_name": "gone",
        "kind": "regular",
        "type": "int",
        "dropped_time": "2026-11-22 14:07:11.123000",
        **more,
    }


MICROS_OF_DROP = 1795356431123000


@pytest.mark.parametrize(
    ("time", "micros"),
    [
        ("2026-11-22 14:07:11.123000", MICROS_OF_DROP),
        ("2026-11-22 14:07:11.123000+00:00", MICROS_OF_DROP),
        ("2026-11-22T14:07:11.123Z", MICROS_OF_DROP),
        ("2026-11-22 15:07:11.123+01:00", MICROS_OF_DROP),
        (MICROS_OF_DROP // 1000, MICROS_OF_DROP),
        ("1969-12-31 23:59:59", -1_000_000),
        (0, 0),
        (2**63 - 1, 2**63 - 1),
        ("+294247-01-10T04:00:54.775Z", 2**63 - 1),
        ("294247-01-10 04:00:54.775+00:00", 2**63 - 1),
    ],
)
def test_dropped_time(time: str | int, micros: int) -> None:
    """`dropped_time` becomes µs, in every form a snapshot has it; the year 294247 is the end of time."""
    (table,) = tables_of(snapshot(dropped_columns=[dropped(dropped_time=time)]), "here")
    (column_,) = table.dropped
    assert (column_.name, column_.kind, column_.type, column_.dropped_micros) == (
        "gone",
        ColumnKind.REGULAR,
        INT,
        micros,
    )


def test_dropped_columns_are_sorted_by_name() -> None:
    """Their order does not depend on the snapshot's, so neither do the ids of their cells."""
    rows = [dropped(column_name=name) for name in ("c", "a", "b")]
    (table,) = tables_of(snapshot(dropped_columns=rows), "here")
    assert [c.name for c in table.dropped] == ["a", "b", "c"]


def test_real_dropped_columns(open_recording: Callable[[str], Recording]) -> None:
    """A recorded drop is known in µs of the time of the recording; Cassandra's own lies in the year 294247."""
    schema = open_recording("schema-changes-5.0").schema
    own = {c.name: c.dropped_micros for table in schema for c in table.dropped if table.keyspace == "evolve"}
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC).timestamp() * 10**6
    assert own
    assert all(start < micros < start + 366 * 86400 * 10**6 for micros in own.values())
    (system,) = schema.table("system.local").dropped
    assert (system.name, system.dropped_micros) == ("thrift_version", 2**63 - 1)


# --- history ---------------------------------------------------------------------------------------------------------


def renamed(table_id: str, columns: list[str]) -> Any:
    """A snapshot whose table has this id and these value columns."""
    rows = snapshot()
    rows["tables"][0]["id"] = table_id
    rows["columns"] = [column("pk", "partition_key", "int", 0), *(column(c, "regular", "text") for c in columns)]
    return rows


def test_history(tmp_path: Path) -> None:
    """An id that the newest snapshot lacks is answered by the newest one that has it, plain or beside its DDL."""
    ids = [str(uuid.UUID(int=i)) for i in range(3)]
    history = tmp_path / "schema_history"
    history.mkdir()
    write(history / "000.json", renamed(ids[0], ["oldest"]))
    write(history / "001.json", {"ddl": "ALTER TABLE …", "schema": renamed(ids[0], ["older", "more"])})
    write(history / "010.json", renamed(ids[1], ["old"]))
    (history / "notes.txt").write_text("not a snapshot")
    schema = load_schema(write(tmp_path / "schema.json", renamed(ids[2], ["new"])), history)
    assert {str(table.id): [c.name for c in table.regular] for table in schema} == {
        ids[0]: ["more", "older"],
        ids[1]: ["old"],
        ids[2]: ["new"],
    }
    assert schema.table("ks.t").id == uuid.UUID(ids[2])
    assert [table.id for table in schema.current] == [uuid.UUID(ids[2])]


def test_real_history(open_recording: Callable[[str], Recording]) -> None:
    """With its history a recording knows tables that were dropped, and the newest form of those that were not."""
    recording = open_recording("schema-changes-5.0")
    assert recording.history is not None
    assert set(recording.schema.tables) < set(recording.history.tables)
    assert recording.history.current == recording.schema.current
    for table in recording.schema:
        assert recording.history.tables[table.id] == table


def test_history_that_is_no_folder(tmp_path: Path) -> None:
    """A history that is not there is a wrong setting."""
    path = write(tmp_path / "schema.json", snapshot())
    with pytest.raises(ConfigurationError, match="nowhere: expected a directory of schema snapshots"):
        load_schema(path, tmp_path / "nowhere")


def test_damaged_history_names_its_file(tmp_path: Path) -> None:
    """Of many snapshots the message names the one that cannot be read."""
    history = tmp_path / "history"
    history.mkdir()
    (history / "003.json").write_text("{")
    with pytest.raises(ConfigurationError, match=r"003\.json: expected JSON"):
        load_schema(write(tmp_path / "schema.json", snapshot()), history)


# --- what bad input gets ---------------------------------------------------------------------------------------------


def test_missing_file(tmp_path: Path) -> None:
    """A file that is not there."""
    with pytest.raises(
        ConfigurationError, match=r"schema\.json: expected a schema snapshot, found No such file"
    ) as caught:
        load_schema(tmp_path / "schema.json")
    assert caught.value.exit_code == 2


def test_folder_for_a_file(tmp_path: Path) -> None:
    """A folder where a file is expected."""
    with pytest.raises(ConfigurationError, match="expected a schema snapshot, found Is a directory"):
        load_schema(tmp_path)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"{} {}", b"nul"])
def test_invalid_json(tmp_path: Path, text: bytes) -> None:
    """A file that is not JSON, or not UTF-8."""
    path = tmp_path / "schema.json"
    path.write_bytes(text)
    with pytest.raises(ConfigurationError, match=r"schema\.json: expected JSON"):
        load_schema(path)


@pytest.mark.parametrize("rows", [[], "text", 5, None, {}, {"schema": {}}, {"schema": []}])
def test_json_that_is_no_snapshot(tmp_path: Path, rows: Any) -> None:
    """JSON of another shape names the lists that it lacks."""
    path = write(tmp_path / "schema.json", rows)
    with pytest.raises(SchemaError, match=r"schema\.json: expected .* keyspaces, tables, columns, types"):
        load_schema(path)


@pytest.mark.parametrize("name", ["keyspaces", "tables", "columns", "types"])
@pytest.mark.parametrize("instead", [None, {}, "rows"])
def test_missing_lists(name: str, instead: Any) -> None:
    """Each of the needed lists."""
    rows = snapshot(**{name: instead})
    with pytest.raises(SchemaError, match="here: expected an object with lists of rows"):
        list(tables_of(rows, "here"))
    del rows[name]
    with pytest.raises(SchemaError, match="here: expected an object with lists of rows"):
        list(tables_of(rows, "here"))


NEEDED = [
    *(("columns", field) for field in ("keyspace_name", "table_name", "column_name", "kind", "type", "position")),
    *(("tables", field) for field in ("keyspace_name", "table_name", "id")),
    *(("types", field) for field in ("keyspace_name", "type_name", "field_names", "field_types")),
    *(("dropped_columns", field) for field in ("keyspace_name", "table_name", "column_name", "type", "dropped_time")),
    ("keyspaces", "keyspace_name"),
]


@pytest.mark.parametrize(("rows_of", "field"), NEEDED)
def test_row_that_lacks_a_field(rows_of: str, field: str) -> None:
    """A row without something that is needed names source and field."""
    rows = snapshot(dropped_columns=[dropped()])
    del rows[rows_of][0][field]
    with pytest.raises(SchemaError, match=f"^here: .*'{field}'$"):
        list(tables_of(rows, "here"))


def test_table_of_a_bad_row_is_named() -> None:
    """An error within a table's rows says which table, and only when it is that one's."""
    rows = snapshot()
    del rows["columns"][0]["kind"]
    with pytest.raises(SchemaError, match=r"^here: table ks\.t: a row lacks 'kind'$"):
        list(tables_of(rows, "here"))
    rows = snapshot()
    rows["tables"].append({"keyspace_name": "ks"})
    with pytest.raises(SchemaError, match=r"^here: a row lacks 'table_name'$"):
        list(tables_of(rows, "here"))


@pytest.mark.parametrize(
    ("rows_of", "field", "value"),
    [
        ("columns", "kind", "super"),
        ("columns", "kind", None),
        ("columns", "position", "first"),
        ("columns", "position", None),
        ("columns", "type", None),
        ("columns", "type", 5),
        ("columns", "type", ""),
        ("columns", "type", "map<text>"),
        ("columns", "type", "nosuchtype"),
        ("columns", "type", "frozen<list<nosuchtype>>"),
        ("columns", "column_name", None),
        ("tables", "id", "no uuid"),
        ("tables", "id", None),
        ("types", "field_names", None),
        ("dropped_columns", "dropped_time", None),
        ("dropped_columns", "type", "nosuchtype"),
        ("dropped_columns", "kind", "x"),
    ],
)
def test_row_with_something_else(rows_of: str, field: str, value: Any) -> None:
    """A field of the wrong kind is a SchemaError that names its source, never an error of Python's."""
    rows = snapshot(dropped_columns=[dropped()])
    rows[rows_of][0][field] = value
    with pytest.raises(SchemaError, match="here: "):
        list(tables_of(rows, "here"))


@pytest.mark.parametrize("rows_of", ["columns", "tables", "types", "keyspaces", "dropped_columns"])
def test_row_that_is_no_object(rows_of: str) -> None:
    """A row that is a list or a text."""
    values: list[Any] = ["text", [], None]
    for value in values:
        with pytest.raises(SchemaError, match="here: "):
            list(tables_of(snapshot(**{rows_of: [value]}), "here"))


def test_table_without_columns() -> None:
    """A table of whose columns there is no row."""
    with pytest.raises(SchemaError, match=r"here: table ks\.t: expected rows in columns, found none"):
        list(tables_of(snapshot(columns=[]), "here"))


def test_snapshot_as_the_file_holds_it(tmp_path: Path) -> None:
    """Names of any script survive the file."""
    rows = snapshot()
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    (table,) = load_schema(path)
    assert "é" in table.value_ids
