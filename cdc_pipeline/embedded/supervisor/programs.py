"""PostgreSQL's programs run as the server's user, and `initdb` once."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from .folder import Folder, Job, StartFailed, tail, write_private
from .privileges import become, die_with


def spawn(job: Job, program: str, arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    """A program of PostgreSQL as the server's user, in a bare environment, its output in `log`."""
    supervisor = os.getpid()

    def prepare() -> None:
        if job.identity:
            become(*job.identity, reach=job.reach)
        die_with(supervisor)  # after the change of user, which clears it

    command = [str(Path(job.binaries) / program), *arguments]
    environment = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
    with log.open("wb") as out:
        try:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd="/", env=environment, preexec_fn=prepare
            )
        except (OSError, subprocess.SubprocessError) as error:
            wanted = ": expected CAP_DAC_OVERRIDE, or a folder that an ordinary user can reach" if job.reach else ""
            raise StartFailed(f"{program} cannot be run as its user{wanted}: {error}") from None


def _own(job: Job, path: Path) -> None:
    if job.identity:
        os.chown(path, *job.identity)


def create(job: Job, folder: Folder) -> None:
    """`initdb`, once: in a folder beside, renamed when whole, so that a killed one leaves nothing half-made."""
    shutil.rmtree(folder.unfinished, ignore_errors=True)
    password = folder.keep_password()
    folder.unfinished.mkdir(mode=0o700)
    _own(job, folder.unfinished)
    handed_over = folder.root / "password.new"
    write_private(handed_over, password)
    _own(job, handed_over)
    arguments = ["-D", str(folder.unfinished), "-U", "postgres", "-E", "UTF8", "--locale=C", "-A", "scram-sha-256"]
    arguments += ["--pwfile", str(handed_over), "--no-instructions", *(["--no-sync"] if job.fast else [])]
    process = spawn(job, "initdb", arguments, folder.log)
    try:
        if process.wait(job.timeout):
            raise StartFailed(f"initdb failed: {tail(folder.log)}")
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise StartFailed(f"initdb: expected its end within {job.timeout:g} s") from None
    finally:
        handed_over.unlink()
    folder.unfinished.rename(folder.data)
