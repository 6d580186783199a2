"""Finished segments move to the archive and out of it again; killed anywhere and asked again, the end is the same."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from cdc_pipeline.archivist import Archivist, LaneView
from cdc_pipeline.capture import ShardLog
from cdc_pipeline.capture.archive import Outcome, ShardArchive
from cdc_pipeline.capture.manifest import Manifest
from cdc_pipeline.change import START, Position
from cdc_pipeline.decode import Decoder, dump_lines
from cdc_pipeline.errors import CdcError, ConfigurationError
from cdc_pipeline.offsets import Lane
from cdc_pipeline.schema import SYSTEM_KEYSPACES
from cdc_pipeline_tests.capture.sweeper import PRUNE_STEPS, SWEEP_STEPS, archivist, passed
from cdc_pipeline_tests.decode import encoder as en
from cdc_pipeline_tests.integration.node import FIRST, Node, event, user
from cdc_pipeline_tests.recordings import NAMES, Recording, opener

DAY = 86400.0


@pytest.fixture(scope="session")
def open_recording(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Recording]:
    """A function that opens a recording by its name, unpacked once."""
    return opener(tmp_path_factory)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """An empty `cdc_raw`."""
    return Node(tmp_path / "cdc_raw")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Where segments go."""
    return tmp_path / "archive" / "node1"


@pytest.fixture(params=["link", "copy"])
def method(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of moving: by hard link, and by copy as if the archive lay on another file system."""
    if request.param == "copy":

        def refuse(*_: object) -> None:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

        monkeypatch.setattr(os, "link", refuse)
    return str(request.param)


def fill(node: Node) -> None:
    """Two finished segments, a live one and a spare one."""
    node.segment(0, [user(1), user(2)], [event(1, 1)])
    node.segment(1, [user(3)])
    node.segment(2, [user(4)], live=True)
    node.spare(3)


def names(folder: Path) -> list[str]:
    """The files of a folder."""
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_what_is_finished_moves(node: Node, archive: Path, method: str) -> None:
    """Finished segments lie in the archive with a manifest, byte for byte; live and spare ones stay as they are."""
    fill(node)
    before = {path.name: path.read_bytes() for path in node.directory.iterdir()}
    swept = archivist(node.directory, archive).sweep()
    assert [(taken.segment, taken.outcome) for taken in swept.taken] == [
        (node.path(0).name, Outcome.ARCHIVED),
        (node.path(1).name, Outcome.ARCHIVED),
    ]
    stay = sorted([node.path(2).name, node.index(2).name, node.path(3).name])
    assert names(node.directory) == stay
    for number in (0, 1):
        name = node.path(number).name
        data = (archive / name).read_bytes()
        assert data == before[name]
        manifest = Manifest.beside(archive / name)
        assert manifest is not None
        assert manifest.digest.sha256 == hashlib.sha256(data).hexdigest()
        assert manifest.digest.size == len(data)
        assert manifest.method == method
        assert manifest.contents.first_position == len(en.header(7, FIRST))
        assert manifest.contents.last_position == len(data) - 8
        assert time.time() - manifest.archived_at < 60
    first = Manifest.beside(archive / node.path(0).name)
    assert first is not None
    assert (first.contents.mutations, first.contents.tables) == (3, {"ks.users": 2, "ks.events": 1})
    assert swept.freed == sum(len(data) for name, data in before.items() if name not in stay)
    assert archivist(node.directory, archive).sweep().taken == []
    assert not [name for name in names(archive) if name.endswith(".part")]


@pytest.mark.parametrize("how", ["link", "copy"])
@pytest.mark.parametrize("step", SWEEP_STEPS)
def test_killed_behind_a_step(node: Node, archive: Path, tmp_path: Path, step: str, how: str) -> None:
    """A sweep that is killed, twice at the same step, leaves nothing that another does not bring to the same end."""
    fill(node)
    other = Node(tmp_path / "other")
    fill(other)
    archivist(other.directory, tmp_path / "whole").sweep()
    assert killed(node.directory, archive, how, step, step)[0] == -9
    for number in (0, 1):  # at every moment the segment is somewhere, whole
        places = [folder / node.path(number).name for folder in (node.directory, archive)]
        assert any(
            path.exists() and path.read_bytes() == (tmp_path / "whole" / path.name).read_bytes() for path in places
        )
        if not places[0].exists():
            assert Manifest.beside(places[1]) is not None
    node.settle()
    archivist(node.directory, archive).sweep()
    assert names(node.directory) == names(other.directory)
    assert names(archive) == names(tmp_path / "whole")
    for name in names(archive):
        if name.endswith(".log"):
            assert archivist(node.directory, archive).archive.verify(known(archive, name)) is None


def killed(raw: Path, archive: Path, what: str, *steps: str) -> list[int]:
    """How processes ended that were to die behind these steps, one after the other."""
    arguments = [sys.executable, "-m", "cdc_pipeline_tests.capture.sweeper", str(raw), str(archive), what]
    ran = subprocess.run([*arguments, json.dumps(steps)], capture_output=True, timeout=60, check=True)
    return list(json.loads(ran.stdout))


@pytest.mark.parametrize("how", ["link", "copy"])
@pytest.mark.parametrize("step", ["forgotten", *SWEEP_STEPS])
def test_killed_while_it_takes_more(node: Node, archive: Path, step: str, how: str) -> None:
    """A longer form that replaces a shorter one: killed anywhere, the longer stays, with its manifest."""
    node.segment(0, [user(1)])
    archivist(node.directory, archive).sweep()
    more = node.segment(0, [user(1)], [user(2)]).read_bytes()
    assert killed(node.directory, archive, how, step) == [-9]
    assert node.path(0).exists() or (archive / node.path(0).name).read_bytes() == more
    node.settle()
    archivist(node.directory, archive).sweep()
    assert names(node.directory) == []
    assert names(archive) == [".lock", f"{node.path(0).stem}.json", node.path(0).name]
    assert (archive / node.path(0).name).read_bytes() == more
    manifest = known(archive, node.path(0).name)
    assert manifest.contents.mutations == 2
    assert archivist(node.directory, archive).archive.verify(manifest) is None


def test_leftovers_of_a_kill_go(node: Node, archive: Path) -> None:
    """Half of something whose source is gone does not stay for ever."""
    fill(node)
    assert killed(node.directory, archive, "copy", "placed") == [-9]
    assert any(name.endswith(".part") for name in names(archive))
    for path in node.directory.iterdir():
        path.unlink()
    archivist(node.directory, archive).sweep()
    assert names(archive) == [".lock"]


def test_killed_while_copying(node: Node, archive: Path) -> None:
    """Half a copy is nothing: it has no segment's name, and the next sweep begins anew."""
    fill(node)
    assert killed(node.directory, archive, "half copy", "") == [-9]
    assert [name for name in names(archive) if name.endswith(".log")] == []
    archivist(node.directory, archive).sweep()
    both = [node.path(0).name, node.path(1).name]
    assert [name for name in names(archive) if name.endswith((".log", ".part"))] == both


def known(archive: Path, name: str) -> Manifest:
    """The manifest of a segment that has one."""
    manifest = Manifest.beside(archive / name)
    assert manifest is not None
    return manifest


def test_a_replayed_segment_comes_again(node: Node, archive: Path, method: str) -> None:
    """Linked again by a replay, with a longer tail of zeros: it is known by its content and removed again."""
    data = node.segment(0, [user(1)]).read_bytes()
    keeper = archivist(node.directory, archive)
    keeper.sweep()
    node.path(0).write_bytes(data + bytes(5000))
    node.index(0).write_text(f"{len(data) + 5000}\nCOMPLETED")
    (taken,) = keeper.sweep().taken
    assert taken.outcome is Outcome.RETURNED
    assert names(node.directory) == []
    assert (archive / node.path(0).name).read_bytes() == data
    assert known(archive, node.path(0).name).digest.size == len(data)


def test_a_part_of_what_is_known_comes_again(node: Node, archive: Path) -> None:
    """A shorter one whose content is contained is removed too."""
    whole = node.segment(0, [user(1)], [user(2)]).read_bytes()
    keeper = archivist(node.directory, archive)
    keeper.sweep()
    part = node.segment(0, [user(1)])
    assert whole.startswith(part.read_bytes().rstrip(b"\0")[:60])
    content = part.read_bytes().rstrip(b"\0")
    part.write_bytes(whole[: len(content)] + bytes(100))
    (taken,) = keeper.sweep().taken
    assert taken.outcome is Outcome.RETURNED
    assert (archive / node.path(0).name).read_bytes() == whole


def test_more_than_what_is_known_comes_again(node: Node, archive: Path, method: str) -> None:
    """A segment that was settled too early and comes back longer replaces the shorter one."""
    node.segment(0, [user(1)])
    keeper = archivist(node.directory, archive)
    keeper.sweep()
    more = node.segment(0, [user(1)], [user(2)]).read_bytes()
    (taken,) = keeper.sweep().taken
    assert taken.outcome is Outcome.GROWN
    assert (archive / node.path(0).name).read_bytes() == more
    assert known(archive, node.path(0).name).contents.mutations == 2
    assert keeper.archive.verify(known(archive, node.path(0).name)) is None


def test_other_content_under_a_known_name(node: Node, archive: Path) -> None:
    """It stays in `cdc_raw` and is told; the archive keeps what it has."""
    first = node.segment(0, [user(1)]).read_bytes()
    keeper = archivist(node.directory, archive)
    keeper.sweep()
    node.segment(0, [user(2)])
    swept = keeper.sweep()
    assert [taken.outcome for taken in swept.taken] == [Outcome.KEPT]
    name = node.path(0).name
    assert swept.problems == [f"segment {name}: expected what the archive holds of it, found another content; it stays"]
    assert node.path(0).exists()
    assert (archive / name).read_bytes() == first


def test_one_comes_back_after_it_left_the_archive(node: Node, archive: Path) -> None:
    """What was removed is known by its note: the same content is removed again, another is kept."""
    data = node.segment(0, [user(1)]).read_bytes()
    keeper = archivist(node.directory, archive)
    keeper.sweep()
    name = node.path(0).name
    assert keeper.prune([passed(name)], 0.0).removed == [name]
    node.path(0).write_bytes(data + bytes(64))
    node.index(0).write_text("1\nCOMPLETED")
    assert [taken.outcome for taken in keeper.sweep().taken] == [Outcome.RETURNED]
    assert (names(node.directory), names(archive)) == ([], [".lock", Path(name).stem + ".json"])
    node.segment(0, [user(2)])
    assert [taken.outcome for taken in keeper.sweep().taken] == [Outcome.KEPT]
    assert node.path(0).exists()


def test_an_unknown_version_stays(node: Node, archive: Path) -> None:
    """A segment that nobody here can read is refused, never moved or removed."""
    path = node.directory / f"CommitLog-9-{FIRST}.log"
    path.write_bytes(en.header(9, FIRST) + bytes(100))
    path.with_name(path.stem + "_cdc.idx").write_text("100\nCOMPLETED")
    swept = archivist(node.directory, archive).sweep()
    assert [taken.outcome for taken in swept.taken] == [Outcome.KEPT]
    assert "segment version expected" in swept.problems[0]
    assert path.exists()


def test_a_damaged_segment_moves_and_is_never_pruned(node: Node, archive: Path) -> None:
    """Damage is noted in the manifest; such a segment stays in the archive until a person removes it."""
    node.segment(0, [user(1)], [user(2)])
    node.flip(0, -20)
    node.segment(1, [user(3)])
    node.flip(1, 20)
    keeper = archivist(node.directory, archive)
    keeper.sweep()
    both = [node.path(0).name, node.path(1).name]
    assert all(known(archive, name).contents.damage for name in both)
    pruned = keeper.prune([passed(*both)], 0.0)
    assert (pruned.removed, pruned.damaged) == ([], both)
    assert all((archive / name).exists() for name in both)


def test_3_11(node: Node, archive: Path) -> None:
    """Without an index presence is the sign; a segment without CDC data, as a replay leaves it, moves too."""
    for number, mutations in ((0, [user(1)]), (1, [])):
        sections = [b"".join(map(en.entry, mutations))] if mutations else []
        en.write(
            node.directory,
            en.segment(sections, version=6, segment_id=FIRST + number),
            version=6,
            segment_id=FIRST + number,
        )
    swept = archivist(node.directory, archive).sweep()
    assert [taken.outcome for taken in swept.taken] == [Outcome.ARCHIVED] * 2
    assert names(node.directory) == []
    assert [manifest.contents.mutations for manifest in archivist(node.directory, archive).archive.manifests()] == [
        1,
        0,
    ]


def test_a_settled_segment_waits_for_its_age(node: Node, archive: Path) -> None:
    """One that a killed node left unfinished moves when its index is old, and says that it was settled."""
    node.segment(0, [user(1)], live=True)
    node.segment(1, [user(2)], live=True)
    keeper = archivist(node.directory, archive)
    assert keeper.sweep().taken == []
    node.settle()
    assert [taken.segment for taken in keeper.sweep().taken] == [node.path(0).name]
    assert known(archive, node.path(0).name).settled


def test_indexes_without_a_log(node: Node, archive: Path) -> None:
    """One whose log is archived goes when it is old; one that nobody knows stays."""
    node.segment(0, [user(1)])
    keeper = archivist(node.directory, archive)
    keeper.sweep()
    node.index(0).write_text("9\nCOMPLETED")
    node.index(7).write_text("9\nCOMPLETED")
    keeper.sweep()
    assert node.index(0).exists()
    node.settle()
    keeper.sweep()
    assert names(node.directory) == [node.index(7).name]


def test_only_one_sweeps(node: Node, archive: Path) -> None:
    """While another process has the archive, nothing is done."""
    fill(node)
    keeper = archivist(node.directory, archive)
    with keeper.archive.alone() as alone:
        assert alone
        assert archivist(node.directory, archive).sweep().busy
        assert archivist(node.directory, archive).prune([], 0.0).busy
    assert len(keeper.sweep().taken) == 2


def test_a_full_archive(node: Node, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be written the segment stays, nothing half is left, and the reason is told."""
    fill(node)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "link", full)
    swept = archivist(node.directory, archive).sweep()
    assert [taken.outcome for taken in swept.taken] == [Outcome.KEPT] * 2
    assert "No space left on device" in swept.problems[0]
    assert names(archive) == [".lock"]
    assert node.path(0).exists()


def test_an_archive_that_cannot_be_made(node: Node, archive: Path) -> None:
    """One sentence with the directory; nothing is touched."""
    fill(node)
    archive.parent.write_text("a file")
    with pytest.raises(ConfigurationError, match=f"^{archive}: expected a directory for finished segments, found: "):
        archivist(node.directory, archive).sweep()
    assert node.path(0).exists()


def test_a_copy_that_is_not_the_same(node: Node, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy is compared before the original goes."""
    node.segment(0, [user(1)])

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    def wrong(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:-9] + b"x" * 9)

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr("shutil.copyfile", wrong)
    swept = archivist(node.directory, archive).sweep()
    assert swept.problems == [
        f"segment {node.path(0).name}: expected a copy with the same bytes in the archive, found others"
    ]
    assert node.path(0).exists()
    assert names(archive) == [".lock"]


# --- moving out ------------------------------------------------------------------------------------------------------


def lane(position: Position, *read: str, destination: str = "warehouse") -> LaneView:
    """Where a lane stands."""
    return LaneView(Lane(destination, "node1"), position, frozenset(read))


def test_retention_counts_from_the_last_lane(node: Node, archive: Path) -> None:
    """A segment leaves when every lane has passed it, and retention is over since then; its note stays."""
    fill(node)
    keeper = archivist(node.directory, archive)
    keeper.sweep()
    first, second = node.path(0).name, node.path(1).name
    end = known(archive, first).last_position
    ahead = lane(Position(second, 2**20), first, second)
    behind = lane(Position(first, end - 1), first, destination="other")
    now = time.time()
    pruned = keeper.prune([ahead, behind], DAY, now)
    assert (pruned.removed, dict(pruned.held)) == ([], {"other/node1": 2})
    behind = lane(Position(first, end), first, destination="other")
    assert keeper.prune([ahead, behind], DAY, now + 10).removed == []
    assert known(archive, first).passed_at == now + 10
    assert keeper.prune([ahead, behind], DAY, now + DAY).removed == []
    assert keeper.prune([ahead, behind], DAY, now + DAY + 11).removed == [first]
    assert names(archive) == sorted([".lock", Path(first).stem + ".json", Path(second).stem + ".json", second])
    assert known(archive, first).removed_at == now + DAY + 11


@pytest.mark.parametrize("view", [lane(START), lane(Position(f"CommitLog-7-{FIRST + 5}.log", 9))])
def test_who_never_read_holds_back(node: Node, archive: Path, view: LaneView) -> None:
    """A lane that never loaded, and one that passed without reading a segment that came late, hold it."""
    fill(node)
    keeper = archivist(node.directory, archive)
    keeper.sweep()
    both = [node.path(0).name, node.path(1).name]
    pruned = keeper.prune([passed(*both), view], 0.0)
    assert (pruned.removed, pruned.held["warehouse/node1"]) == ([], 2)


def test_without_a_lane_nothing_leaves(node: Node, archive: Path) -> None:
    """No destination is no reason to remove."""
    fill(node)
    keeper = archivist(node.directory, archive)
    keeper.sweep()
    assert keeper.prune([], 0.0, time.time() + 365 * DAY).removed == []


def test_a_new_lane_stops_the_clock(node: Node, archive: Path) -> None:
    """A destination that is added later starts the retention anew for what is still there."""
    fill(node)
    keeper = archivist(node.directory, archive)
    keeper.sweep()
    both = [node.path(0).name, node.path(1).name]
    keeper.prune([passed(*both)], DAY)
    assert known(archive, both[0]).passed_at is not None
    keeper.prune([passed(*both), lane(START, destination="new")], DAY)
    assert known(archive, both[0]).passed_at is None


@pytest.mark.parametrize("step", PRUNE_STEPS)
def test_a_prune_that_is_killed(node: Node, archive: Path, step: str) -> None:
    """Killed between the note and the removal, or behind it, another ends it; the other segments go too."""
    fill(node)
    archivist(node.directory, archive).sweep()
    assert killed(node.directory, archive, "prune", step) == [-9]
    both = [node.path(0).name, node.path(1).name]
    archivist(node.directory, archive).prune([passed(*both)], 0.0)
    assert [name for name in names(archive) if name.endswith(".log")] == []
    assert [manifest.removed_at is not None for manifest in archivist(node.directory, archive).archive.manifests()] == [
        True,
        True,
    ]


def test_notes_are_bounded(node: Node, archive: Path) -> None:
    """The note of a removed segment goes after a month, once everything in `cdc_raw` is younger; the last one stays,
    and tells a lane that comes back from long ago of its gap."""
    fill(node)
    keeper = archivist(node.directory, archive)
    keeper.sweep()
    both = [node.path(0).name, node.path(1).name]
    now = time.time()
    keeper.prune([passed(*both)], 0.0, now)
    assert keeper.prune([], 0.0, now + 29 * DAY).forgotten == 0
    assert keeper.prune([], 0.0, now + 31 * DAY).forgotten == 1
    assert names(archive) == [".lock", node.path(1).with_suffix(".json").name]


def test_verify_finds_what_changed(node: Node, archive: Path) -> None:
    """A changed byte and a missing file are told; what is whole is not."""
    fill(node)
    keeper = archivist(node.directory, archive)
    keeper.sweep()
    first, second = (known(archive, node.path(number).name) for number in (0, 1))
    assert keeper.archive.verify(first) is None
    data = bytearray((archive / first.segment).read_bytes())
    data[-1] ^= 1
    (archive / first.segment).write_bytes(data)
    assert "expected SHA-256" in str(keeper.archive.verify(first))
    (archive / second.segment).unlink()
    assert "No such file" in str(keeper.archive.verify(second))


def test_a_segment_put_there_by_hand(node: Node, archive: Path) -> None:
    """It gets its manifest with the next sweep."""
    archive.mkdir(parents=True)
    Node(archive).segment(0, [user(1)])
    keeper = archivist(node.directory, archive)
    assert keeper.archive.undescribed() == [node.path(0).name]
    keeper.sweep()
    assert keeper.archive.undescribed() == []
    assert known(archive, node.path(0).name).contents.mutations == 1


def test_a_manifest_that_is_none(node: Node, archive: Path) -> None:
    """A manifest that cannot be read is named, and its segment stays where it is."""
    fill(node)
    archive.mkdir(parents=True)
    (archive / f"{node.path(0).stem}.json").write_text("{}")
    keeper = archivist(node.directory, archive)
    swept = keeper.sweep()
    assert [taken.outcome for taken in swept.taken] == [Outcome.KEPT, Outcome.ARCHIVED]
    assert f"expected a manifest of {node.path(0).name}" in swept.problems[0]
    with pytest.raises(CdcError, match="expected a manifest"):
        keeper.archive.manifests()


@pytest.mark.parametrize("name", NAMES)
def test_recordings(open_recording: Callable[[str], Recording], tmp_path: Path, name: str) -> None:
    """What real nodes wrote decodes from the archive as before; manifests count what Cassandra's reader gave."""
    recording = open_recording(name)
    node = Node(tmp_path / "cdc_raw")
    for path in recording.main.path.glob("CommitLog-*"):
        shutil.copyfile(path, node.directory / path.name)
    for index in node.directory.glob("*_cdc.idx"):
        index.write_text(index.read_text().split()[0] + "\nCOMPLETED")
    schema, wanted = recording.schema, recording.main.oracle_lines()
    source = ShardLog("node1", node.directory, tmp_path / "archive")
    keeper = Archivist(source, ShardArchive(tmp_path / "archive"), schema, recording.keys())
    assert keeper.sweep().problems == []
    counted: Counter[str] = Counter()
    lines: list[bytes] = []
    decoder = Decoder(schema, lambda table: table.keyspace not in SYSTEM_KEYSPACES, keys=recording.keys())
    for manifest in keeper.archive.manifests():
        counted.update(manifest.contents.tables)
        assert manifest.contents.damage == ()
        for batch in decoder.read(tmp_path / "archive" / manifest.segment):
            assert batch.end <= manifest.last_position
            lines += [line.encode() for line in dump_lines(batch.tables)]
    assert lines == wanted
    assert counted == Counter(f"{one['keyspace']}.{one['table']}" for one in map(json.loads, wanted))
