"""Calls to a local Klar that need no target."""

from __future__ import annotations

import json
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import requests

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_klar.sandbox import Sandbox

REFUNDS_PATH, VALIDATE_PATH = "/12.2022/refunds/json", "/12.2022/refunds/validate"
COSTS_PATH = "/06.2024/transaction-costs/json"


@contextmanager
def closed_port() -> Iterator[str]:
    """An address of this machine at which nothing listens, and nobody else can as long as the block lasts."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


def call(klar: Sandbox, method: str, path: str, body: object = None, **headers: str | None) -> requests.Response:
    sent = body if isinstance(body, str | None) else json.dumps(body)
    with requests.Session() as session:
        session.trust_env = False
        session.headers.update({"Authorization": f"Bearer {klar.token}", "Content-Type": "application/json"})
        return session.request(method, klar.url + path, data=sent, headers=headers, timeout=10)


def post(klar: Sandbox, path: str, body: object, **headers: str | None) -> requests.Response:
    return call(klar, "POST", path, body, **headers)


def status(klar: Sandbox, path: str = "/refunds/status") -> dict[str, str]:
    figures: dict[str, str] = call(klar, "GET", path).json()
    return figures
