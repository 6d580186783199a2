"""`make fuzz`: each fuzzer for some minutes, one after the other; what is found is kept and said.

python -m cdc_pipeline_tests.fuzz --minutes 10 [structure | coverage | sanitize | flips ...]
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

_TESTS = Path(__file__).parent
_EXAMPLES = 400
_PLACES = 50
_GRACE_SECONDS = 900


def structure(minutes: float, _: Path) -> bool:
    """Broken fields under right CRCs, by Hypothesis: the tests of `test_twins.py`, again and again."""
    return _again(
        minutes,
        "test_twins.py",
        lambda seed: ["--hypothesis-profile=exploring", f"--hypothesis-seed={seed}"],
        CDC_FUZZ_EXAMPLES=_EXAMPLES,
    )


def flips(minutes: float, _: Path) -> bool:
    """Dropped bits of recordings at other places each time."""
    return _again(minutes, "test_flips.py", lambda _: [], CDC_FUZZ_PLACES=_PLACES)


def coverage(minutes: float, folder: Path) -> bool:
    """What the interpreted kernel's branches lead to, by atheris where it is installed."""
    if importlib.util.find_spec("atheris") is None:
        print("coverage: atheris has no wheel for this Python, so it is not run", flush=True)
        return True
    command = [sys.executable, "-m", "cdc_pipeline_tests.fuzz.coverage", str(folder), str(round(minutes * 60))]
    log = folder / "coverage.log"
    with log.open("wb") as out:
        done = subprocess.run(command, stdout=out, stderr=out, timeout=minutes * 60 + _GRACE_SECONDS, check=False)
    said = log.read_text(errors="replace").splitlines()
    print("\n".join(line for line in said if line.startswith(("Done ", "stat::"))) or "\n".join(said[-60:]), flush=True)
    return done.returncode == 0


def sanitize(minutes: float, folder: Path) -> bool:
    """The compiled kernel under AddressSanitizer, where gcc has it, on changed inputs of Cassandra and `coverage`."""
    command = [sys.executable, "-m", "cdc_pipeline_tests.fuzz.sanitize", str(folder), str(minutes * 60)]
    return subprocess.run(command, timeout=minutes * 60 + _GRACE_SECONDS, check=False).returncode == 0


def _again(minutes: float, tests: str, options: Callable[[int], list[str]], **variables: int) -> bool:
    deadline = time.monotonic() + minutes * 60
    rounds = 0
    while time.monotonic() < deadline:
        seed = random.SystemRandom().randrange(2**31)
        env = os.environ | {name: str(value) for name, value in variables.items()} | {"CDC_FUZZ_SEED": str(seed)}
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(_TESTS / tests)]
        limit = minutes * 60 + _GRACE_SECONDS
        done = subprocess.run(
            [*command, *options(seed)], env=env, capture_output=True, text=True, timeout=limit, check=False
        )
        if done.returncode:
            print(f"{tests}, CDC_FUZZ_SEED={seed} {' '.join(options(seed))}\n{done.stdout[-6000:]}", flush=True)
            return False
        rounds += 1
    print(f"{tests}: {rounds} rounds without a finding", flush=True)
    return True


FUZZERS: dict[str, Callable[[float, Path], bool]] = {
    "structure": structure,
    "coverage": coverage,
    "sanitize": sanitize,
    "flips": flips,
}


def main() -> int:
    """Runs the fuzzers that are named, or all; 1 when one found something."""
    parser = argparse.ArgumentParser(prog="fuzz")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--keep", type=Path, help="folder of the corpus and of what is found")
    parser.add_argument("fuzzers", nargs="*", help=f"of {', '.join(FUZZERS)}; all by default")
    given = parser.parse_args()
    folder = given.keep or Path(tempfile.mkdtemp(prefix="cdc-fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)
    good = True
    for name in given.fuzzers or FUZZERS:
        print(f"{name}: {FUZZERS[name].__doc__}", flush=True)
        good &= FUZZERS[name](given.minutes, folder)
    if good and given.keep is None:
        shutil.rmtree(folder)
    print("nothing found" if good else f"found something: it stands above, its bytes are in {folder}", flush=True)
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
