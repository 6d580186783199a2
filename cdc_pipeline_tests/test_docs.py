"""What the documents show is what happens."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from importlib import resources
from pathlib import Path

import pytest

from cdc_pipeline.cli import main

DOCS = Path(__file__).parents[1] / "docs"
WIDTH = 150


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the recording that `make demo` leaves in `.demo`."""
    recording = resources.files("cdc_pipeline.cli") / "demo_data" / "shop-5.0.tar.xz"
    with resources.as_file(recording) as packed, tarfile.open(packed) as archive:
        archive.extractall(tmp_path / ".demo", filter="data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(source: str, folder: Path) -> list[str]:
    """The lines that a program prints, cut as in the documents."""
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=folder, capture_output=True, text=True, timeout=120, check=True
    )
    return [line if len(line) <= WIDTH else line[: WIDTH - 1] + "…" for line in done.stdout.splitlines()]


def test_looking_into_a_segment(demo: Path) -> None:
    """The programs of decode.md run, and the first prints what stands below it."""
    text = (DOCS / "decode.md").read_text(encoding="utf-8")
    first, second = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    (shown,) = re.findall(r"```\n(event_type\n.*?)```", text, flags=re.DOTALL)
    command = re.search(r"^cdc-pipeline (decode .*) --tables 'ecommerce.orders' --output", text, flags=re.MULTILINE)
    assert command is not None
    arguments = [*command[1].split(), "--tables", "ecommerce.orders", "--output", "orders.parquet"]
    assert main(arguments) == 0
    assert run(first, demo) == shown.splitlines()
    assert run(second, demo)[-1].startswith("2  ")


NAMED = re.findall(
    r"`([\w/]+\.py)::(\w+)(?:\[([^\]]+)\])?`", (DOCS / "convergence.md").read_text(encoding="utf-8").replace("\n", " ")
)


@pytest.mark.parametrize(("file", "name", "case"), NAMED, ids=[f"{n} {c}".strip() for _, n, c in NAMED])
def test_convergence_names_tests_that_are_there(file: str, name: str, case: str) -> None:
    """Each line of convergence.md that says which test shows it names one that exists."""
    source = (Path(__file__).parent / file).read_text(encoding="utf-8")
    assert re.search(rf"^ *def {name}\(", source, flags=re.MULTILINE)
    assert not case or f'"{case}"' in source


def test_convergence_names_many_tests() -> None:
    """The names are found where they stand."""
    assert len(NAMED) > 40
