"""Requests with an end: an attempt that is over has its connection shut, whatever the other side still sends.

The timeouts of `requests` and urllib3 bound the wait for the next byte, so an answer that sends one now and then
is never late. Here the whole attempt is bounded: connecting, sending, headers and body.
"""

from __future__ import annotations

import math
import socket
import ssl
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import requests.adapters
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NameResolutionError
from urllib3.util import parse_url

from target_klar.api.framing import NothingReceivedError, WholeResponse

if TYPE_CHECKING:
    from typing import Self

    from urllib3.response import HTTPResponse

_running = threading.local()
_LEAST_SECONDS = 0.1


class Attempt:
    """One request's time, as a context: when `seconds` are over, `expired` is true and its connection is shut."""

    def __init__(self, seconds: float) -> None:
        self.deadline = time.monotonic() + seconds
        self.expired = False
        self.stale = False
        """A connection that had been used before was closed by the server before the first byte of an answer."""
        self._connection: _Watched | None = None

    def __enter__(self) -> Self:
        _running.attempt = self
        _watch.begin(self)
        return self

    def __exit__(self, *_: object) -> None:
        _watch.end(self)
        _running.attempt = None

    def uses(self, connection: _Watched) -> None:
        """Note the connection to cut, and cut it if time has run out before there was one."""
        self._connection = connection
        if self.expired:
            connection.cut()

    def remaining(self) -> float:
        """Return the seconds that are left, 0.1 at the least: no timeout of a socket may be 0."""
        return max(_LEAST_SECONDS, self.deadline - time.monotonic())

    def expire(self) -> None:
        """End it: whoever reads or writes there finds the connection closed."""
        self.expired = True
        if self._connection:
            self._connection.cut()


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


class _Watched(HTTPConnection):
    """A connection that ends with the `Attempt` it is used in, and whose answers are whole."""

    response_class = WholeResponse
    _beneath: socket.socket | None = None
    """The plain connection under every layer of TLS, its own or a proxy's."""
    _kept = False
    """An answer has come over it."""

    def _new_conn(self) -> socket.socket:
        timeout = self.timeout
        self.timeout = self._time_for_each_address()
        try:
            sock = super()._new_conn()
        finally:
            self.timeout = timeout
        sock.settimeout(timeout)
        self._beneath = sock.dup()  # a TLS layer takes the socket itself over
        self._note()
        return sock

    def _time_for_each_address(self) -> float | None:
        """Return a timeout with which all addresses of the host, tried in turn, take no longer than the attempt."""
        attempt: Attempt | None = getattr(_running, "attempt", None)
        if attempt is None:
            return self.timeout
        try:
            addresses = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except UnicodeError:  # no name of a host, of which urllib3 has more to say
            return self.timeout
        return attempt.remaining() / len(addresses)

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send a request; in the current attempt's time."""
        self._note()
        kept = self._kept
        try:
            super().request(*args, **kwargs)
        except ssl.SSLEOFError:
            self._note_stale(kept)
            raise

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as urllib3 itself has it
        """Return the whole answer.

        Raises:
            BrokenAnswerError: There was none.
        """
        kept = self._kept
        try:
            response = super().getresponse()
        except NothingReceivedError:
            self._note_stale(kept)
            raise
        self._kept = True
        return response

    def close(self) -> None:
        super().close()
        self._kept = False
        if self._beneath:
            self._beneath.close()
            self._beneath = None

    def cut(self) -> None:
        """Shut it from any thread: whoever reads or writes there finds it closed."""
        if self._beneath:
            with suppress(OSError):  # closed already
                self._beneath.shutdown(socket.SHUT_RDWR)

    def _note(self) -> None:
        attempt: Attempt | None = getattr(_running, "attempt", None)
        if attempt is not None:
            attempt.uses(self)

    def _note_stale(self, kept: bool) -> None:  # noqa: FBT001  # what the connection was before it failed
        attempt: Attempt | None = getattr(_running, "attempt", None)
        if attempt is not None:
            attempt.stale = kept


class _WatchedTLS(_Watched, HTTPSConnection):
    """The same over TLS: what is watched there calls HTTPSConnection here."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Watched


class _PoolTLS(HTTPSConnectionPool):
    ConnectionCls = _WatchedTLS


class WatchedAdapter(requests.adapters.HTTPAdapter):
    """A `requests` adapter whose connections are watched, to a proxy of HTTP as well."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools of watched connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _PoolTLS}

    def get_connection_with_tls_context(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        """Give the pool for a request.

        Raises:
            InvalidProxyURL: Its proxy is none of HTTP, or has no host, on which requests itself may end in a TypeError.
        """
        proxy = requests.utils.select_proxy(str(request.url), kwargs.get("proxies"))
        address = parse_url(proxy) if proxy else None
        if address and not (address.host and address.scheme in (None, "http", "https")):
            raise requests.exceptions.InvalidProxyURL("no proxy of HTTP")
        return super().get_connection_with_tls_context(request, *args, **kwargs)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Make the same pools for a proxy."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _PoolTLS}
        return manager
