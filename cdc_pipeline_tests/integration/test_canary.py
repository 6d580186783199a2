"""Canaries planted in masked columns of a real log are searched for in everything that a run leaves behind."""

from __future__ import annotations

import base64
import dataclasses
import os
import shutil
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import structlog

from cdc_pipeline.embedded.postgres import EmbeddedPostgres
from cdc_pipeline.errors import PermanentSinkError
from cdc_pipeline.observability.logging import configure_logging
from cdc_pipeline_tests.decode import encoder as en
from cdc_pipeline_tests.integration.node import MICROS, Node, write_schema
from cdc_pipeline_tests.integration.workspace import Workspace, drained, lane, rows
from cdc_pipeline_tests.load.changes import table
from cdc_pipeline_tests.types.values import int_bytes

CANARY = b"canary4711@example.com"

PEOPLE = table(
    "people",
    key=[("id", "int")],
    clustering=[("email", "text")],
    static=[("iban", "text")],
    regular=[("mrn", "text"), ("note", "text"), ("passport", "frozen<list<text>>"), ("phones", "set<text>")],
)


@pytest.fixture
def own_server() -> Iterator[tuple[Path, EmbeddedPostgres]]:
    """A server whose log can be read."""
    directory = Path(tempfile.mkdtemp(prefix="cdc-tests-canary-"))
    try:
        with EmbeddedPostgres(directory, fast=True) as server:
            yield directory, server
    finally:
        shutil.rmtree(directory)


@pytest.fixture(autouse=True)
def logging_as_configured() -> Iterator[None]:
    """Logs go where a run's go."""
    configure_logging()
    yield
    structlog.reset_defaults()


def planted(number: int, *columns: tuple[str, bytes], email: bytes = CANARY) -> bytes:
    """An INSERT of these cells into `people`."""
    cells = [en.cell(value) for _, value in columns]
    row = en.row(en.clustering([email]), cells, live=en.Liveness(MICROS))
    return en.mutation(en.update(PEOPLE.id.bytes, int_bytes(number), [row], columns=[name for name, _ in columns]))


def static(number: int) -> bytes:
    """A static write."""
    row = en.static_row([en.cell(CANARY)], live=en.Liveness(MICROS))
    return en.mutation(en.update(PEOPLE.id.bytes, int_bytes(number), static_columns=["iban"], static=row))


def inequality(number: int) -> bytes:
    """DELETE … WHERE email > canary, which a mask cannot order."""
    gone = en.BASE.deletion(MICROS, MICROS // 1_000_000)
    bounds = [en.bound(en.EXCL_START, [CANARY], gone), en.bound(en.INCL_END, [], gone)]
    return en.mutation(en.update(PEOPLE.id.bytes, int_bytes(number), bounds))


def elements(number: int) -> bytes:
    """Elements of a set, one of them no UTF-8."""
    cells = [en.cell(b"", path=path) for path in (CANARY, CANARY + b"2")]
    row = en.row(en.clustering([CANARY]), [en.collection(cells)], live=en.Liveness(MICROS))
    return en.mutation(en.update(PEOPLE.id.bytes, int_bytes(number), [row], columns=["phones"]))


def everything_in(conninfo: str) -> str:
    """Every row of every table and view of ours, the definitions, and the names of all columns."""
    said = []
    with psycopg.connect(conninfo, autocommit=True) as connection:
        listed = connection.execute(
            "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables WHERE schemaname = 'cdc' "
            "UNION ALL SELECT quote_ident(schemaname) || '.' || quote_ident(viewname) FROM pg_views "
            "WHERE schemaname = 'ks'"
        ).fetchall()
        for (name,) in listed:
            found = connection.execute(f"SELECT t::text FROM {name} t".encode()).fetchall()
            said += [name, *(text for (text,) in found)]
        said += [text for (text,) in connection.execute("SELECT definition FROM pg_views WHERE schemaname = 'ks'")]
    assert len(said) > 10
    return "\n".join(said)


def assert_silent(said: str) -> None:
    """The canary is there in no spelling."""
    assert len(said) > 0
    for word in (CANARY, b"canary4711"):
        for form in (word.decode(), word.hex(), base64.b64encode(word).decode()[:-4]):
            assert form.lower() not in said.lower()


def test_no_value_of_a_masked_column_is_left_anywhere(
    own_server: tuple[Path, EmbeddedPostgres], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not in rows, dead letters, definitions, logs of ours or of the server, results, plans or error texts."""
    directory, server = own_server
    node = Node(tmp_path / "cdc_raw")
    unreadable = (9).to_bytes(4, "big") + (99).to_bytes(4, "big") + CANARY
    node.segment(
        0,
        [planted(1, ("mrn", CANARY), ("note", b"in the clear")), static(1), inequality(1), elements(1)],
        [planted(2, ("passport", unreadable)), planted(3, ("note", os.urandom(9000).hex().encode())), static(4)],
        [planted(5, ("mrn", CANARY))],
    )
    node.flip(0, -30)
    node.segment(1, [planted(6, ("mrn", CANARY), ("nowhere", CANARY))])
    schema = write_schema(tmp_path / "schema.json", PEOPLE)
    workspace = Workspace(tmp_path / "project", node.directory, schema, server.create_database("cdc"))
    said: list[object] = []
    with workspace.project() as project:
        lane(project).prepare_tables()
        with psycopg.connect(workspace.conninfo, autocommit=True) as connection:
            connection.execute('CREATE INDEX ON cdc."ks.people" ("v:note")')
            connection.execute("""ALTER TABLE cdc."ks.people" ADD CHECK ("v:mrn" <> 'nothing')""")
        runner = drained(project)
        said += [
            runner.result,
            [dataclasses.asdict(one) for one in project.plan("warehouse")],
            vars(runner.result.masking),
        ]
        reasons = rows(workspace.conninfo, "SELECT reason FROM cdc.dead_letters ORDER BY 1")
        assert [reason for (reason,) in reasons] == [
            "CORRUPT_MUTATION",
            "MASKING_FAILED",
            "ORDER_LOST_BY_MASK",
            "REFUSED_BY_DESTINATION",
            "UNKNOWN_COLUMN",
        ]
        assert rows(
            workspace.conninfo, "SELECT count(*) FROM ks.people WHERE iban LIKE 'h1.%%' OR mrn LIKE 't1.%%'"
        ) == [(2,)]
        left = everything_in(workspace.conninfo)
        assert "in the clear" in left
        assert_silent(left)
        with psycopg.connect(workspace.conninfo, autocommit=True) as connection:
            connection.execute('DROP INDEX cdc."ks.people:key"')
        (first, *_) = runner.source.segments()
        decoded = next(runner.reading(first))
        prepared = runner.prepared(decoded)
        with pytest.raises(PermanentSinkError, match="SQLSTATE 42P10") as caught:
            runner.reload(prepared, lambda: decoded)
        said += [str(caught.value), repr(caught.value), "".join(traceback.format_exception(caught.value))]
    output = capfd.readouterr()
    server_log = "".join(path.read_text() for path in directory.glob("*log*") if path.is_file())
    assert "ERROR" in server_log
    assert_silent("\n".join([*map(repr, said), output.out, output.err, server_log]))
