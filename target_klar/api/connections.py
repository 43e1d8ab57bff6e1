"""Connections that keep to the time of an `Attempt`, and whose answers are whole, for `requests`."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import requests.adapters
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import NameResolutionError
from urllib3.util import parse_url

from target_klar.api.deadlines import current_attempt
from target_klar.api.framing import NothingReceivedError, WholeResponse


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


class Adapter(requests.adapters.HTTPAdapter):
    """A `requests` adapter with these connections, through a proxy of HTTP as well."""

    def get_connection_with_tls_context(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        """Give the pool for a request.

        Raises:
            InvalidProxyURL: Its proxy is none of HTTP, or has no host, on which requests itself may end in a TypeError.
        """
        proxy = requests.utils.select_proxy(str(request.url), kwargs.get("proxies"))
        address = parse_url(proxy) if proxy else None
        if address and not (address.host and address.scheme in (None, "http", "https")):
            raise requests.exceptions.InvalidProxyURL("no proxy of HTTP")
        pool = super().get_connection_with_tls_context(request, *args, **kwargs)
        assert isinstance(pool, HTTPConnectionPool)
        pool.ConnectionCls = _ConnectionTLS if pool.scheme == "https" else _Connection
        return pool
