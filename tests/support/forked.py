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
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from program import LONGEST_RUN, Ended, content, variables

if TYPE_CHECKING:
    from collections.abc import Iterable
    from io import BufferedReader, BufferedWriter

    from program import Klar


class Forked:
    """A run of target-klar: what `subprocess.Popen` would be of it, as far as a test asks."""

    def __init__(
        self,
        options: tuple[str, ...],
        environment: dict[str, str],
        stdout: int,
        stderr: int,
        folder: Path | None = None,
        *,
        cleans_up: bool = True,
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
            socket.send_fds(helper(), [b"!"], [reading, stdout, stderr, theirs.fileno()])
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
            raise subprocess.TimeoutExpired("target-klar", timeout or 0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal; to a process that has ended, none."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self.send_signal(signal.SIGKILL)

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
    options: tuple[str, ...], environment: dict[str, str], data: bytes = b"", folder: Path | None = None
) -> Ended:
    """Run target-klar with these options and this environment on what is fed to it, until it ends."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = Forked(options, environment, out.fileno(), err.fileno(), folder, cleans_up=False)
        tap = threading.Thread(target=_feed, args=(process.stdin, data))
        tap.start()
        try:
            code = process.wait(LONGEST_RUN)
        finally:
            process.kill()
            tap.join()
        out.seek(0)
        err.seek(0)
        return Ended(code, out.read().decode(), err.read().decode())


def _feed(stdin: BufferedWriter, data: bytes) -> None:
    with suppress(BrokenPipeError), stdin:  # the run has ended early, as some are meant to
        stdin.write(data)


@functools.cache
def helper() -> socket.socket:
    """The way to the process that forks, one in each process of the tests, and started when it is needed first."""
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, __file__, str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=variables({}), stdin=subprocess.DEVNULL)

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def _serve(asked: socket.socket) -> None:
    """Fork for every run that is asked for, until nobody can ask any more."""
    # This takes so long; the last two, and a part of the SDK on Python 3.11, a run imports only when it needs them.
    with suppress(ModuleNotFoundError):
        import importlib_metadata._adapters  # noqa: F401, PLC0415

    import target_klar.cli  # noqa: PLC0415
    import target_klar.preview.report  # noqa: PLC0415
    import target_klar.records.explain  # noqa: F401, PLC0415

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait for the runs
    while True:
        told, descriptors, _, _ = socket.recv_fds(asked, 1, 4)
        if not told:
            return
        if not os.fork():
            asked.close()
            _keep(descriptors)
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)


def _keep(descriptors: list[int]) -> None:
    """Fork one run and tell of it over the last of the descriptors: its process id, and at its end its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *streams, told = descriptors
    run = socket.socket(fileno=told)
    with run.makefile() as asked:
        options, environment, folder, cleans_up = json.loads(asked.readline())
    # Before the fork, so that whoever is told of the run finds its streams in their places.
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    child = os.fork()
    if not child:
        run.close()
        _become(options, environment, folder, cleans_up=cleans_up)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    run.sendall(b"%d\n" % child)
    run.sendall(b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _become(options: list[str], environment: dict[str, str], folder: str, *, cleans_up: bool) -> None:
    """Be target-klar, started in a folder with this environment, until its end."""
    from target_klar.__main__ import main  # noqa: PLC0415 - not for the tests' own process

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:] = options
    try:
        main()
    except SystemExit as end:
        if cleans_up or not isinstance(end.code, int):
            raise
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(end.code)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
