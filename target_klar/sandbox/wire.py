"""How an answer goes onto the wire: whole, or as a broken server or a broken network leaves it."""

from __future__ import annotations

import socket
import struct
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threading import Event

    from target_klar.sandbox.answers import Answer
    from target_klar.sandbox.faults import Manner

DRIP_SECONDS = 0.1
"""The pause between two bytes of an answer that trickles."""

FLOOD = b" " * 65536


def gone(connection: socket.socket) -> bool:
    """Tells whether the client has hung up, without taking anything off the connection."""
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def head(answer: Answer, length: int | None) -> bytes:
    """Returns the status line and the headers, with this Content-Length or none."""
    headers = [("Server", "target-klar-sandbox"), ("Date", formatdate(usegmt=True)), *answer.headers]
    if answer.body:
        headers.append(("Content-Type", answer.content_type))
    if length is None:
        headers.append(("Connection", "close"))
    elif answer.status != HTTPStatus.NO_CONTENT:
        headers.append(("Content-Length", str(length)))
    lines = [f"HTTP/1.1 {answer.status} {answer.phrase}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def deliver(connection: socket.socket, answer: Answer, manner: Manner, closing: Event) -> bool:
    """Sends an answer in a manner; returns whether the connection can be used again.

    What never ends by itself ends when the client hangs up, at times with an `OSError`, or the server closes.
    """
    if manner == "whole":
        connection.sendall(head(answer, len(answer.body)) + answer.body)
        return True
    if manner == "reset":
        # No lingering: closing the connection then sends RST in place of FIN.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif manner == "truncated":
        connection.sendall(head(answer, len(answer.body) + 100) + answer.body)
    elif manner == "hang":
        while not (gone(connection) or closing.wait(DRIP_SECONDS)):
            pass
    elif manner == "endless":
        connection.sendall(head(answer, None))
        # The pause keeps a client that reads it all from filling its memory before its time limit ends it.
        while not closing.wait(0.001):
            connection.sendall(FLOOD)
    else:
        whole = head(answer, 1_000_000)
        sent = whole if manner == "trickle" else whole.partition(b"\r\n")[0] + b"\r\nX-Slow: "
        connection.sendall(sent)
        while not closing.wait(DRIP_SECONDS):
            connection.sendall(b" " if manner == "trickle" else b".")
    return False
