"""Objects as Klar takes them, which a test changes where it is about something, and the contracts that they meet."""

from __future__ import annotations

from typing import Any

from target_klar.contract.streams import CONTRACTS

REFUNDS, COSTS, ORDERS = CONTRACTS["refunds"], CONTRACTS["transaction_costs"], CONTRACTS["orders"]

REFUND_TIME = 1_700_000_000


def refund(key: object = "R1", *items: dict[str, Any], **fields: object) -> dict[str, Any]:
    """A refund of some lines, or of one."""
    return {"id": key, "createdAt": REFUND_TIME, "lineItems": list(items) or [item()], **fields}


def item(line: object = "5", quantity: object = 1, **fields: object) -> dict[str, Any]:
    """A line of a refund."""
    return {"lineItemId": line, "refundedQuantity": quantity, **fields}


def order(key: object = "O1", *lines: dict[str, Any], **fields: object) -> dict[str, Any]:
    """An order of some lines, or of one."""
    return {"id": key, "createdAt": REFUND_TIME, "lineItems": list(lines) or [order_line()], **fields}


def order_line(key: object = "L1", quantity: object = 1, **fields: object) -> dict[str, Any]:
    """A line of an order."""
    return {"id": key, "quantity": quantity, **fields}


def cost(key: object = "O1", amount: object = 1.5, **fields: object) -> dict[str, Any]:
    """The costs of an order's payment."""
    return {"orderId": key, "transactionCosts": amount, **fields}
