"""SIGTERM and SIGINT: noted here, acted on where the main thread waits; a process that does not end in time is killed.

A handler that raises, or that sends what is left, would cut into a half-done step; so a signal only leaves a note.
A thread takes the same note, from the wake-up descriptor that the kernel's own handler writes to: it hears a signal
also while the main thread is held up, tells those who asked, and ends a process that does not end by itself. This
module imports nothing heavy: `__main__` listens before anything else loads.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

GRACE_SECONDS = 9.0
"""How long a stopping run may take in all: containers are killed after 10 seconds."""
_KILLED_AFTER = GRACE_SECONDS + 0.6
_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_received: list[tuple[int, float]] = []
_listeners: list[Callable[[], None]] = []


def listen() -> None:
    """Note SIGTERM and SIGINT from now on; the first one decides the exit code, and when the process ends at last."""
    signal.signal(signal.SIGALRM, _end_now)
    for number in _SIGNALS:
        signal.signal(number, _note)
    receiver, sender = os.pipe()
    os.set_blocking(sender, False)
    signal.set_wakeup_fd(sender, warn_on_full_buffer=False)
    threading.Thread(target=_hear, args=(receiver,), name="signals", daemon=True).start()


def call_on_signal(*listeners: Callable[[], None]) -> None:
    """Have these called from another thread at a signal, or now if one has come; maybe twice."""
    _listeners.extend(listeners)
    if _received:
        for listener in listeners:
            listener()


def end_at_once() -> None:
    """Let a signal, also one that came earlier, end the process at once: there is nothing to finish."""
    for number in _SIGNALS:
        signal.signal(number, _end)
    if _received:
        _end(_received[0][0], None)


def conclude() -> None:
    """Let the process end with its exit code: from now on no signal and no alarm changes it.

    Python itself takes its handlers back before its end, and would be killed by what comes then.
    """
    for number in (*_SIGNALS, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)


def signal_received() -> int | None:
    """Return the number of the first signal, or None while there was none."""
    return _received[0][0] if _received else None


def deadline() -> float | None:
    """Return when the run must have ended, on the monotonic clock; None while there was no signal."""
    return _received[0][1] + GRACE_SECONDS if _received else None


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _note(number: int, _frame: FrameType | None = None) -> None:
    if not _received:
        _received.append((number, time.monotonic()))
        signal.setitimer(signal.ITIMER_REAL, _KILLED_AFTER)


def _hear(receiver: int) -> None:
    while True:
        for number in os.read(receiver, 64):
            if number in _SIGNALS:
                _note(number)
                for listener in [*_listeners]:
                    listener()
            elif number == signal.SIGALRM:
                _end_now()


def _end_now(*_: object) -> None:
    """End the process from whichever thread still runs: from the main one within a computation, else from the other."""
    number = signal_received()
    if number is None:
        return  # not our alarm
    message = f"target-klar had not ended {_KILLED_AFTER} s after signal {number}, and was killed.\n"
    with suppress(OSError):
        poll = select.poll()
        poll.register(2, select.POLLOUT)
        if sys.__stderr__ is not None and poll.poll(0):
            os.write(2, message.encode())
    os._exit(128 + number)
