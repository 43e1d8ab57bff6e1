"""A MariaDB server for the tests that need one: Debian's binaries, a data directory that goes with the server."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from postgres import ATTEMPTS, PORTS, answer_of, end, initialise, unprivileged

if TYPE_CHECKING:
    from collections.abc import Iterator

_NEEDED = ("mariadbd", "mariadb", "mariadb-install-db", "mariadb-admin")
_PASSWORD = "not-a-secret"  # of a server that lives as long as a test


@dataclass(frozen=True)
class Server:
    """A running server, and where it keeps its socket."""

    folder: Path
    port: int

    @property
    def tap_settings(self) -> dict[str, str]:
        """Where tap-mysql finds it."""
        return {
            "TAP_MYSQL_HOST": "127.0.0.1",
            "TAP_MYSQL_PORT": str(self.port),
            "TAP_MYSQL_USER": "owner",
            "TAP_MYSQL_PASSWORD": _PASSWORD,
        }

    def execute(self, sql: str) -> str:
        """Run a script in one go, and return what it printed."""
        command = ["mariadb", "--no-defaults", f"--socket={self.folder}/socket", "-u", "root", "--batch", "-N"]
        return answer_of(command, sql)


@contextlib.contextmanager
def mariadb() -> Iterator[Server]:
    """Serve until the block ends; skip the test where MariaDB's server is not installed."""
    if not all(_found(name) for name in _NEEDED):
        pytest.skip("MariaDB's server is not installed (Debian: apt-get install -y mariadb-server)")
    folder = Path(tempfile.mkdtemp(prefix="target-klar-mariadb-"))
    owner = unprivileged()
    if owner:
        shutil.chown(folder, owner)
    process = None
    try:
        options = [f"--datadir={folder}/data", "--skip-test-db", "--auth-root-authentication-method=normal"]
        initialise([str(_found("mariadb-install-db")), "--no-defaults", *options, *_apart(folder)], folder, owner)
        for port in random.sample(PORTS, ATTEMPTS):
            process = _start(folder, port, owner)
            if _ready(process, folder):
                break
        else:
            pytest.fail(f"MariaDB's server ended right after each of {ATTEMPTS} starts.")
        server = Server(folder, port)
        server.execute(f"CREATE USER owner@'%' IDENTIFIED BY '{_PASSWORD}'; GRANT ALL ON *.* TO owner@'%';")
        yield server
    finally:
        end(process, folder)


def _apart(folder: Path) -> tuple[str, ...]:
    # Kernel requests of its own are scarce where several servers start at a time, as beside each other in tests. And
    # each removes at its start the temporary tables that it finds in its folder for them: in /tmp those of the others.
    # It lives no longer than the tests, so that it need not wait for the disk.
    return "--innodb-use-native-aio=0", f"--tmpdir={folder}", "--debug-no-sync"


def _found(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin")


def _start(folder: Path, port: int, owner: str | None) -> subprocess.Popen[bytes]:
    settings = [f"--datadir={folder}/data", f"--socket={folder}/socket", f"--pid-file={folder}/pid", f"--port={port}"]
    return subprocess.Popen(
        [
            str(_found("mariadbd")),
            "--no-defaults",
            *settings,
            *_apart(folder),
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
        ],
        cwd=folder,
        user=owner,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _ready(process: subprocess.Popen[bytes], folder: Path) -> bool:
    """Wait for the server, asked through its own socket: behind the port may be another one, and then it ends."""
    deadline = time.monotonic() + 60
    command = ["mariadb-admin", "--no-defaults", f"--socket={folder}/socket", "-u", "root", "ping"]
    while subprocess.run(command, capture_output=True, check=False).returncode != 0:
        if process.poll() is not None:
            return False
        assert time.monotonic() < deadline, "MariaDB's server did not answer within a minute."
        time.sleep(0.1)
    return True
