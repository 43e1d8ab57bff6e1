"""Plain HTTP, one thread per connection: reads calls, hands them on, and can end every connection at once."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import sys
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from target_klar.sandbox.answers import failure
from target_klar.sandbox.wire import head

if TYPE_CHECKING:
    from collections.abc import Callable
    from email.message import Message

_Connected = socket.socket | tuple[bytes, socket.socket]
"""What the base class takes for a request; the second is for datagrams, which do not come here."""

LARGEST_BODY = 256 * 1024 * 1024
"""A body that announces more than this is not read."""


@dataclass(frozen=True)
class Call:
    """A request that has been read in full, and the connection on which its answer goes out."""

    method: str
    path: str
    headers: Message[str, str]
    body: bytes
    client: str
    """The address and port that it came from."""
    connection: socket.socket
    query: str = ""
    """What stands behind the path."""


class Server(socketserver.ThreadingTCPServer):
    """Takes connections, and knows those that are open so that it can end them.

    `handle` gets every call in the thread of its connection, answers it, and tells whether the connection can
    be used for another one.
    """

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, handle: Callable[[Call], bool]) -> None:
        self.handle = handle
        self._connections: set[socket.socket] = set()
        self._changed = threading.Condition()
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Connection)
        threading.Thread(target=self.serve_forever, args=(0.05,), name="sandbox", daemon=True).start()

    def close(self) -> None:
        """Takes no more connections, ends those that are open and waits for their threads."""
        self.shutdown()
        self.server_close()
        with self._changed:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._changed.wait_for(lambda: not self._connections, timeout=5)

    def get_request(self) -> tuple[socket.socket, object]:
        """Takes a connection and remembers it."""
        connection, address = super().get_request()
        with self._changed:
            self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: _Connected) -> None:
        """Closes without the FIN that the base class sends first, so that a reset is seen as one."""
        assert isinstance(request, socket.socket)
        request.close()
        with self._changed:
            self._connections.discard(request)
            self._changed.notify_all()

    def handle_error(self, request: _Connected, client_address: object) -> None:
        """Says nothing of a client that is gone; anything else is our own mistake and is shown."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Connection(BaseHTTPRequestHandler):
    """Reads the calls of one connection, one after the other."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def log_message(self, *_: object) -> None:
        """Prints nothing: whoever handles the calls keeps a log of them."""

    def do_GET(self) -> None:
        """Reads the body, whatever the method, and hands the call on."""
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isascii() or not length.isdigit():
            self._reject(411)
        elif int(length) > LARGEST_BODY:
            self._reject(413)
        else:
            body = self.rfile.read(int(length))
            if len(body) < int(length):
                self.close_connection = True
                return
            host, port = self.client_address[:2]
            asked = urlsplit(self.path)
            client = f"{host}:{port}"
            call = Call(self.command, asked.path, self.headers, body, client, self.connection, asked.query)
            self.close_connection |= not self.server.handle(call)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815  # the base class looks for these names

    def _reject(self, status: int) -> None:
        answer = failure(status)
        self.connection.sendall(head(answer, len(answer.body)) + answer.body)
        self.close_connection = True
