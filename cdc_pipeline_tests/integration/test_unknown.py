"""Tables and columns that the schema lacks: its source is asked once more, and then the whole mutation is parked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cdc_pipeline.dlq import DeadLetterEvent
from cdc_pipeline.pipeline import LaneRunner
from cdc_pipeline.project import Project
from cdc_pipeline.schema import Schema, Table
from cdc_pipeline.transform import KeyRing, open_mutation
from cdc_pipeline_tests.decode import encoder as en
from cdc_pipeline_tests.integration.node import EVENTS, USERS, Node, event, user, write_schema
from cdc_pipeline_tests.integration.workspace import Workspace, drained, lane, rows
from cdc_pipeline_tests.types.values import int_bytes

CANARY = "kanarienvogel@example.org"
BARE = dataclasses.replace(USERS, columns=tuple(c for c in USERS.columns if c.name != "email"))
"""`users` before its column `email` was added."""

BOTH = en.mutation(
    en.update(EVENTS.id.bytes, int_bytes(7), []),
    en.update(USERS.id.bytes, int_bytes(77), [en.row(columns=[en.cell(b"n")], live=en.Liveness(5))], columns=["name"]),
)
"""One mutation of two tables, of which the first may be unknown: nothing behind it can be read then."""

Make = Callable[..., Workspace]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A node with mutations of two tables among each other."""
    node = Node(tmp_path / "cdc_raw")
    mutations = [user(1), event(1, 1, CANARY), user(2, email=CANARY), event(1, 2), BOTH, user(3)]
    node.segment(0, mutations[:2], mutations[2:])
    return node


@pytest.fixture
def make(tmp_path: Path, node: Node, pg_database: str) -> Make:
    """A function that makes a workspace whose schema knows only some tables."""

    def made(*tables: Table, **more: Any) -> Workspace:
        schema = write_schema(tmp_path / "schema.json", *tables)
        return Workspace(tmp_path / "project", node.directory, schema, pg_database, **more)

    return made


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Schema]:
    """What the schema's source answered each time it was asked."""
    answers: list[Schema] = []
    original = Project.fresh_schema

    def fresh(project: Project) -> Schema:
        answers.append(original(project))
        return answers[-1]

    monkeypatch.setattr(Project, "fresh_schema", fresh)
    return answers


def letters(runner: LaneRunner) -> Iterator[DeadLetterEvent]:
    """What is parked, in the log's order."""
    yield from sorted(runner.sink.dead_letters(), key=lambda letter: letter.position)


def test_parked_whole_and_sealed(make: Make, asked: list[Schema], node: Node) -> None:
    """What cannot be read is parked with its bytes, which only the key ring opens; the source was asked once."""
    there = make(USERS)
    with there.project() as project:
        runner = drained(project)
        assert runner.result.parked == {"UNKNOWN_TABLE": 3}
        assert len(asked) == 2  # as the project began, and for the one table that it lacks
        found = list(letters(runner))
        ring = KeyRing.load(there.folder / "keys.json")
        assert [open_mutation(one.event["mutation"], ring) for one in found] == [event(1, 1, CANARY), event(1, 2), BOTH]
        assert {one.event["table_id"] for one in found} == {str(EVENTS.id)}
        assert [one.event["position"] for one in found] == sorted(one.event["position"] for one in found)
    said = rows(there.conninfo, "SELECT d::text FROM cdc.dead_letters d")
    assert not any(CANARY in text or CANARY.encode().hex() in text for (text,) in said)
    assert rows(there.conninfo, "SELECT id FROM ks.users ORDER BY 1") == [(1,), (2,), (3,)]


@pytest.mark.parametrize(
    ("rules", "keys"), [({"pii_fields": [], "phi_fields": []}, {"sha256", "hex"}), ({"pii_fields": ["x"]}, {"sha256"})]
)
def test_without_a_key_ring(make: Make, rules: dict[str, Any], keys: set[str]) -> None:
    """Where nothing is ever masked the bytes are kept as they are; where something may be, only their digest."""
    rules = {"pii_fields": [], "phi_fields": [], **rules}
    with make(USERS, rules=rules, settings={"masking": {"rules": "masking.yaml"}}).project() as project:
        for letter in letters(drained(project)):
            assert letter.event["mutation"].keys() == keys


def test_known_by_then(make: Make, asked: list[Schema]) -> None:
    """A table that the source knows meanwhile is loaded, and what lay before it in the batch comes once."""
    there = make(USERS)
    with there.project() as project:
        runner = lane(project)
        runner.open("test")
        write_schema(there.schema, USERS, EVENTS)
        runner.drain()
        assert len(asked) == 2
        assert not runner.result.parked
        assert runner.held.events_processed == 6
    assert rows(there.conninfo, 'SELECT day, "at", what FROM ks.events ORDER BY 1, 2') == [(1, 1, CANARY), (1, 2, "y")]
    assert rows(there.conninfo, "SELECT id, name FROM ks.users ORDER BY 1") == [(1, "x"), (2, "x"), (3, "x"), (77, "n")]


def test_a_column_known_by_then(make: Make) -> None:
    """A column that the source knows meanwhile is added, masked by the policy."""
    there = make(BARE, EVENTS)
    with there.project() as project:
        runner = lane(project)
        runner.open("test")
        write_schema(there.schema, USERS, EVENTS)
        runner.drain()
        assert not runner.result.parked
    ((mask,),) = rows(there.conninfo, "SELECT email FROM ks.users WHERE email IS NOT NULL")
    assert mask.startswith("h1.")


def test_an_unknown_column_is_parked(make: Make, asked: list[Schema]) -> None:
    """A column that no source knows parks its mutation, with the column's name."""
    with make(BARE, EVENTS).project() as project:
        runner = drained(project)
        assert runner.result.parked == {"UNKNOWN_COLUMN": 1}
        (letter,) = letters(runner)
        assert (letter.event["column"], letter.table) == ("email", "users")
        assert len(asked) == 2


def test_replayed_when_it_is_known(make: Make) -> None:
    """Once the schema knows the table, a backfill of the segment brings all that was parked."""
    there = make(USERS)
    with there.project() as project:
        assert drained(project).result.parked
    write_schema(there.schema, USERS, EVENTS)
    with there.project() as project:
        again = lane(project)
        again.backfill(again.source.segments())
        assert not again.result.parked
    assert rows(there.conninfo, "SELECT count(*) FROM ks.events") == [(2,)]
    assert rows(there.conninfo, "SELECT id FROM ks.users WHERE id = 77") == [(77,)]


def test_a_source_that_does_not_answer(make: Make) -> None:
    """A source that cannot be asked knows nothing: the mutation is parked, and the lane goes on."""
    there = make(USERS)
    with there.project() as project:
        runner = lane(project)
        runner.open("test")
        there.schema.write_text("{")
        runner.drain()
        assert runner.result.parked == {"UNKNOWN_TABLE": 3}
    assert rows(there.conninfo, "SELECT count(*) FROM ks.users") == [(3,)]


def test_a_column_that_nobody_may_load(make: Make, tmp_path: Path) -> None:
    """A column that comes while `unclassified` is deny is left out until a rule names it."""
    rules = {"pii_fields": ["email"], "phi_fields": [], "rules": [{"match": "ks.*.id", "strategy": "NONE"}]}
    rules["rules"] += [{"match": f"ks.*.{name}", "strategy": "NONE"} for name in ("day", "at", "what")]
    settings = {"masking": {"rules": "masking.yaml", "keys": {"file": "keys.json"}, "unclassified": "deny"}}
    without = dataclasses.replace(USERS, columns=tuple(c for c in USERS.columns if c.name != "name"))
    there = make(without, EVENTS, rules=rules, settings=settings)
    with there.project() as project:
        runner = lane(project)
        runner.open("test")
        write_schema(there.schema, USERS, EVENTS)
        runner.drain()
        assert not runner.result.parked
    assert sorted(_columns(there)) == ["email", "id"]


def _columns(there: Workspace) -> list[str]:
    query = "SELECT column_name FROM information_schema.columns WHERE (table_schema, table_name) = ('ks', 'users')"
    return [name for (name,) in rows(there.conninfo, query)]
