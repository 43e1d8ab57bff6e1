"""target-klar as a process whose every STATE is held, as it appears, against what Klar has booked, shown or not."""

from __future__ import annotations

import json
import os
import signal
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import forked
import messages
import program

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterable
    from typing import Self

    from forked import Forked
    from program import Klar

LISTENS_WITHIN = 10.0
"""Seconds after which a process that does not listen to signals yet counts as hanging."""


def numbered(
    first: int, last: int, *, every: int = 3, make: Callable[[str], dict[str, Any]] = messages.refund_record
) -> list[dict[str, Any]]:
    """Records R-1, R-2, ..., and after `every` so many a STATE with the number of the last one."""
    lines = []
    for number in range(first, last + 1):
        lines.append(make(f"R-{number}"))
        if number % every == 0 or number == last:
            lines.append(messages.state(number))
    return lines


class Watched:
    """A run of target-klar: fed, read and told apart by threads, so that none of its pipes is ever full.

    `start` is `program.start` where a test is about how a run begins.
    `missing` is given each STATE as it appears, and returns what Klar does not hold of that which it covers.
    """

    def __init__(
        self,
        klar: Klar,
        *options: str,
        missing: Callable[[Any], object] = lambda _: None,
        reads_stdout: bool = True,
        reads_stderr: bool = True,
        env: dict[str, str] | None = None,
        start: Callable[..., Forked | subprocess.Popen[bytes]] = forked.start,
        **settings: Any,
    ) -> None:
        self.states: list[Any] = []
        self.ahead: list[Any] = []
        """Each STATE that came too early, and what Klar did not hold of it."""
        self.signalled: list[float] = []
        """When a signal was sent, on the monotonic clock."""
        self.err = ""
        self.started = time.monotonic()
        self.process = start({"api_token": klar.token, "api_url": klar.url} | settings, *options, env=env)
        self._missing = missing
        self._threads: list[threading.Thread] = []
        if reads_stderr:
            self.read_stderr()
        if reads_stdout:
            self.read_stdout()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join(10)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            with suppress(BrokenPipeError):  # what it was fed and never read
                pipe.close()

    def feed(self, lines: Iterable[Any], *, ends: bool = True) -> Self:
        """Write lines to its stdin; where the tap does not end, it falls silent after them."""

        def write() -> None:
            assert self.process.stdin is not None
            with suppress(BrokenPipeError):  # it ended before it read everything
                for line in lines:
                    self.process.stdin.write(messages.line(line))
                self.process.stdin.flush()
                if ends:
                    self.process.stdin.close()

        self._threads.append(self._thread(write))
        return self

    def until_it_listens(self) -> None:
        """Wait until its own handler stands, as the kernel shows it; before that a signal just ends Python."""
        status = Path(f"/proc/{self.process.pid}/status")
        if not status.exists():
            time.sleep(0.5)
            return
        give_up = time.monotonic() + LISTENS_WITHIN
        while time.monotonic() < give_up:
            lines = status.read_text().splitlines()
            caught = next((int(line.split()[1], 16) for line in lines if line.startswith("SigCgt")), 0)
            if caught >> (signal.SIGTERM - 1) & 1:
                return
            time.sleep(0.001)
        raise TimeoutError("the process never listened to SIGTERM")

    def fill(self, number: int) -> None:
        """Leave no room in its stdout or stderr, which nobody reads; how, is Linux's."""
        pipe = os.open(f"/proc/{self.process.pid}/fd/{number}", os.O_WRONLY | os.O_NONBLOCK)
        assert stat.S_ISFIFO(os.fstat(pipe).st_mode), "a file would take all that the disk has room for"
        with os.fdopen(pipe, "wb", buffering=0) as full:
            while full.write(b" " * 4096):
                pass

    def signal(self, number: int) -> None:
        """Send a signal; to a process that has ended, none."""
        self.signalled.append(time.monotonic())
        self.process.send_signal(number)

    def until(self, happened: Callable[[], object], within: float = 30.0) -> None:
        """Wait until something has happened."""
        give_up = time.monotonic() + within
        while not happened():
            if time.monotonic() > give_up:
                raise TimeoutError(f"it did not happen within {within:g} s; stderr: {self.err}")
            time.sleep(0.005)

    def ended(self, within: float = 60.0) -> int:
        """Wait until it has ended and all that it said is read; return its exit code."""
        code = self.process.wait(within)
        self.took = time.monotonic() - self.started
        for thread in self._threads:
            thread.join(10)
        return code

    @property
    def errors(self) -> list[str]:
        """The ERROR lines on stderr, without time and logger."""
        return program.Ended(0, "", self.err).errors

    def read_stdout(self) -> None:
        """Begin to read stdout, where that was left out at first."""
        self._threads.append(self._thread(self._read_stdout))

    def read_stderr(self) -> None:
        """Begin to read stderr, where that was left out at first."""
        self._threads.append(self._thread(self._read_stderr))

    def _thread(self, run: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def _read_stdout(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if not line.endswith(b"\n"):  # cut by kill -9: nobody can have acted on it
                return
            state = json.loads(line)
            missing = self._missing(state)
            if missing:
                self.ahead.append((state, missing))
            self.states.append(state)

    def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.err += line.decode()


def together(scenario: Callable[..., None], *cases: tuple[Any, ...], at_once: int = 4) -> None:
    """Run a scenario for each case, several at a time, since most of each is waiting."""

    def run(case: tuple[Any, ...]) -> None:
        try:
            scenario(*case)
        except AssertionError as error:
            raise AssertionError(f"{case}: {error}") from error

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(run, cases))
