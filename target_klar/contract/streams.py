"""Klar's endpoints: for each stream its addresses, the shape of a request, and the object that it takes.

Facts come from Klar's help pages (Refunds, Transaction Costs, and those on objects); what no page says is marked as
our reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from target_klar.contract.costs import TRANSACTION_COSTS
from target_klar.contract.refunds import REFUND

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from target_klar.contract.schema import Node

Record: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Contract:
    """All that the rest of the program knows about one of Klar's endpoints."""

    stream: str
    key: str
    path: str
    version_setting: str
    status_paths: tuple[str, ...]
    schema: Node
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

    def body(self, objects: Iterable[bytes | memoryview]) -> bytes:
        """Return the body of a request that carries these objects, each as JSON, in this order."""
        array = b"[%b]" % b",".join(objects)
        return array if self.envelope is None else b'{"%b":%b}' % (self.envelope.encode(), array)


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
                schema=REFUND,
            ),
            Contract(
                stream="transaction_costs",
                key="orderId",
                path="transaction-costs",
                version_setting="transaction_costs_api_version",
                # Klar's Transaction Costs page spells it `status` in its overview and `state` in the heading.
                status_paths=("transaction-costs/status", "transaction-costs/state"),
                # The page says that an object holds the array, and not under which name: ours is that of its siblings.
                envelope="items",
                parts="transactionCosts",
                schema=TRANSACTION_COSTS,
            ),
        )
    }
)
