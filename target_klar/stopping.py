"""SIGTERM and SIGINT: remembered here, acted on where the main thread waits.

A handler that raises, or that sends what is left, would cut into a half-done step; so a signal
only leaves a note. This module imports nothing heavy: `__main__` listens before anything else loads.
"""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

GRACE_SECONDS = 9.0
"""How long a stopping run may take in all: containers are killed after 10 seconds."""

_received: list[tuple[int, float]] = []


def listen() -> None:
    """Remember SIGTERM and SIGINT from now on; the first one decides the exit code."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _remember)


def end_at_once() -> None:
    """Let a signal, also one that has come already, end the process wherever it is: there is nothing to finish."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    if _received:
        _end(_received[0][0], None)


def received() -> int | None:
    """Return the number of the first signal, or None while there was none."""
    return _received[0][0] if _received else None


def deadline() -> float | None:
    """Return when the run must have ended, on the monotonic clock; None while there was no signal."""
    return _received[0][1] + GRACE_SECONDS if _received else None


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _remember(number: int, _frame: FrameType | None) -> None:
    _received.append((number, time.monotonic()))
