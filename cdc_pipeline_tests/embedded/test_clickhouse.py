"""One ClickHouse per folder: who starts it, who shares it, who ends it, and what survives."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError

from cdc_pipeline.embedded.clickhouse import EmbeddedClickHouse
from cdc_pipeline.errors import ConfigurationError, PermanentSinkError
from cdc_pipeline_tests.embedded.processes import ClickHouseUser, eventually, processes_of

pytestmark = pytest.mark.timeout(120)
TABLE = "CREATE TABLE kept (batch UInt32, n UInt32) ENGINE = MergeTree ORDER BY n"


@contextlib.contextmanager
def client_of(url: str) -> Iterator[Client]:
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    client = clickhouse_connect.get_client(
        host=parts.hostname, port=parts.port, username=str(parts.username), password=str(parts.password), compress=False
    )
    with contextlib.closing(client):
        yield client


def one(url: str, query: str) -> object:
    with client_of(url) as client:
        return client.query(query).result_rows[0][0]


def run(url: str, statement: str) -> None:
    with client_of(url) as client:
        client.command(statement)


def test_starts_answers_and_leaves_nothing(directory: Path) -> None:
    """A started server answers in UTC on 127.0.0.1; leaving it ends it before `stop` returns."""
    server = EmbeddedClickHouse(directory, fast=True).start()
    url = server.url()
    assert one(url, "SELECT timezone()") == "UTC"
    assert processes_of(directory)
    assert server.stop()
    assert not processes_of(directory)
    with pytest.raises(ClickHouseError):
        one(url, "SELECT 1")


def test_data_password_and_port_survive_a_restart(directory: Path) -> None:
    """The same address and password lead to the same rows after a stop."""
    with EmbeddedClickHouse(directory) as server:
        before = server.url()
        run(before, TABLE)
        run(before, "INSERT INTO kept VALUES (0, 42)")
    with EmbeddedClickHouse(directory) as server:
        assert server.url() == before
        assert one(before, "SELECT n FROM kept") == 42


def test_the_password_is_asked_for_and_kept_private(directory: Path) -> None:
    """A wrong password is refused with ClickHouse's number; the right one lies in a file of mode 0600."""
    with EmbeddedClickHouse(directory, fast=True) as server:
        wrong = server.url().replace("default:", "default:x")
        with pytest.raises(DatabaseError, match="AUTHENTICATION_FAILED") as caught:
            one(wrong, "SELECT 1")
        assert caught.value.code == 516
        connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("POST", "/?user=other", body="SELECT 1")
            assert connection.getresponse().status == 403
    assert (directory / "password").stat().st_mode & 0o777 == 0o600


def test_processes_share_one_server_and_a_killed_starter_does_not_end_it(directory: Path) -> None:
    """SIGKILL of the process that started the server leaves it running for the second; the second's end ends it."""
    with ClickHouseUser(directory) as first:
        address = first.url()
        with ClickHouseUser(directory) as second:
            assert second.url() == address
            number = processes_of(directory)
            first.kill()
            assert one(address, "SELECT 1") == 1
            assert processes_of(directory) == number
    assert eventually(lambda: not processes_of(directory))


def test_processes_that_start_at_once_get_one_server(directory: Path) -> None:
    """Of starters at the same time one makes the data and the server, and all use it."""
    with ClickHouseUser(directory) as first, ClickHouseUser(directory) as second, ClickHouseUser(directory) as third:
        assert first.url() == second.url() == third.url() != ""


def test_a_killed_last_user_ends_the_server(directory: Path) -> None:
    """SIGKILL of the only user ends the server and leaves no process."""
    with ClickHouseUser(directory) as user:
        assert user.url()
        user.kill()
    assert eventually(lambda: not processes_of(directory))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_an_ended_server_is_started_again(directory: Path, how: signal.Signals) -> None:
    """After the server's end, however it came, `start` again gives the same address and every acknowledged row."""
    with EmbeddedClickHouse(directory) as server:
        address = server.url()
        run(address, TABLE)
        run(address, "INSERT INTO kept VALUES (0, 7)")
        (number,) = processes_of(directory)
        os.kill(number, how)
        assert eventually(lambda: not processes_of(directory))
        assert server.start().url() == address
        assert one(address, "SELECT n FROM kept") == 7


def test_killed_in_the_middle_of_writing_it_keeps_whole_batches_and_every_acknowledged_one(directory: Path) -> None:
    """SIGKILL while inserts run: there are only batches of 1000 rows afterwards, among them all that were answered."""
    with EmbeddedClickHouse(directory) as server:
        run(server.url(), TABLE)
        acknowledged: list[int] = []

        def write() -> None:
            with contextlib.suppress(ClickHouseError), client_of(server.url()) as client:
                for batch in range(100_000):
                    client.raw_insert("kept", insert_block="".join(f"{batch},{n}\n" for n in range(1000)), fmt="CSV")
                    acknowledged.append(batch)

        writer = threading.Thread(target=write)
        writer.start()
        assert eventually(lambda: len(acknowledged) > 20)
        (number,) = processes_of(directory)
        os.kill(number, signal.SIGKILL)
        writer.join(60)
        assert not writer.is_alive()
        with client_of(server.start().url()) as client:
            found = dict(client.query("SELECT batch, count() FROM kept GROUP BY batch").result_rows)
    assert set(found.values()) == {1000}
    assert set(acknowledged) <= set(found)
    assert len(found) <= len(acknowledged) + 1


@pytest.mark.parametrize("fast", [False, True])
def test_inserts_are_synchronised_unless_fast(directory: Path, fast: bool) -> None:
    """Every MergeTree table syncs what it has answered for; a fast server's does not. Memory is bounded."""
    with EmbeddedClickHouse(directory, fast=fast) as server:
        setting = "SELECT value FROM system.merge_tree_settings WHERE name = 'fsync_after_insert'"
        assert one(server.url(), setting) == ("0" if fast else "1")
        bound = "SELECT toUInt64(value) FROM system.server_settings WHERE name = 'max_server_memory_usage'"
        assert 0 < int(str(one(server.url(), bound))) <= 4 << 30


def test_a_huge_body_takes_no_memory(directory: Path) -> None:
    """300 MB come in before the engine sees any of them, into a file and not into memory; no file is left of them."""
    peaks: list[int] = []
    with EmbeddedClickHouse(directory, fast=True) as server, client_of(server.url()) as client:
        client.command("CREATE TABLE sink (s String) ENGINE = Null")
        (number,) = processes_of(directory)

        def body() -> Iterator[bytes]:
            for _ in range(300):
                yield (b"x" * 999 + b"\n") * 1000
            status = Path(f"/proc/{number}/status").read_text().splitlines()
            peaks.extend(int(row.split()[1]) for row in status if row.startswith("VmHWM"))

        client.raw_insert("sink", insert_block=body(), fmt="LineAsString")
        assert list((directory / "spool").iterdir()) == []
    assert peaks
    assert peaks[0] < 250_000


def test_a_port_taken_meanwhile_is_replaced(directory: Path, tmp_path: Path) -> None:
    """The last port is kept only while it is free."""
    with EmbeddedClickHouse(directory, fast=True) as server:
        other = tmp_path / "other"
        other.mkdir()
        (other / "port").write_text((directory / "port").read_text())
        with EmbeddedClickHouse(other, fast=True) as second:
            assert second.port != server.port
            assert one(second.url(), "SELECT 1") == 1


def test_files_of_dropped_tables_are_deleted_at_the_next_start(directory: Path) -> None:
    """chDB never deletes them; after a restart only the folders of living tables are left."""
    with EmbeddedClickHouse(directory, fast=True) as server:
        for number in range(3):
            run(server.url(), f"CREATE TABLE t{number} (n UInt8) ENGINE = MergeTree ORDER BY n")
        run(server.url(), "DROP TABLE t0 SYNC")
        run(server.url(), "DROP TABLE t1")
    with EmbeddedClickHouse(directory, fast=True) as server:
        assert list((directory / "data" / "metadata_dropped").iterdir()) == []
        path = one(server.url(), "SELECT data_paths[1] FROM system.tables WHERE name = 't2'")
        assert Path(str(path)).is_dir()
        assert (
            len({place for place in (directory / "data" / "store").glob("*/*") if any(place.glob("format_version*"))})
            == 1
        )


def test_a_folder_that_another_program_has_open_is_one_sentence(directory: Path) -> None:
    """One process per folder: said as that, not as chDB's empty reason."""
    with EmbeddedClickHouse(directory, fast=True):
        (directory / "supervisor.lock").unlink()  # as for a program that opened the data without our locks
        with pytest.raises(PermanentSinkError, match=rf"{directory}: .*another process that has the folder open"):
            EmbeddedClickHouse(directory, fast=True).start()


def test_a_lost_password_is_one_sentence(directory: Path) -> None:
    """Without the password file the message says which file was expected."""
    with EmbeddedClickHouse(directory, fast=True) as server:
        (directory / "password").unlink()
        with pytest.raises(PermanentSinkError, match="expected the file password"):
            server.url()


def test_a_file_in_the_place_of_the_folder_is_one_sentence(directory: Path) -> None:
    """A path that is no folder is a matter of configuration."""
    (directory / "file").write_text("")
    with pytest.raises(ConfigurationError, match="expected a folder to write in"):
        EmbeddedClickHouse(directory / "file").start()


def test_an_address_before_the_start_is_refused(directory: Path) -> None:
    """Nobody gets an address that leads nowhere."""
    with pytest.raises(PermanentSinkError, match=r"expected start\(\)"):
        EmbeddedClickHouse(directory).url()


def test_a_missing_package_is_named(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without chDB the message says what to install."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="needs the package chdb-core-lite"):
        EmbeddedClickHouse(directory).start()
