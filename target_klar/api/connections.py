"""Connections that keep to the time of an `Attempt`, and whose answers are whole."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
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


class _ProxyTLS(ssl.SSLSocket):
    """TLS to a proxy, under that to Klar: of one record of Klar's urllib3 reads any number of parts."""

    def recv(self, *args: Any) -> bytes:
        self.settimeout(current_attempt().remaining())
        return super().recv(*args)


class _ConnectionTLS(_Connection, HTTPSConnection):
    """The same over TLS: HTTPSConnection calls what is above."""

    def _connect_tls_proxy(self, hostname: str, sock: socket.socket) -> ssl.SSLSocket:
        tunnel = super()._connect_tls_proxy(hostname, sock)
        tunnel.__class__ = _ProxyTLS
        return tunnel


def pool_to(url: str, *, direct: bool) -> HTTPConnectionPool:
    """Return the pool of connections to a host, `direct` ones or through the proxy that the environment names.

    It also names certificates. Both are read as `requests` reads them.

    Raises:
        ValueError: The address, or that of the proxy, cannot be used.
        OSError: The certificates are not there.
    """
    proxies = dict.fromkeys(("http", "https"), "") if direct else {}
    environment = requests.Session().merge_environment_settings(url, proxies, None, None, None)
    proxy = requests.utils.select_proxy(url, environment["proxies"])
    address = parse_url(proxy) if proxy else None
    if address and not (address.host and address.scheme in (None, "http", "https")):
        raise requests.exceptions.InvalidProxyURL("no proxy of HTTP")  # on which requests may end in a TypeError
    named = environment["verify"]
    certificates = named if isinstance(named, str) else requests.utils.DEFAULT_CA_BUNDLE_PATH
    request = requests.Request("GET", url).prepare()
    pool = requests.adapters.HTTPAdapter().get_connection_with_tls_context(
        request, certificates, environment["proxies"]
    )
    assert isinstance(pool, HTTPConnectionPool)
    if pool.scheme == "https" and not Path(certificates).exists():
        raise OSError(f"Could not find a suitable TLS CA certificate bundle, invalid path: {certificates}")
    pool.ConnectionCls = _ConnectionTLS if pool.scheme == "https" else _Connection
    return pool
