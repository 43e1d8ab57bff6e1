"""Requests with an end: an attempt that is over has its socket shut, whatever the other side still trickles.

The timeouts of `requests` and urllib3 bound the wait for the next byte, so an answer that sends one now and then
is never late. Here the whole attempt is bounded: connecting, sending, headers and body.
"""

from __future__ import annotations

import math
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import requests.adapters
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

if TYPE_CHECKING:
    from typing_extensions import Self

_running = threading.local()


class Attempt:
    """One request's time, as a context: when `seconds` are over, `expired` is true and its socket is shut."""

    def __init__(self, seconds: float) -> None:
        self.deadline = time.monotonic() + seconds
        self.expired = False
        self._connection: HTTPConnection | None = None

    def __enter__(self) -> Self:
        _running.attempt = self
        _watch.begin(self)
        return self

    def __exit__(self, *_: object) -> None:
        _watch.end(self)
        _running.attempt = None

    def uses(self, connection: HTTPConnection) -> None:
        """Note the connection to cut."""
        self._connection = connection
        if self.expired:
            raise TimeoutError

    def expire(self) -> None:
        """End it: whoever reads or writes there finds the connection closed."""
        self.expired = True
        held = self._connection and self._connection.sock
        if held:
            with suppress(OSError):  # closed already
                # Past any TLS layer, whose own shutdown is not for use from another thread.
                socket.socket.shutdown(held, socket.SHUT_RDWR)


class _Watch:
    """Expires attempts from one thread, which is not woken for each: as a rule the next one ends after those before."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._attempts: set[Attempt] = set()
        self._wakes_at = math.inf
        self._thread: threading.Thread | None = None

    def begin(self, attempt: Attempt) -> None:
        with self._changed:
            self._attempts.add(attempt)
            if self._thread is None or not self._thread.is_alive():  # no thread of a process is there after its fork
                self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
                self._thread.start()
            elif attempt.deadline < self._wakes_at:
                self._changed.notify_all()

    def end(self, attempt: Attempt) -> None:
        with self._changed:
            self._attempts.discard(attempt)

    def _run(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for attempt in {each for each in self._attempts if each.deadline <= now}:
                    attempt.expire()
                    self._attempts.discard(attempt)
                self._wakes_at = min((each.deadline for each in self._attempts), default=math.inf)
                self._changed.wait(None if self._wakes_at == math.inf else self._wakes_at - now)


_watch = _Watch()


def _note(connection: HTTPConnection) -> None:
    attempt: Attempt | None = getattr(_running, "attempt", None)
    if attempt is not None:
        attempt.uses(connection)


class _WatchedHTTP(HTTPConnection):
    def connect(self) -> None:
        _note(self)
        super().connect()
        _note(self)  # time may have run out before there was a socket to shut

    def request(self, *args: Any, **kwargs: Any) -> None:
        _note(self)
        super().request(*args, **kwargs)


class _WatchedHTTPS(_WatchedHTTP, HTTPSConnection):
    """The same over TLS: what is watched there calls HTTPSConnection here."""


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _WatchedHTTP


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _WatchedHTTPS


class WatchedAdapter(requests.adapters.HTTPAdapter):
    """A `requests` adapter whose connections end with the `Attempt` they are used in."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools that watch their connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Watch the connections to a proxy as well."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
        return manager
