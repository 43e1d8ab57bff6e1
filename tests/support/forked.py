"""Runs of the whole program, each a process of its own, that do not import everything anew.

Importing the SDK takes a good part of a second, a run a few hundredths of one. Here one process imports it once and
forks for every run; the rest is as in `program`, which starts afresh and so also covers how the program starts. A run
that `start` starts ends as a Python of its own does. One that `run` runs, or that need not clean up, leaves out the
last part of that, in which all modules are taken apart again, since that takes longer than all the rest.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import forking
from program import LONGEST_RUN, Ended, content, variables

if TYPE_CHECKING:
    from collections.abc import Iterable
    from io import BufferedReader, BufferedWriter
    from typing import Self

    from program import Klar


class Forked:
    """A run, of target-klar unless another helper `forks`: what `subprocess.Popen` would be, as far as a test asks."""

    def __init__(
        self,
        options: tuple[str, ...],
        environment: dict[str, str],
        stdout: int,
        stderr: int,
        folder: Path | None = None,
        *,
        cleans_up: bool = True,
        forks: socket.socket | None = None,
    ) -> None:
        """Fork it, in another folder if one is given; `stdout` and `stderr` are copied, and stay the caller's."""
        self.stdout: BufferedReader | None = None
        self.stderr: BufferedReader | None = None
        self.returncode: int | None = None
        self._ended = threading.Event()
        self._run, theirs = socket.socketpair()
        reading, writing = os.pipe()
        self.stdin = os.fdopen(writing, "wb")
        with theirs, os.fdopen(reading, "rb"):
            socket.send_fds(forks or helper(), [b"!"], [reading, stdout, stderr, theirs.fileno()])
        told = [options, environment, str(folder or Path.cwd()), cleans_up]
        self._run.sendall(json.dumps(told).encode() + b"\n")
        self._told = self._run.makefile()
        self.pid = int(self._told.readline())
        threading.Thread(target=self._wait, daemon=True).start()

    def poll(self) -> int | None:
        """Return its exit code, or None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended and return its exit code.

        Raises:
            subprocess.TimeoutExpired: It still runs after so many seconds.
        """
        if not self._ended.wait(timeout) or self.returncode is None:
            raise subprocess.TimeoutExpired("a forked run", timeout or 0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal; to a process that has ended, none."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """End it as `kill` does."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, data: bytes = b"", timeout: float = LONGEST_RUN) -> tuple[bytes, bytes]:
        """Feed it the last of its input, and return what comes out of the pipes of `start` until it ends.

        Raises:
            subprocess.TimeoutExpired: It still ran after so many seconds, and is killed.
        """
        assert self.stdout is not None
        assert self.stderr is not None
        late = threading.Timer(timeout, self.kill)
        late.start()
        with self, ThreadPoolExecutor(2) as readers:
            tap = readers.submit(_feed, self.stdin, data)
            err = readers.submit(self.stderr.read)
            out = self.stdout.read()
            tap.result()
            self.wait()
            in_time = late.is_alive()
            late.cancel()
            late.join()
            if not in_time:
                raise subprocess.TimeoutExpired("a forked run", timeout)
            return out, err.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (self.stdin, self.stdout, self.stderr):
            with suppress(BrokenPipeError):  # what it was fed and never read
                if pipe is not None:
                    pipe.close()
        self.wait(LONGEST_RUN)

    def _wait(self) -> None:
        with self._run, self._told:
            self.returncode = int(self._told.readline())
            self._ended.set()


def start(config: dict[str, Any], *options: str, env: dict[str, str] | None = None, cleans_up: bool = True) -> Forked:
    """Start target-klar with a configuration, its three streams as pipes."""
    (out, stdout), (err, stderr) = os.pipe(), os.pipe()
    with os.fdopen(stdout, "wb"), os.fdopen(stderr, "wb"):
        environment = variables(config) | (env or {})
        process = Forked(("--config=ENV", *options), environment, stdout, stderr, cleans_up=cleans_up)
    process.stdout, process.stderr = os.fdopen(out, "rb"), os.fdopen(err, "rb")
    return process


def run(
    klar: Klar | None, lines: Iterable[Any] | Path, *options: str, env: dict[str, str] | None = None, **settings: Any
) -> Ended:
    """Run target-klar on Singer lines (messages, text or bytes), or on a file, until it ends."""
    config = ({"api_token": klar.token, "api_url": klar.url} if klar else {}) | settings
    return finished(("--config=ENV", *options), variables(config) | (env or {}), content(lines))


def finished(
    options: tuple[str, ...],
    environment: dict[str, str],
    data: bytes = b"",
    folder: Path | None = None,
    stdout: Path | None = None,
) -> Ended:
    """Run target-klar with these options and this environment on what is fed to it, until it ends.

    Where its stdout is the device that is given, nothing of what comes out is returned, and it ends as a Python does,
    which may have something left to write.
    """
    with (
        tempfile.TemporaryFile() if stdout is None else stdout.open("r+b", buffering=0) as out,
        tempfile.TemporaryFile() as err,
    ):
        process = Forked(options, environment, out.fileno(), err.fileno(), folder, cleans_up=stdout is not None)
        tap = threading.Thread(target=_feed, args=(process.stdin, data))
        tap.start()
        try:
            code = process.wait(LONGEST_RUN)
        finally:
            process.kill()
            tap.join()
        written = [b"", b""]
        for number, file in enumerate((out, err)):
            if file is err or stdout is None:
                file.seek(0)
                written[number] = file.read()
        return Ended(code, *(each.decode() for each in written))


def _feed(stdin: BufferedWriter, data: bytes) -> None:
    with suppress(BrokenPipeError), stdin:  # the run has ended early, as some are meant to
        stdin.write(data)


@functools.cache
def helper() -> socket.socket:
    """The way to the process that forks target-klar, one in each process of the tests, from when it is needed first."""
    return start_helper("target-klar", sys.executable, variables({}))


def start_helper(program: str, python: str | Path, environment: dict[str, str]) -> socket.socket:
    """Start a process that forks a program, until this one ends; return the way to it."""
    ours, theirs = socket.socketpair()
    with theirs:
        command = [python, "-P", forking.__file__, str(theirs.fileno()), program]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL)

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours
