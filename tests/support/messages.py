"""Singer messages that go into the program, and how they are written as lines."""

from __future__ import annotations

import json
from typing import Any

from klar_objects import cost, item, order, order_line, refund


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


def refund_record(key: str, quantity: Any = 1, **fields: Any) -> dict[str, Any]:
    """A RECORD of `refunds` that meets the contract; `quantity` tells versions apart."""
    return record("refunds", **refund(key, item(f"L-{key}", quantity), **fields))


def order_record(key: str, quantity: Any = 1) -> dict[str, Any]:
    """A RECORD of `orders` that meets the contract; `quantity` tells versions apart."""
    return record("orders", **order(key, order_line(f"L-{key}", quantity)))


def cost_record(key: str, amount: Any = 1) -> dict[str, Any]:
    """A RECORD of `transaction_costs` that meets the contract."""
    return record("transaction_costs", **cost(key, amount))


def state(value: Any) -> dict[str, Any]:
    """A STATE message."""
    return {"type": "STATE", "value": value}


def line(message: Any) -> bytes:
    """One Singer line: a message as a dict, or text or bytes as they stand."""
    if isinstance(message, bytes):
        return message + b"\n"
    return (message if isinstance(message, str) else json.dumps(message)).encode() + b"\n"


BY_STREAM = {"refunds": refund_record, "orders": order_record}
"""What makes a record, for each stream that a fault, a signal or a kill meets."""
REFUNDS_SCHEMA = schema("refunds")
ORDERS_SCHEMA = schema("orders")
COSTS_SCHEMA = schema("transaction_costs")
