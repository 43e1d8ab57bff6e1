"""Plain HTTP, one thread per connection: reads calls, hands them on, and can end every connection at once."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import sys
import threading
import time
from dataclasses import dataclass, replace
from email.errors import FirstHeaderLineIsContinuationDefect, InvalidHeaderDefect, MissingHeaderBodySeparatorDefect
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from target_klar.sandbox.answers import failure
from target_klar.sandbox.wire import deliver, head

if TYPE_CHECKING:
    from collections.abc import Callable
    from email.message import Message

_Connected = socket.socket | tuple[bytes, socket.socket]
"""What the base class takes for a request; the second is for datagrams, which do not come here."""

LARGEST_BODY = 256 * 1024 * 1024
"""A body that announces more than this is not read."""

LINGER_SECONDS = 5.0
"""For so long what a client still sends is read after its last answer."""

MAX_LINE = 65537
"""What the base class reads of a line at most: a longer one is answered with 414."""

_MAX_LENGTH_DIGITS = 18
_HEADER_DEFECTS = (InvalidHeaderDefect, FirstHeaderLineIsContinuationDefect, MissingHeaderBodySeparatorDefect)


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
    be used for another one. A body of which nothing comes for `body_seconds` is answered with 408.
    """

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, handle: Callable[[Call], bool], body_seconds: float) -> None:
        self.handle = handle
        self.body_seconds = body_seconds
        self._connections: set[socket.socket] = set()
        self._changed = threading.Condition()
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Connection)
        threading.Thread(target=self.serve_forever, args=(0.05,), name="sandbox", daemon=True).start()

    def close(self) -> None:
        """Takes no more connections, ends those that are open and waits for their threads."""
        with contextlib.suppress(OSError):  # wakes the thread at once that else looks every 0.05 s whether to end
            self.socket.shutdown(socket.SHUT_RDWR)
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
        """Says nothing of a client that is gone; anything else is our own mistake: shown, and answered with 500."""
        if isinstance(sys.exc_info()[1], OSError):
            return
        super().handle_error(request, client_address)
        assert isinstance(request, socket.socket)
        with contextlib.suppress(OSError):
            deliver(request, failure(500, "the local Klar failed; its stderr says how"), "whole", threading.Event())


class _UnreadableError(Exception):
    """A call that cannot be read, and the status that says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Connection(BaseHTTPRequestHandler):
    """Reads the calls of one connection, one after the other, and answers those that cannot be read."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server
    raw_requestline: bytes

    def log_message(self, *_: object) -> None:
        """Prints nothing: whoever handles the calls keeps a log of them."""

    def parse_request(self) -> bool:
        """Passes over empty lines before a call, as RFC 9112, 2.2 asks; the base class would hang up."""
        while self.raw_requestline and not self.raw_requestline.strip():
            self.raw_requestline = self.rfile.readline(MAX_LINE)
        return super().parse_request()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answers what the base class cannot read as Klar's failures are answered: whole, as JSON, and the last one."""
        del explain  # a longer form of the message
        answer = replace(failure(code, message), headers=(("Connection", "close"),))
        body = b"" if self.command == "HEAD" else answer.body
        self.connection.sendall(head(answer, len(body)) + body)
        self.close_connection = True
        self._linger()

    def do_GET(self) -> None:
        """Reads the body, whatever the method, and hands the call on."""
        try:
            path, query = self._address()
            body = self._body()
        except _UnreadableError as error:
            self.send_error(error.status, str(error))
            return
        host, port = self.client_address[:2]
        call = Call(self.command, path, self.headers, body, f"{host}:{port}", self.connection, query)
        if not self.server.handle(call):
            self.close_connection = True
        elif self.close_connection:
            self._linger()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815  # the base class looks for these names

    def _address(self) -> tuple[str, str]:
        try:
            asked = urlsplit(self.path)
        except ValueError as error:
            raise _UnreadableError(400, f"the address cannot be read: {error}") from None
        return asked.path, asked.query

    def _body(self) -> bytes:
        if any(isinstance(defect, _HEADER_DEFECTS) for defect in self.headers.defects):
            raise _UnreadableError(400, "a header cannot be read")
        if "Transfer-Encoding" in self.headers:
            raise _UnreadableError(411, "send a Content-Length and no Transfer-Encoding")
        length, *others = set(self.headers.get_all("Content-Length", ["0"]))
        if others or not (length.isascii() and length.isdigit()):
            raise _UnreadableError(400, "the Content-Length must be one whole number")
        if len(length) > _MAX_LENGTH_DIGITS or int(length) > LARGEST_BODY:
            raise _UnreadableError(413, f"the Content-Length must not be above {LARGEST_BODY}")
        self.connection.settimeout(self.server.body_seconds)
        try:
            body = self.rfile.read(int(length))
        except TimeoutError:
            raise _UnreadableError(408, f"the body is shorter than its Content-Length, {length}") from None
        finally:
            self.connection.settimeout(None)
        if len(body) < int(length):
            raise _UnreadableError(400, f"the body has {len(body)} bytes, and its Content-Length is {length}")
        return body

    def _linger(self) -> None:
        """Reads on until the client hangs up: closing on unread bytes would reset the connection, answer and all."""
        deadline = time.monotonic() + LINGER_SECONDS
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(LINGER_SECONDS)
            while time.monotonic() < deadline and self.connection.recv(MAX_LINE):
                pass
