"""The whole program as a process, and the Singer lines that go into it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from target_klar.sandbox import Sandbox

LONGEST_RUN = 120
"""Seconds after which a run counts as hanging; nothing here takes a tenth of it."""

REFUND_TIME = 1_700_000_000

Line = "dict[str, Any] | str | bytes"


@dataclass(frozen=True)
class Ended:
    """What a run left behind."""

    code: int
    out: str
    err: str

    @property
    def states(self) -> list[Any]:
        """The STATE values on stdout, in order."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def errors(self) -> list[str]:
        """The ERROR lines on stderr, without time and logger."""
        return [line.split("|", 3)[3].strip() for line in self.err.splitlines() if "| ERROR " in line]

    def said(self, text: str) -> list[str]:
        """The lines on stderr that hold a text."""
        return [line for line in self.err.splitlines() if text in line]


def start(config: dict[str, Any], *options: str, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start target-klar with a configuration, its three streams as pipes."""
    return subprocess.Popen(
        [sys.executable, "-m", "target_klar", "--config=ENV", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=variables(config) | (env or {}),
    )


def run(
    klar: Sandbox | None, lines: Iterable[Any] | Path, *options: str, env: dict[str, str] | None = None, **settings: Any
) -> Ended:
    """Run target-klar on Singer lines (messages, text or bytes), or on a file, until it ends."""
    config = {"api_token": klar.token, "api_url": klar.url} if klar else {}
    process = start(config | settings, *options, env=env)
    try:
        out, err = process.communicate(content(lines), timeout=LONGEST_RUN)
    finally:
        process.kill()
    return Ended(process.returncode, out.decode(), err.decode())


def variables(config: dict[str, Any]) -> dict[str, str]:
    """This process's environment with a configuration, and nothing else of target-klar's; None is not set."""
    foreign = {name: value for name, value in os.environ.items() if not name.startswith("TARGET_KLAR_")}
    return foreign | {
        f"TARGET_KLAR_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in config.items()
        if value is not None
    }


def content(lines: Iterable[Any] | Path) -> bytes:
    """What goes into stdin: Singer lines, or a file as it is."""
    return lines.read_bytes() if isinstance(lines, Path) else b"".join(map(line, lines))


def line(message: Any) -> bytes:
    """One Singer line: a message as a dict, or text or bytes as they stand."""
    if isinstance(message, bytes):
        return message + b"\n"
    return (message if isinstance(message, str) else json.dumps(message)).encode() + b"\n"


def schema(stream: str, key: str | None = None, **properties: Any) -> dict[str, Any]:
    """A SCHEMA message; the target does not check records against it."""
    key = key or ("orderId" if stream == "transaction_costs" else "id")
    properties = {key: {"type": ["string", "integer"]}, **properties}
    return {
        "type": "SCHEMA",
        "stream": stream,
        "schema": {"type": "object", "properties": properties},
        "key_properties": [key],
    }


def record(stream: str, **fields: Any) -> dict[str, Any]:
    """A RECORD message with the fields as they are given."""
    return {"type": "RECORD", "stream": stream, "record": fields}


def refund(key: str, quantity: Any = 1, **fields: Any) -> dict[str, Any]:
    """A RECORD of `refunds` that meets the contract; `quantity` tells versions apart."""
    item = {"lineItemId": f"L-{key}", "refundedQuantity": quantity}
    return record("refunds", **{"id": key, "createdAt": REFUND_TIME, "lineItems": [item], **fields})


def order(key: str, quantity: Any = 1) -> dict[str, Any]:
    """A RECORD of `orders` that meets the contract; `quantity` tells versions apart."""
    return record("orders", id=key, createdAt=REFUND_TIME, lineItems=[{"id": f"L-{key}", "quantity": quantity}])


def cost(key: str, amount: Any = 1) -> dict[str, Any]:
    """A RECORD of `transaction_costs` that meets the contract."""
    return record("transaction_costs", orderId=key, transactionCosts=amount)


def state(value: Any) -> dict[str, Any]:
    """A STATE message."""
    return {"type": "STATE", "value": value}


BY_STREAM = {"refunds": refund, "orders": order}
"""What makes a record, for each stream that a fault, a signal or a kill meets."""
REFUNDS = schema("refunds")
ORDERS = schema("orders")
COSTS = schema("transaction_costs")
