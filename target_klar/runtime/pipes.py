"""Both ends of the pipe, and the one place where the main thread waits.

The main thread waits for three things at once: more input, a worker's result, a signal. Nothing else blocks it: what
may block, such as opening a file, happens in a thread that passes on what it reads.
"""

from __future__ import annotations

import io
import os
import select
import socket
import stat
import sys
import threading
import weakref
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from singer_sdk.exceptions import FatalSyncError

from target_klar.runtime import shutdown
from target_klar.runtime.endings import StopNowError
from target_klar.runtime.nonblocking import PATIENCE_SECONDS, write

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

CHUNK = 1 << 18
MAX_LINE = 64 << 20
"""The bytes of the longest line that is read."""
_LAST_STATE_SECONDS = 0.25


class OutputLostError(StopNowError):
    """A STATE was not written, or only a part of it, so that nothing more may be written."""


NO_INPUT = "No input: stdin is closed. Pipe a tap into target-klar, or name a file with `--input`."


class Wakeup:
    """Ends the main thread's wait from another thread."""

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._receiver.settimeout(0)
        self._sender.settimeout(0)
        for end in (self._receiver, self._sender):  # where a run does not get as far as its end
            weakref.finalize(self, end.close)

    def set(self) -> None:
        """End the current wait, or the next one at once; callable from any thread."""
        with suppress(OSError):  # full: it is about to wake up anyway; closed: the run is over
            self._sender.send(b"\0")

    def wait(self, timeout: float, incoming: Input | None = None) -> bool:
        """Wait for a wake-up, for `incoming`, or for `timeout` seconds; return whether `incoming` can be read."""
        poll = select.poll()  # select itself takes no descriptor over 1023
        poll.register(self._receiver, select.POLLIN)
        if incoming is not None:
            poll.register(incoming, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(1000 * timeout)}
        if self._receiver.fileno() in ready:
            with suppress(BlockingIOError):
                while self._receiver.recv(4096):
                    pass
        return incoming is not None and incoming.fileno() in ready


class Input:
    """An input that `Wakeup.wait` can watch: a descriptor as it is, anything else through a thread that reads it."""

    def __init__(
        self, pieces: IO[Any] | Iterable[bytes] | None, name: str = "input", hidden: Sequence[str] = ()
    ) -> None:
        self.name = name
        """What it is called in an error."""
        self._hidden = hidden  # what no error may show
        pieces = sys.stdin if pieces is None else pieces
        if pieces is None:
            raise FatalSyncError(NO_INPUT)
        self._pieces = pieces  # held, or its descriptor would be closed
        self._pumped: socket.socket | None = None
        self._trouble: Exception | None = None
        try:
            self._descriptor = pieces.fileno()  # type: ignore[union-attr]  # asked for just here
        except (io.UnsupportedOperation, AttributeError):
            self._descriptor = self._pump(pieces)

    def fileno(self) -> int:
        """Return the descriptor that is watched."""
        return self._descriptor

    def read(self) -> bytes:
        """Return the next bytes, waiting for at least one; empty at the end.

        Raises:
            FatalSyncError: It cannot be read, or not to its end.
        """
        try:
            piece = self._pumped.recv(CHUNK) if self._pumped is not None else os.read(self._descriptor, CHUNK)
        except OSError as error:
            self._trouble, piece = error, b""
        if not piece and self._trouble:
            why = getattr(self._trouble, "strerror", None) or str(self._trouble) or type(self._trouble).__name__
            for secret in self._hidden:
                why = why.replace(secret, "***")
            raise FatalSyncError(
                f"The {self.name} cannot be read ({why.rstrip('.')}). Check that it is there, whole and readable."
            ) from self._trouble
        return piece

    def close(self) -> None:
        """Let go of what was made here; the input itself belongs to whoever opened it."""
        if self._pumped is not None:
            self._pumped.close()

    def _pump(self, pieces: Iterable[Any]) -> int:
        self._pumped, feed = socket.socketpair()

        def pump() -> None:
            with feed:
                try:
                    for piece in pieces:
                        feed.sendall(piece.encode() if isinstance(piece, str) else piece)
                except Exception as error:  # noqa: BLE001  # of any kind: this is not the end of the input
                    self._trouble = error

        threading.Thread(target=pump, name=self.name, daemon=True).start()
        return self._pumped.fileno()


def pieces_of(path: str) -> Iterator[bytes]:
    """Open a file at the first step, which takes until somebody writes it if it is a FIFO, and yield what comes in."""
    with Path(path).open("rb", buffering=0) as file:
        yield from iter(partial(file.read, CHUNK), b"")


def write_line(line: bytes) -> None:
    """Write one line to stdout and flush it.

    Raises:
        OutputLostError: stdout is closed, or was not read for five minutes or, after a signal, in the grace period.
    """
    try:
        descriptor = sys.stdout.fileno()
    except (io.UnsupportedOperation, AttributeError):
        sys.stdout.write(line.decode() + "\n")
        sys.stdout.flush()
        return
    before = None
    try:
        before = os.fstat(descriptor)
        write(descriptor, b"\n" * _ends_in_part_of_a_line(descriptor, before) + line + b"\n", _write_limit)
    except OSError as error:
        if before is not None and stat.S_ISREG(before.st_mode):
            with suppress(OSError):  # else the next run would write its first STATE behind a part of this one
                os.ftruncate(descriptor, before.st_size)
        msg = (
            f"A STATE could not be written to stdout ({error.strerror}). "
            "Its records are stored; run again from the last STATE that was written."
        )
        raise OutputLostError(msg) from error


def _ends_in_part_of_a_line(descriptor: int, before: os.stat_result) -> bool:
    """Tell whether a file to which a STATE is appended ends in what a killed run has left of one."""
    if not stat.S_ISREG(before.st_mode) or not before.st_size:
        return False
    try:
        with Path(f"/proc/self/fd/{descriptor}").open("rb") as file:  # stdout itself can only be written
            file.seek(-1, os.SEEK_END)
            return file.read() != b"\n"
    except OSError:
        return False


def _write_limit(last: float) -> float:
    deadline = shutdown.deadline()
    return last + PATIENCE_SECONDS if deadline is None else deadline + _LAST_STATE_SECONDS
