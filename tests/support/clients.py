"""Clients of Klar for tests, what they send, and answers that keep the rules of HTTP."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from klar_objects import REFUNDS, refund

from target_klar.api.client import Client, Connection
from target_klar.records.json_codec import encode

if TYPE_CHECKING:
    from target_klar.sandbox import Sandbox

VERSIONS = {"refunds": "12.2022", "transaction_costs": "06.2024"}
TOKEN = "planted-token-5f2c"
ACCEPTED = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"


def client_of(
    klar: Sandbox | str,
    *,
    token: str | None = None,
    request_timeout: float = 10,
    retry_timeout: float = 30,
    **options: Any,
) -> Client:
    """A client of a local Klar, or of any address."""
    url, known = (klar, TOKEN) if isinstance(klar, str) else (klar.url, klar.token)
    connection = Connection(
        url,
        token or known,
        VERSIONS | options.pop("versions", {}),
        request_timeout,
        retry_timeout,
        "target-klar/9.9.9",
        first_wait=options.get("first_wait", 0.02),
    )
    return Client(connection, options.get("stop", threading.Event()), options.get("notices", []).append)


def submit(client: Client, *refunds: dict[str, Any]) -> Any:
    """Send refunds, or one of no interest."""
    return client.submit(REFUNDS, REFUNDS.body(map(encode, refunds or [refund()])))


def answer(status: str, body: bytes = b"", *headers: str) -> bytes:
    """A whole answer, after which the connection is closed."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body
