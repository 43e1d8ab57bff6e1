"""A PostgreSQL server for the tests that need one: Debian's binaries, a data directory that goes with the server."""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PORTS = range(15_000, 30_000)
"""Below those that Linux and macOS give away by themselves; the server says whether it could take one."""
ATTEMPTS = 10
UNPRIVILEGED = ("postgres", "nobody")
"""Whom the server runs as where the tests run as root, which it refuses to."""


@dataclass(frozen=True)
class Database:
    """An empty database of a running server."""

    binaries: Path
    port: int
    name: str

    @property
    def tap_settings(self) -> dict[str, str]:
        """Where tap-postgres finds it."""
        return {
            "TAP_POSTGRES_HOST": "127.0.0.1",
            "TAP_POSTGRES_PORT": str(self.port),
            "TAP_POSTGRES_DATABASE": self.name,
            "TAP_POSTGRES_USER": "owner",
            "TAP_POSTGRES_PASSWORD": "not-asked-for",
        }

    def execute(self, sql: str) -> str:
        """Run a script in one go, and return what it printed."""
        address = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "owner", "-d", self.name]
        command = [str(self.binaries / "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *address]
        return answer_of(command, sql)

    def another(self, name: str) -> Database:
        """Make one more database on the same server."""
        self.execute(f'CREATE DATABASE "{name}"')
        return Database(self.binaries, self.port, name)


@contextlib.contextmanager
def postgres() -> Iterator[Database]:
    """Serve until the block ends; skip the test where PostgreSQL's server is not installed."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's server is not installed (Debian: apt-get install -y postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="target-klar-postgres-"))
    owner = unprivileged()
    if owner:
        shutil.chown(folder, owner)
    process = None
    try:
        options = ["-U", "owner", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
        initialise([str(binaries / "initdb"), "-D", str(folder / "data"), *options], folder, owner)
        for port in random.sample(PORTS, ATTEMPTS):
            process = _start(binaries, folder, port, owner)
            if _ready(binaries, process, folder, port):
                break
        else:
            pytest.fail(f"PostgreSQL's server ended right after each of {ATTEMPTS} starts.")
        yield Database(binaries, port, "postgres")
    finally:
        end(process, folder)


def initialise(command: list[str], folder: Path, owner: str | None) -> None:
    """Make a server's data directory, as the user who may run the server."""
    done = subprocess.run(command, cwd=folder, user=owner, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{command[0]} failed: {done.stdout[-1000:]}{done.stderr[-1000:]}"


def answer_of(client: list[str], sql: str) -> str:
    """Return what a database's client prints for a script."""
    done = subprocess.run(client, input=sql, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def end(process: subprocess.Popen[bytes] | None, folder: Path) -> None:
    """End a server, if it was started, and remove what it kept."""
    if process is not None:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path | None:
    """Debian keeps each major version's server away from PATH; others have it there."""
    homes = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda home: float(home.parent.name))
    found = shutil.which("initdb")
    homes += [Path(found).resolve().parent] if found else []
    whole = [home for home in homes if all((home / name).exists() for name in ("initdb", "postgres", "psql"))]
    return whole[-1] if whole else None


def unprivileged() -> str | None:
    """Return whom a server runs as where the tests run as root, which servers refuse to; else None."""
    if os.getuid() != 0:
        return None
    known = {user.pw_name for user in pwd.getpwall()}
    return next(name for name in UNPRIVILEGED if name in known)


def _start(binaries: Path, folder: Path, port: int, owner: str | None) -> subprocess.Popen[bytes]:
    settings = ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", f"unix_socket_directories={folder}"]
    return subprocess.Popen(
        [binaries / "postgres", "-D", folder / "data", "-p", str(port), *settings],
        cwd=folder,
        user=owner,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _ready(binaries: Path, process: subprocess.Popen[bytes], folder: Path, port: int) -> bool:
    """Wait for the server, asked through its own folder: behind the port may be another one, and then it ends."""
    deadline = time.monotonic() + 60
    command = [str(binaries / "pg_isready"), "-q", "-h", str(folder), "-p", str(port)]
    while subprocess.run(command, check=False).returncode != 0:
        if process.poll() is not None:
            return False
        assert time.monotonic() < deadline, "PostgreSQL's server did not answer within a minute."
        time.sleep(0.1)
    return True
