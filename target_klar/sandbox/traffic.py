"""What came in: a log of the latest requests, and how many were handled at once."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from threading import RLock

    from target_klar.sandbox.faults import On


@dataclass(eq=False)
class Request:
    """One request to Klar, filled in while it is handled."""

    method: str
    path: str
    on: On | None
    """What it asks for; None: nothing that Klar has."""
    stream: str | None
    user_agent: str
    authorized: bool
    """Whether it came with the right token."""
    client: str
    """The address and port that it came from."""
    number: int = 0
    """Counted from 1 over all requests."""
    count: int | None = None
    """How many objects its body carries; None: it has none, or is not understood."""
    stored: int = 0
    """How many of them were stored."""
    fault: str | None = None
    """The misbehaviour that it met."""
    status: int | None = None
    """The status that was answered, or was meant to be."""
    end: str = "open"
    """How it ended: `answered`, `client gone`, or the manner of a broken answer, such as `reset`."""
    moment: float = field(default_factory=time.time)
    """When it came in, in seconds since 1970."""
    started: float = field(default_factory=time.monotonic)
    ended: float | None = None
    """By the same clock as `started`."""


class Traffic:
    """The latest requests, the latest bodies, and counts over all of them."""

    def __init__(self, lock: RLock, keep_bodies: int) -> None:
        self._lock = lock
        self._requests: deque[Request] = deque(maxlen=1000)
        self._bodies: deque[bytes] = deque(maxlen=keep_bodies)
        self.clear()

    def clear(self) -> None:
        """Forgets everything but what is being handled right now."""
        with self._lock:
            self._requests.clear()
            self._bodies.clear()
            self.total = 0
            self.in_flight: int = getattr(self, "in_flight", 0)
            self.peak_in_flight = self.in_flight

    @property
    def requests(self) -> list[Request]:
        """The latest requests, oldest first."""
        with self._lock:
            return list(self._requests)

    @property
    def bodies(self) -> list[bytes]:
        """The latest bodies, oldest first."""
        with self._lock:
            return list(self._bodies)

    @contextlib.contextmanager
    def handling(self, request: Request, body: bytes) -> Iterator[None]:
        """Logs a request at once, and that it ended when it does."""
        is_post = request.on == "post"
        with self._lock:
            self.total += 1
            request.number = self.total
            self._requests.append(request)
            if is_post:
                self._bodies.append(body)
                self.in_flight += 1
                self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
        try:
            yield
        except OSError:
            request.end = "client gone"
            raise
        finally:
            with self._lock:
                request.ended = time.monotonic()
                if is_post:
                    self.in_flight -= 1
