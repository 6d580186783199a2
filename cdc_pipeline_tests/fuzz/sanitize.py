"""The compiled kernel under AddressSanitizer and UBSan: an access beyond a buffer ends the process.

    python -m cdc_pipeline_tests.fuzz.sanitize FOLDER SECONDS

builds the kernel again with gcc, then changes bytes of mutations that Cassandra wrote, and of what `coverage.py` left
in FOLDER, and decodes them on that build and on the interpreted kernel.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import random
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from types import ModuleType

from cdc_pipeline.decode import section_cy
from cdc_pipeline_tests.fuzz.coverage import Target

_NAME = "cdc_pipeline.decode.section_cy"
_BUILT = "CDC_FUZZ_SANITIZED"
_SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize=alignment")
_OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:max_allocation_size_mb=512",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "PYTHONMALLOC": "malloc",
}
_WILD = (b"\xff" * 9, b"\x80", b"\xf0", bytes(4), b"\x7f\xff\xff\xff")


def runtime() -> Path | None:
    """gcc's library of AddressSanitizer; None where there is none."""
    gcc = shutil.which("gcc")
    if gcc is None:
        return None
    said = subprocess.run([gcc, "-print-file-name=libasan.so"], capture_output=True, text=True, timeout=60, check=True)
    path = Path(said.stdout.strip())
    return path if path.is_absolute() and path.exists() else None


def build(folder: Path) -> Path:
    """The kernel with the sanitizers, compiled into a folder."""
    source = Path(section_cy.__file__).with_name("section_cy.py")
    written, built = folder / "section_cy.c", folder / f"section_cy{sysconfig.get_config_var('EXT_SUFFIX')}"
    cython = [sys.executable, "-m", "cython", "-3", str(source), "-o", str(written)]
    subprocess.run(cython, check=True, capture_output=True, timeout=300)
    include = [f"-I{sysconfig.get_path('include')}", f"-I{source.parent}"]
    options = ["-shared", "-fPIC", "-O1", "-g", "-fwrapv", *_SANITIZERS, *include]
    subprocess.run(["gcc", *options, str(written), "-o", str(built)], check=True, capture_output=True, timeout=600)
    return built


def sanitized_kernel(path: Path) -> ModuleType:
    """A build of the kernel as a module of its own."""
    loader = importlib.machinery.ExtensionFileLoader(_NAME, str(path))
    spec = importlib.util.spec_from_file_location(_NAME, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    assert module.COMPILED
    return module


def changed(rng: random.Random, data: bytes) -> bytes:
    """An input with some bytes changed, put in, cut out or cut off."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(out) + 1)
        match rng.choice(["set", "set", "put", "cut", "end"]):
            case "set" if at < len(out):
                out[at] = rng.choice([rng.randrange(256), 0, 0x7F, 0x80, 0xFF])
            case "put":
                out[at:at] = rng.choice([*_WILD, rng.randbytes(3)])
            case "cut":
                del out[at : at + rng.randint(1, 9)]
            case "end":
                del out[at + 1 :]
    return bytes(out)


def _fuzz(folder: Path, seconds: float, built: Path) -> int:
    """How many inputs were decoded in so many seconds."""
    with tempfile.TemporaryDirectory(prefix="cdc-tests-fuzz-") as scratch:
        target = Target(Path(scratch), sanitized_kernel(built))
        inputs = list(target.seeds())
        inputs += [path.read_bytes() for path in sorted(folder.glob("corpus/*"))]
        rng = random.Random()
        deadline = time.monotonic() + seconds
        last = folder / "found-sanitize"
        count = 0
        while time.monotonic() < deadline:
            data = inputs[count] if count < len(inputs) else changed(rng, rng.choice(inputs))
            last.write_bytes(data)
            target(data)
            count += 1
        last.unlink()
    return count


def main() -> int:
    """Builds the kernel, and runs this module again with the sanitizers' library in front."""
    folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
    if _BUILT in os.environ:
        print(f"sanitize: {_fuzz(folder, seconds, Path(os.environ[_BUILT]))} inputs without a finding", flush=True)
        return 0
    library = runtime()
    if library is None:
        print("sanitize: gcc has no AddressSanitizer here, so it is not run", flush=True)
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cdc-tests-fuzz-") as made:
        env = {**os.environ, **_OPTIONS, "LD_PRELOAD": str(library), _BUILT: str(build(Path(made)))}
        return subprocess.run([sys.executable, "-m", __spec__.name, *sys.argv[1:]], env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
