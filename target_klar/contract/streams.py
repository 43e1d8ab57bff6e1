"""What Klar accepts, as data: for each stream its addresses, the shape of a request, a closed JSON Schema.

Facts come from Klar's help pages (Refunds, Transaction Costs, and those on objects). What no page says is our
reading; all of it stands together below, to be changed there when Klar says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Record: TypeAlias = dict[str, Any]

TEXT: Final = {"type": "string"}
KEY: Final = {"type": "string", "minLength": 1}
NUMBER: Final = {"type": "number"}

# --- Our reading: what Klar's pages do not say ---

# Klar wants seconds, and no 0 for an unknown time (Refunds page). The bounds are ours: they tell seconds from
# milliseconds (longer) and from dates written as numbers, such as 20240101 or 45292 (shorter).
UNIX_SECONDS: Final[dict[str, Any]] = {
    "type": "number",
    "minimum": 100_000_000,
    "maximum": 9_999_999_999,
    "format": "unix-seconds",
}

# The body of transaction costs is an object that holds the array (Transaction Costs page). The page does not
# name the array; `items` is its name at the sibling endpoints.
COSTS_ENVELOPE: Final = "items"

# Klar's pages name the type RefundedLineItem, and of its fields `refundedQuantity` alone. The others are what
# Klar's Magento module sends for the refunded lines of an order.
LINE_ITEM_FIELDS: Final = {
    "id": TEXT,
    "lineItemId": TEXT,
    "refundedQuantity": NUMBER,
    "reasonDescriptor": TEXT,
    "createdAt": UNIX_SECONDS,
    "processedAt": UNIX_SECONDS,
}

# Klar's pages do not list the required fields: these are the ones without which an object says nothing.
LINE_ITEM_REQUIRED: Final = ["lineItemId", "refundedQuantity"]
REFUND_REQUIRED: Final = ["id", "createdAt", "lineItems"]
COSTS_REQUIRED: Final = ["orderId", "transactionCosts"]

# --- End of our reading ---

JSON: Final = msgspec.json.Encoder(decimal_format="number")
"""Writes every number with the digits that it has."""


def is_time(node: Mapping[str, Any]) -> bool:
    """Tell whether a node of a schema wants Unix seconds."""
    return bool(node.get("format") == UNIX_SECONDS["format"])


def _closed(fields: Mapping[str, Any], required: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(fields),
        "required": list(required),
        "additionalProperties": False,
    }


@dataclass(frozen=True)
class Contract:
    """All that the rest of the program knows about one of Klar's endpoints."""

    stream: str
    key: str
    path: str
    version_setting: str
    status_paths: tuple[str, ...]
    schema: dict[str, Any]
    parts: str
    """What a source may spread over several rows of one key, of which Klar keeps the last: a number, or an array."""
    part_ids: tuple[str, ...] = ()
    """The fields that tell the items of that array apart; none where it is a number."""
    envelope: str | None = None
    """The name of the array in the body; None where the body is the array itself."""
    validates: bool = False
    """Whether Klar checks a body of this stream without loading it."""
    cancels_by: str | None = None
    """The array that, sent empty, cancels what Klar holds under the key."""

    def body(self, records: Sequence[Record | msgspec.Raw]) -> bytes:
        """Return the body of a request that carries these records, or their JSON, in this order."""
        objects = list(records)
        return JSON.encode(objects if self.envelope is None else {self.envelope: objects})


CONTRACTS: Final[Mapping[str, Contract]] = MappingProxyType(
    {
        contract.stream: contract
        for contract in (
            Contract(
                stream="refunds",
                key="id",
                path="refunds",
                version_setting="refunds_api_version",
                status_paths=("refunds/status",),
                validates=True,
                cancels_by="lineItems",  # Klar's Refunds page
                parts="lineItems",
                part_ids=("lineItemId", "id"),
                schema=_closed(
                    {
                        "id": KEY,
                        "createdAt": UNIX_SECONDS,
                        "updatedAt": UNIX_SECONDS,
                        "lineItems": {
                            "type": "array",
                            "items": _closed(LINE_ITEM_FIELDS, LINE_ITEM_REQUIRED),
                        },
                    },
                    REFUND_REQUIRED,
                ),
            ),
            Contract(
                stream="transaction_costs",
                key="orderId",
                path="transaction-costs",
                version_setting="transaction_costs_api_version",
                # Klar's Transaction Costs page spells it `status` in its overview and `state` in the heading.
                status_paths=("transaction-costs/status", "transaction-costs/state"),
                envelope=COSTS_ENVELOPE,
                parts="transactionCosts",
                schema=_closed({"orderId": KEY, "transactionCosts": NUMBER}, COSTS_REQUIRED),
            ),
        )
    }
)
