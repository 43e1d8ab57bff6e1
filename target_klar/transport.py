"""Requests with an end: an attempt that is over has its socket shut, whatever the other side still trickles.

The timeouts of `requests` and urllib3 bound the wait for the next byte, so an answer that sends one now and then
is never late. Here the whole attempt is bounded: connecting, sending, headers and body.
"""

from __future__ import annotations

import socket
import threading
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
        self.expired = False
        self._connection: HTTPConnection | None = None
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        _running.attempt = self
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        _running.attempt = None

    def uses(self, connection: HTTPConnection) -> None:
        """Note the connection to cut."""
        self._connection = connection
        if self.expired:
            raise TimeoutError

    def _expire(self) -> None:
        self.expired = True
        held = self._connection and self._connection.sock
        if held:
            with suppress(OSError):  # closed already
                # Past any TLS layer, whose own shutdown is not for use from another thread.
                socket.socket.shutdown(held, socket.SHUT_RDWR)


def _watch(connection: HTTPConnection) -> None:
    attempt: Attempt | None = getattr(_running, "attempt", None)
    if attempt is not None:
        attempt.uses(connection)


class _WatchedHTTP(HTTPConnection):
    def connect(self) -> None:
        _watch(self)
        super().connect()
        _watch(self)  # time may have run out before there was a socket to shut

    def request(self, *args: Any, **kwargs: Any) -> None:
        _watch(self)
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
