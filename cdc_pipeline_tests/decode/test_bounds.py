"""No read outside of the section, no more memory than the bytes ask for."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from cdc_pipeline.decode import Section, SegmentFile
from cdc_pipeline.decode.section_cy import SLACK, Kernel
from cdc_pipeline_tests.decode import encoder as en
from cdc_pipeline_tests.decode.tables import KEY, MICROS, T, insert
from cdc_pipeline_tests.recordings import Recording

MIB = 2**20


def child(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`guarded.py`."""
    command = [sys.executable, "-m", "cdc_pipeline_tests.decode.guarded", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def entries_of(section: bytes) -> list[bytes]:
    """The mutations of a section."""
    found, at = [], 0
    while at + 4 <= len(section) and (size := int.from_bytes(section[at : at + 4], "big")):
        found.append(section[at + 8 : at + 8 + size])
        at += size + 12
    return found


def test_the_guard_kills() -> None:
    """One byte too far is the end of the process, so that what passes below read none."""
    done = child()
    assert (done.stdout, done.returncode) == ("b'x\\x00'\n", -signal.SIGSEGV)


@pytest.mark.parametrize("name", ["types-5.0-v8", "tombstones-5.0", "random-5.0-s1"])
def test_no_read_behind_the_section(name: str, tmp_path: Path, open_recording: Callable[[str], Recording]) -> None:
    """Real mutations cut anywhere, with bytes changed, with lengths that promise more, right CRCs: against a page that
    may not be touched, with every alignment, the compiled kernel reads none of it."""
    recording = open_recording(name)
    draw = random.Random(7)
    mutations = []
    for path in recording.main.segments():
        with SegmentFile(path) as file:
            for section in file.sections():
                if isinstance(section, Section):
                    mutations += entries_of(section.data[: section.length])
    mutations = [one for one in mutations if len(one) < MIB]
    sections = []
    for mutation in draw.choices(mutations, k=3000):
        changed = bytearray(mutation[: draw.choice([len(mutation), draw.randint(10, len(mutation))])])
        for _ in range(draw.randint(0, 3)):
            changed[draw.randrange(len(changed))] = draw.choice([0, 1, 127, 128, 255, draw.randrange(256)])
        whole = en.entry(bytes(changed))
        sections.append(whole[: draw.choice([len(whole), draw.randint(0, len(whole))])])
    data = tmp_path / "sections"
    data.write_bytes(b"".join(len(one).to_bytes(4, "big") + one for one in sections))
    done = child(str(recording.path / "schema.json"), str(data))
    assert done.returncode == 0, done.stderr[-2000:]
    read, failures = map(int, done.stdout.split())
    assert read == len(sections)
    assert failures > 100


@pytest.mark.parametrize("short", [0, 1, SLACK - 1])
def test_the_slack_is_demanded(short: int) -> None:
    """Without readable bytes behind the section nothing is read."""
    entry = en.entry(insert())
    with pytest.raises(ValueError, match=f"expected {len(entry)} \\+ {SLACK} bytes"):
        Kernel({}).read(entry + bytes(short), len(entry), 0, 0, 0, False, 10, 10)
    with pytest.raises(ValueError, match="expected"):
        Kernel({}).walk(entry + bytes(short), len(entry), True)


def test_crc_of_every_length() -> None:
    """The kernel's CRC is zlib's, for every length of a run and every alignment; a changed bit is seen."""
    draw = random.Random(11)
    kernel = Kernel({})
    for size in [*range(10, 300), 1000, 4096, 70_001]:
        entry = en.entry(draw.randbytes(size))
        section = b"".join([en.entry(bytes(10 + size % 16)), entry])
        assert kernel.walk(section + bytes(SLACK), len(section), True) == 2
        at = len(section) - len(entry) + 8 + draw.randrange(size)
        changed = section[:at] + bytes([section[at] ^ 1 << draw.randrange(8)]) + section[at + 1 :]
        assert kernel.walk(changed + bytes(SLACK), len(section), True) == 1
        assert kernel.walk(changed + bytes(SLACK), len(section), False) == 2
    assert zlib.crc32(b"123456789") == 0xCBF43926


_PEAK = """
import sys
from pathlib import Path
def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
base = peak()
from cdc_pipeline.decode import Decoder
from cdc_pipeline.schema import Schema
from cdc_pipeline_tests.decode.tables import T
changes = 0
for batch in Decoder(Schema([T]), lambda table: True).read(Path(sys.argv[1])):
    changes += sum(table.rows.num_rows for table in batch.tables)
print(changes, peak() - base)
"""


@pytest.mark.parametrize("value", [16 * MIB - 200, 100])
def test_memory_is_bounded_by_the_batch(value: int, tmp_path: Path) -> None:
    """A segment of 32 MiB with a mutation of 16 MiB, of one large value or of many rows, takes under 150 MiB more than
    Python alone; Arrow, which is in it, takes 45."""
    row = en.row(en.clustering([b"abcdefgh"]), [en.cell(b"v" * value, at=MICROS)])
    rows = max(1, (16 * MIB - 200) // len(row))
    mutation = en.mutation(en.update(T.id.bytes, KEY, [row] * rows, columns=["v"]))
    path = en.write(tmp_path, en.segment([en.entry(mutation)]))
    with path.open("r+b") as file:
        file.truncate(32 * MIB)
    done = subprocess.run(
        [sys.executable, "-c", _PEAK, str(path)], capture_output=True, text=True, timeout=120, check=True
    )
    changes, peak = done.stdout.split()
    assert int(changes) == rows
    assert float(peak) < 150
