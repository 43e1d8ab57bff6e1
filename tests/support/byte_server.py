"""A server for tests that answers byte for byte what it is told, and a proxy before it."""

from __future__ import annotations

import re
import select
import socket
import ssl
import threading
from contextlib import ExitStack, contextmanager, suppress
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

LONGEST = 20.0
"""Seconds after which a connection counts as forgotten."""


class Reply(NamedTuple):
    """What one request is answered with."""

    raw: bytes
    trickle: bytes = b""
    """Comes after it twenty times a second, without end."""
    stays: float = 0
    """For how many seconds the connection then waits for its next request; 0 closes it at once."""


class Request(NamedTuple):
    """What came in."""

    connection: int
    """The connections are numbered from 1."""
    head: bytes
    body: bytes


class Served(NamedTuple):
    """A server while it runs."""

    url: str
    received: list[Request]

    @property
    def token(self) -> str:
        """What a run sends it, as it would to a Klar."""
        return "opens-nothing"


@contextmanager
def serve(
    *replies: Reply | bytes, choose: Callable[[Request], Reply] | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[Served]:
    """Serve the replies, one for each request and the last one for ever, or the one that `choose` has for it."""
    received: list[Request] = []
    over = threading.Event()

    def next_reply(request: Request) -> Reply:
        received.append(request)
        reply = choose(request) if choose else replies[min(len(received), len(replies)) - 1]
        return reply if isinstance(reply, Reply) else Reply(reply)

    def handle(channel: socket.socket, reader: BinaryIO, number: int) -> None:
        while request := _read_request(reader, number):
            reply = next_reply(request)
            channel.sendall(reply.raw)
            while reply.trickle and not over.wait(0.05):
                channel.sendall(reply.trickle)
            if not reply.stays:
                return
            channel.settimeout(reply.stays)

    with _listening(handle, tls) as port:
        try:
            yield Served(f"{'https' if tls else 'http'}://127.0.0.1:{port}", received)
        finally:
            over.set()


@contextmanager
def tunnel(to: str, *, tls: ssl.SSLContext | None = None) -> Iterator[Served]:
    """Serve a proxy whose tunnels all lead to the server at one address, whatever they were asked for."""
    received: list[Request] = []
    port = int(to.rpartition(":")[2])

    def handle(channel: socket.socket, reader: BinaryIO, number: int) -> None:
        request = _read_request(reader, number)
        if not request:
            return
        received.append(request)
        with socket.create_connection(("127.0.0.1", port), LONGEST) as server:
            channel.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            _pump(channel, server)

    with _listening(handle, tls) as own:
        yield Served(f"{'https' if tls else 'http'}://127.0.0.1:{own}", received)


def _pump(client: socket.socket, server: socket.socket) -> None:
    """Pass on what comes from either side until one hangs up; in one thread, since a TLS connection is not for two."""
    others = {client: server, server: client}
    while True:
        waiting = isinstance(client, ssl.SSLSocket) and client.pending()
        for source in [client] if waiting else select.select(list(others), [], [], LONGEST)[0]:
            data = source.recv(1 << 16)
            if not data:
                return
            others[source].sendall(data)


def _read_request(reader: BinaryIO, connection: int) -> Request | None:
    """Read a request whole; None where the client hangs up."""
    head = b"".join(takewhile(lambda line: line != b"\r\n", iter(reader.readline, b"")))
    length = re.search(rb"content-length: (\d+)", head.lower())
    body = reader.read(int(length[1]) if length else 0)
    return Request(connection, head, body) if head else None


@contextmanager
def _listening(handle: Callable[[socket.socket, BinaryIO, int], None], tls: ssl.SSLContext | None) -> Iterator[int]:
    """Handle every connection in a thread of its own, and give the port."""

    def talk(connection: socket.socket, number: int) -> None:
        connection.settimeout(LONGEST)
        with suppress(OSError), connection, ExitStack() as layers:  # the client may have had enough
            channel = layers.enter_context(tls.wrap_socket(connection, server_side=True)) if tls else connection
            handle(channel, layers.enter_context(channel.makefile("rb")), number)

    def accept() -> None:
        number = 0
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # closed: the test is over
                return
            number += 1
            threading.Thread(target=talk, args=(connection, number), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)
