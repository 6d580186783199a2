"""A project made of its settings: schema, masks, lanes, and what cannot be."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from cdc_pipeline.errors import ConfigurationError, SchemaError
from cdc_pipeline.offsets import Lane
from cdc_pipeline.project import Project
from cdc_pipeline.transform import KeyRing
from cdc_pipeline_tests.integration.node import EVENTS, TABLES, Node, user, write_schema
from cdc_pipeline_tests.integration.workspace import drained
from cdc_pipeline_tests.load.changes import table

Make = Callable[..., Project]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a node and a schema, short enough for an embedded server."""
    folder = Path(tempfile.mkdtemp(prefix="cdc-tests-project-"))
    Node(folder / "cdc_raw").segment(0, [user(0, email="a@b")])
    write_schema(folder / "schema.json", *TABLES)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def make(folder: Path) -> Iterator[Make]:
    """A function that makes a project; keywords replace sections."""
    made: list[Project] = []

    def project(**changes: Any) -> Project:
        config = {
            "source": {"shards": {"node1": {"directory": "cdc_raw"}}, "schema": {"file": "schema.json"}},
            "destinations": {"warehouse": {"kind": "postgres", "host": "nowhere", "dbname": "x"}},
        } | changes
        (folder / "cdc.yaml").write_text(yaml.safe_dump(config))
        made.append(Project.load(folder / "cdc.yaml"))
        return made[-1]

    yield project
    for one in made:
        one.close()


def test_lanes(make: Make) -> None:
    """Destinations x shards, or those asked for."""
    postgres = {"kind": "postgres", "host": "nowhere"}
    shards = {"node1": {"directory": "cdc_raw"}, "node2": {"directory": "other"}}
    project = make(
        source={"shards": shards, "schema": {"file": "schema.json"}}, destinations={"a": postgres, "b": postgres}
    )
    assert project.lanes() == [Lane(d, s) for d in "ab" for s in ("node1", "node2")]
    assert project.lanes("b", "node2") == [Lane("b", "node2")]


def test_names_that_are_none(make: Make) -> None:
    """A destination or shard that is not configured is answered with those that are."""
    with pytest.raises(ConfigurationError, match=r"^expected a destination of warehouse, found lake$"):
        make().destinations("lake")
    with pytest.raises(ConfigurationError, match=r"^expected a shard of node1, found node9$"):
        make().lanes(shard="node9")


def test_a_plan_needs_no_server_and_no_key(make: Make) -> None:
    """What every table becomes can be seen before anything is there."""
    users = {summary.table: summary for summary in make().plan("warehouse")}["ks.users"]
    assert {column.name: (column.target_type, column.mask) for column in users.columns} == {
        "id": ("integer", "-"),
        "email": ("text", "PII_HASH"),
        "name": ("text", "-"),
    }


def test_tables_are_selected(make: Make) -> None:
    """Only the tables that the configuration names are decided about and loaded."""
    source = {"shards": {"node1": {"directory": "cdc_raw"}}, "schema": {"file": "schema.json"}, "tables": ["ks.e*"]}
    assert list(make(source=source).selected) == ["ks.events"]


def test_a_missing_key_stops_before_reading(make: Make) -> None:
    """A masked column without a key ring is an error as soon as a lane is made."""
    project = make()
    with pytest.raises(ConfigurationError, match=r"expected a key ring, because ks.users.email is masked"):
        project.lane(Lane("warehouse", "node1"))


def test_keys_from_the_environment(make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key ring's text may stand in a variable."""
    KeyRing.generate(folder / "keys.json")
    monkeypatch.setenv("RING", (folder / "keys.json").read_text())
    project = make(masking={"keys": {"env": "RING"}})
    assert project.policy.keyring is not None
    assert project.policy.keyring.fingerprint() == KeyRing.load(folder / "keys.json").fingerprint()


def test_an_override_of_no_column(make: Make) -> None:
    """A mistyped column in the type overrides is named with its key."""
    warehouse = {"kind": "postgres", "host": "x", "types": {"columns": {"ks.users.nmae": "text"}}}
    with pytest.raises(ConfigurationError) as caught:
        make(destinations={"warehouse": warehouse}).plan("warehouse")
    assert str(caught.value) == (
        "destinations.warehouse.types.columns: expected a column of the schema, found ks.users.nmae"
    )


def test_an_override_that_cannot_be(make: Make) -> None:
    """An override that its column cannot take names destination and table."""
    warehouse = {"kind": "postgres", "host": "x", "types": {"columns": {"ks.users.name": "numeric(5,2)"}}}
    with pytest.raises(ConfigurationError, match=r"^destination warehouse: ks\.users: expected text, bytea, numeric"):
        make(destinations={"warehouse": warehouse}).plan("warehouse")


def test_refused_tables_are_planned_and_not_loaded(make: Make, folder: Path) -> None:
    """Counters whose base is unknown and keyspaces without durable writes are in the plan with the reason."""
    counters = table("counters", regular=[("n", "counter")])
    write_schema(folder / "schema.json", counters, EVENTS)
    project = make()
    refusals = {summary.table: summary.refusal for summary in project.plan("warehouse")}
    assert refusals["ks.events"] is None
    assert (refusals["ks.counters"] or "").startswith("its counters began at numbers that the log at hand does not")
    write_schema(folder / "schema.json", EVENTS, durable=False)
    assert ["durable_writes = false" in (one.refusal or "") for one in make().plan("warehouse")] == [True]


def test_counters_that_the_configuration_vouches_for(make: Make, folder: Path) -> None:
    """A counter table of which the log is said to hold every write is loaded; a masked counter never is."""
    write_schema(folder / "schema.json", table("counters", regular=[("n", "counter")]), EVENTS)
    source = {"shards": {"node1": {"directory": "cdc_raw"}}, "schema": {"file": "schema.json"}}
    said = source | {"complete_counters": ["ks.count*"]}
    plan = {summary.table: summary for summary in make(source=said).plan("warehouse")}["ks.counters"]
    assert (plan.refusal, plan.columns[-1].target_type) == (None, "bigint")
    (folder / "rules.yaml").write_text("rules: [{match: ks.counters.n, strategy: PII_HASH}]\n")
    masked = make(source=said, masking={"rules": "rules.yaml"}).plan("warehouse")
    refusal = {summary.table: summary.refusal for summary in masked}["ks.counters"]
    assert refusal == "a rule masks the counter n: a counter is a sum, which no mask has; keep or exclude it"


def test_a_counter_of_another_type(make: Make, folder: Path) -> None:
    """A counter has no overrides."""
    write_schema(folder / "schema.json", table("counters", regular=[("n", "counter")]))
    warehouse = {"kind": "postgres", "host": "x", "types": {"columns": {"ks.counters.n": "text"}}}
    with pytest.raises(ConfigurationError, match=r"expected no other type for a counter, which is a sum, found text"):
        make(destinations={"warehouse": warehouse}).plan("warehouse")


@pytest.mark.parametrize("names", [["n"], ["!ks.n"], ["*"]])
def test_complete_counters_name_tables(make: Make, names: list[str]) -> None:
    """The configuration's word is about tables by name."""
    source = {"shards": {"node1": {"directory": "cdc_raw"}}, "schema": {"file": "schema.json"}}
    with pytest.raises(ConfigurationError, match=r"expected keyspace\.table, \* as a wildcard"):
        make(source=source | {"complete_counters": names})


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (None, ConfigurationError, "expected a schema snapshot, found No such file or directory"),
        ("{", ConfigurationError, "expected JSON, found"),
        ("{}", SchemaError, "expected an object with lists of rows named keyspaces, tables, columns, types"),
        (
            '{"keyspaces": [], "tables": [{"keyspace_name": "k"}], "columns": [], "types": []}',
            SchemaError,
            "a row lacks 'table_name'",
        ),
    ],
)
def test_schemas_that_cannot_be_read(
    make: Make, folder: Path, text: str | None, error: type[Exception], message: str
) -> None:
    """A schema file that is missing or wrong is named with what was expected."""
    (folder / "schema.json").unlink()
    if text is not None:
        (folder / "schema.json").write_text(text)
    with pytest.raises(error) as caught:
        _ = make().schema
    assert message in str(caught.value)
    assert str(folder / "schema.json") in str(caught.value)


def test_another_kind_of_destination(make: Make) -> None:
    """Each kind is reached in its own way."""
    project = make(destinations={"lake": {"kind": "clickhouse", "host": "x"}, "pg": {"kind": "postgres", "host": "x"}})
    with pytest.raises(ConfigurationError, match="destination lake: expected a PostgreSQL or TimescaleDB, found click"):
        project.conninfo("lake")
    with pytest.raises(ConfigurationError, match="destination pg: expected a ClickHouse, found postgres"):
        project.address("pg")
    assert str(project.address("lake")) == "x:8123"


def test_a_dsn_that_is_none_is_named(make: Make) -> None:
    """With its key; a secret that is not set names its own."""
    for dsn, key in (("h:1", "destinations.lake.dsn: expected a dsn"), ({"env": "NO_SUCH"}, "destinations.lake.dsn: ")):
        project = make(destinations={"lake": {"kind": "clickhouse", "dsn": dsn}})
        with pytest.raises(ConfigurationError) as caught:
            project.address("lake")
        assert str(caught.value).count(key) == 1


def test_an_embedded_destination(make: Make, folder: Path) -> None:
    """An embedded server starts with the first connection and is left when the project closes."""
    KeyRing.generate(folder / "keys.json")
    warehouse = {"kind": "postgres", "embedded": True, "directory": "pg"}
    with make(destinations={"warehouse": warehouse}, masking={"keys": {"file": "keys.json"}}) as project:
        runner = drained(project)
        assert runner.result.applied == 1
        conninfo = project.conninfo("warehouse")
        with psycopg.connect(conninfo) as connection:
            assert connection.execute("SELECT id, name FROM ks.users").fetchall() == [(0, "x")]
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(conninfo)


def test_columns_not_loaded(make: Make) -> None:
    """With `deny` a column that no rule names is planned as not loaded; a key column without a rule is refused."""
    with pytest.raises(ConfigurationError, match=r"expected a rule for key column ks.events.day"):
        make(masking={"unclassified": "deny"}).plan("warehouse")
