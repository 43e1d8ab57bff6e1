"""The time of one request: each step of it, down to each read, gets what is left.

The timeouts of `requests` and urllib3 bound the wait for the next byte, so an answer that sends one now and then
is never late. Here the whole attempt is bounded: connecting, sending, headers and body.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

_running = threading.local()


class Attempt:
    """One request's time, as a context: the connection that this thread uses in it asks what is left of `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self.has_connected = False
        """Whether a connection was made for it, in place of one that had been used before."""

    def __enter__(self) -> Self:
        _running.attempt = self
        return self

    def __exit__(self, *_: object) -> None:
        del _running.attempt

    def remaining(self) -> float:
        """Return the seconds that are left.

        Raises:
            TimeoutError: None are.
        """
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def current_attempt() -> Attempt:
    """Return the attempt that this thread is in."""
    attempt: Attempt = _running.attempt
    return attempt
