"""Addresses where nobody answers."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Silent:
    """An address like a Klar's where nobody ever answers."""

    token = "opens-nothing"

    def __init__(self, listener: socket.socket, scheme: str) -> None:
        self.url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def silence(*, full: bool, scheme: str = "http") -> Iterator[Silent]:
    """Listen and never accept; with a full queue not even the connection comes about."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        waiting = []
        for _ in range(4 if full else 0):
            waiting.append(socket.socket())
            waiting[-1].settimeout(0)
            waiting[-1].connect_ex(listener.getsockname())
        try:
            yield Silent(listener, scheme)
        finally:
            for each in waiting:
                each.close()
