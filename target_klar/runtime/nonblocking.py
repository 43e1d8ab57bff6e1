"""Writing to a pipe that its reader reads slowly, or not at all: nothing is written that would block."""

from __future__ import annotations

import errno
import io
import os
import select
import stat
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from target_klar.runtime import shutdown

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_SECONDS = 300.0
"""How long a reader may leave a pipe alone."""
_LOOK_SECONDS = 0.5
_LAST_WORD_SECONDS = 0.5
# A pipe that poll calls writable has room for this much, so that the write cannot block.
_WRITABLE = getattr(select, "PIPE_BUF", 512)


def write(descriptor: int, data: bytes, limit: Callable[[float], float]) -> None:
    """Write all of `data` to a descriptor; `limit` says until when to try, given when some was written last.

    Both on the monotonic clock. What goes out without waiting is tried once in any case.

    Raises:
        BlockingIOError: The limit has passed, and not all is written.
        OSError: It cannot be written.
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    left = memoryview(data)
    # A file takes all of it at once, so that a kill hardly ever leaves a part.
    size = len(left) if stat.S_ISREG(os.fstat(descriptor).st_mode) else _WRITABLE
    last = time.monotonic()
    while left:
        patience = limit(last) - time.monotonic()
        if poll.poll(1000 * max(0.0, min(patience, _LOOK_SECONDS))):
            left = left[os.write(descriptor, left[:size]) :]
            last = time.monotonic()
        if left and patience <= 0:
            raise BlockingIOError(errno.EAGAIN, "it is not read")


def bound_stderr() -> None:
    """Put a time limit on every later write to `sys.stderr`, in case nobody reads it."""
    try:
        raw = _Stderr(sys.stderr.fileno())
    except (AttributeError, OSError):  # closed, or no file of the system's
        return
    sys.stderr = io.TextIOWrapper(raw, encoding=sys.stderr.encoding, errors=sys.stderr.errors, write_through=True)


class _Stderr(io.RawIOBase):
    """Unbuffered stderr. What is not read in time is omitted; a note takes its place once stderr is read again."""

    def __init__(self, descriptor: int, patience: float = PATIENCE_SECONDS) -> None:
        self._descriptor = descriptor
        self._patience = patience
        self._lost = 0
        self._one_at_a_time = threading.Lock()

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        with self._one_at_a_time:
            note = f"({self._lost} bytes of log lines are missing here: nothing read stderr)\n" if self._lost else ""
            try:
                write(self._descriptor, note.encode() + bytes(data), self._limit)
            except OSError:  # not read in time, or nobody is there any more, such as when a terminal is closed
                self._lost += len(data)
            else:
                self._lost = 0
        return len(data)

    def _limit(self, last: float) -> float:
        if self._lost:
            return last
        deadline = shutdown.deadline()
        return last + self._patience if deadline is None else min(deadline, last + _LAST_WORD_SECONDS)
