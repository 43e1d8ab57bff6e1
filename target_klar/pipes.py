"""Both ends of the pipe, and the one place where the main thread waits.

The main thread waits for three things at once: more input, a worker's result, a signal. Nothing else blocks it.
"""

from __future__ import annotations

import errno
import io
import os
import select
import signal
import socket
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any

from singer_sdk.exceptions import FatalSyncError

from target_klar import stopping

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK = 1 << 18
# A pipe that select calls writable has room for this much, so that the write cannot block.
_WRITABLE = getattr(select, "PIPE_BUF", 512)
_STDOUT_PATIENCE = 300.0


class OutputLostError(FatalSyncError):
    """A STATE was not written, or not all of it: whatever is written after that could not be read."""


class Wakeup:
    """Ends the main thread's wait from a worker thread or on a signal."""

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._receiver.settimeout(0)
        self._sender.settimeout(0)

    def set(self) -> None:
        """End the current wait, or the next one at once; callable from any thread."""
        with suppress(BlockingIOError):  # full: it is about to wake up anyway
            self._sender.send(b"\0")

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Let every signal end the wait too, for as long as the context lasts."""
        previous = signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(previous)

    def wait(self, timeout: float | None, source: Source | None = None) -> bool:
        """Return whether `source` can be read, after a wake-up, its input or `timeout` seconds (None: no limit)."""
        watched: list[Any] = [self._receiver] if source is None else [self._receiver, source]
        ready, _, _ = select.select(watched, [], [], timeout)
        if self._receiver in ready:
            with suppress(BlockingIOError):
                while self._receiver.recv(4096):
                    pass
        return source in ready


class Source:
    """An input that `select` can watch, whatever it is made of."""

    def __init__(self, file: IO[Any] | None) -> None:
        file = sys.stdin if file is None else file
        if file is None:
            msg = "There is no input: stdin is closed. Pipe a tap into target-klar or name a file with --input."
            raise FatalSyncError(msg)
        self._file = file
        self._pumped: socket.socket | None = None
        try:
            self._number = file.fileno()
        except (io.UnsupportedOperation, AttributeError):
            self._number = self._pump()

    def fileno(self) -> int:
        """Return the descriptor that `select` watches."""
        return self._number

    def read(self) -> bytes:
        """Return the next bytes, waiting for at least one; empty at the end."""
        if self._pumped is not None:
            return self._pumped.recv(_CHUNK)
        return os.read(self._number, _CHUNK)

    def close(self) -> None:
        """Let go of what was made here; the input itself belongs to whoever opened it."""
        if self._pumped is not None:
            self._pumped.close()

    def _pump(self) -> int:
        """Move an input without a usable descriptor through a socket that has one."""
        self._pumped, feed = socket.socketpair()

        def pump() -> None:
            with feed, suppress(OSError):  # the reader has gone: nobody wants the rest
                for line in self._file:
                    feed.sendall(line.encode() if isinstance(line, str) else line)

        threading.Thread(target=pump, name="input", daemon=True).start()
        return self._pumped.fileno()


def write_line(line: bytes) -> None:
    """Write one line to stdout and flush it.

    Raises:
        OutputLostError: stdout is closed, or nobody read it for five minutes or until the grace after a signal ended.
    """
    try:
        number = sys.stdout.fileno()
    except (io.UnsupportedOperation, AttributeError):
        sys.stdout.write(line.decode() + "\n")
        sys.stdout.flush()
        return
    left = memoryview(line + b"\n")
    give_up = time.monotonic() + _STDOUT_PATIENCE
    try:
        while left:
            _, writable, _ = select.select([], [number], [], 0.5)
            if writable:
                left = left[os.write(number, left[:_WRITABLE]) :]
            elif time.monotonic() > (stopping.deadline() or give_up):
                raise BlockingIOError(errno.EAGAIN, "nobody reads it")
    except OSError as error:
        msg = (
            f"A STATE could not be written to stdout ({error.strerror}). "
            "Its records are stored; run again from the last STATE that was written."
        )
        raise OutputLostError(msg) from error
