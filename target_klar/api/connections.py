"""Connections that keep to the time of an `Attempt`, and whose answers are whole, for `requests`."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Any

import requests.adapters
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NameResolutionError
from urllib3.util import parse_url

from target_klar.api.deadlines import current_attempt
from target_klar.api.framing import NothingReceivedError, WholeResponse

if TYPE_CHECKING:
    from urllib3.poolmanager import PoolManager


class _Connection(HTTPConnection):
    response_class = WholeResponse

    def _new_conn(self) -> socket.socket:
        attempt = current_attempt()
        attempt.has_connected = True
        # The addresses of the host, tried in turn, take no longer than the attempt.
        self.timeout = attempt.remaining() / self._count_addresses()
        sock = super()._new_conn()
        sock.settimeout(attempt.remaining())  # for a TLS layer's handshake
        return sock

    def _count_addresses(self) -> int:
        try:
            return len(socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM))
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except UnicodeError:  # no name of a host, of which urllib3 has more to say
            return 1

    def send(self, data: Any) -> None:
        """Send a part of a request, in the time that is left.

        Raises:
            NothingReceivedError: The server has closed the connection.
            OSError: It broke, or there was no time for it.
        """
        if self.sock is not None:  # else it is connected first
            self.sock.settimeout(current_attempt().remaining())
        try:
            super().send(data)
        except ssl.SSLEOFError as error:
            raise NothingReceivedError from error


class _ConnectionTLS(_Connection, HTTPSConnection):
    """The same over TLS: HTTPSConnection calls what is above."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _PoolTLS(HTTPSConnectionPool):
    ConnectionCls = _ConnectionTLS


class Adapter(requests.adapters.HTTPAdapter):
    """A `requests` adapter with these connections, to a proxy of HTTP as well."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools of connections."""
        super().init_poolmanager(*args, **kwargs)
        _use_our_pools(self.poolmanager)

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
        _use_our_pools(manager)
        return manager


def _use_our_pools(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _PoolTLS}
