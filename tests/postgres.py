"""A PostgreSQL server of a test's own: Debian's binaries, any free port, a data directory that goes with the test."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

UNPRIVILEGED = ("postgres", "nobody")
"""Whom the server runs as where the tests run as root, which it refuses to."""


@dataclass(frozen=True)
class Server:
    """A running server with one empty database."""

    binaries: Path
    port: int

    @property
    def tap_settings(self) -> dict[str, str]:
        """Where tap-postgres finds it."""
        return {
            "TAP_POSTGRES_HOST": "127.0.0.1",
            "TAP_POSTGRES_PORT": str(self.port),
            "TAP_POSTGRES_DATABASE": "postgres",
            "TAP_POSTGRES_USER": "owner",
            "TAP_POSTGRES_PASSWORD": "not-asked-for",
        }

    def execute(self, sql: str) -> str:
        """Runs a script in one go, and returns what it printed."""
        address = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "owner", "-d", "postgres"]
        command = [self.binaries / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *address]
        done = subprocess.run(command, input=sql, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextlib.contextmanager
def postgres() -> Iterator[Server]:
    """Serves until the block ends; skips the test where PostgreSQL's server is not installed."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's server is not installed (Debian: apt-get install -y postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="target-klar-postgres-"))
    owner = _owner()
    if owner:
        shutil.chown(folder, owner)
    data, port = folder / "data", _free_port()
    process = None
    try:
        subprocess.run(
            [binaries / "initdb", "-D", data, "-U", "owner", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"],
            cwd=folder,
            user=owner,
            capture_output=True,
            timeout=120,
            check=True,
        )
        settings = ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", f"unix_socket_directories={folder}"]
        process = subprocess.Popen(
            [binaries / "postgres", "-D", data, "-p", str(port), *settings],
            cwd=folder,
            user=owner,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _wait(binaries, process, port)
        yield Server(binaries, port)
    finally:
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


def _owner() -> str | None:
    if os.getuid() != 0:
        return None
    known = {user.pw_name for user in pwd.getpwall()}
    return next(name for name in UNPRIVILEGED if name in known)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _wait(binaries: Path, process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 60
    command = [binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(command, check=False).returncode != 0:
        assert process.poll() is None, "PostgreSQL's server ended right after its start."
        assert time.monotonic() < deadline, "PostgreSQL's server did not answer within a minute."
        time.sleep(0.1)
