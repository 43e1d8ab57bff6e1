"""Klar's endpoints: for each stream its addresses, the shape of a request, and the object that it takes.

Facts come from Klar's help pages (Refunds, Transaction Costs, and those on objects); what no page says is marked as
our reading.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from msgspec import UNSET, defstruct
from msgspec.json import Decoder

from target_klar.contract.costs import COGS, LOGISTICS_COST, TRANSACTION_COST
from target_klar.contract.orders import ORDER, pieces_and_net_of
from target_klar.contract.quality import rule_names
from target_klar.contract.refunds import REFUND, pieces_of
from target_klar.contract.schema import is_time, personal_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from target_klar.contract.schema import Node

Record: TypeAlias = dict[str, Any]
Amounts: TypeAlias = "float | tuple[tuple[str, float], ...]"
"""What one object adds to the control totals of its stream: a number to the only one, or one to each of those named."""


@dataclass(frozen=True)
class Contract:
    """All that the rest of the program knows about one of Klar's endpoints."""

    stream: str
    key: str
    """The field under which Klar keeps an object, so that the next one of the same key replaces it."""
    version: str
    """The version of the endpoint, MM.YYYY, unless its setting says otherwise (Klar's pages)."""
    schema: Node
    unaggregated: str
    """What a source may spread over several rows of one key, of which Klar keeps the last: a number, or an array."""
    total: str | None
    """The name of its control total: what is added up over the stored objects, to compare with the source.

    None: there are several, and each object names those that it adds to.
    """
    amounts_of: Callable[[Any], Amounts]
    """Returns what an object, read as its type, adds to it, or to them."""
    part_id: str | None = None
    """The field that tells the items of that array apart; None where it is a number."""
    per_piece: bool = False
    """Whether that number is for one piece, so that those of several rows are never added up."""
    envelope: str | None = None
    """The name of the array in the body; None where the body is the array itself."""
    validates: bool = True
    """Whether Klar checks a body of this stream without loading it."""
    status_names: tuple[str, ...] = ("status",)
    """What the path of its status may end in."""
    also_key: tuple[str, ...] = ()
    """The fields that belong to the key as well, those of them that are there."""
    cancels_by: str | None = None
    """The array that, sent empty, cancels what Klar holds under the key."""
    cancelled_at: str | None = None
    """The time that, in an object that is otherwise whole, says that it was cancelled."""

    @property
    def no_amounts(self) -> Amounts:
        """What an object adds to the control totals of which no amount can be read."""
        return () if self.total is None else 0.0

    @property
    def path(self) -> str:
        """What its addresses have in common, behind that of the API."""
        return self.stream.replace("_", "-")

    @property
    def status_paths(self) -> list[str]:
        """The paths that its status may have."""
        return [f"{self.path}/{name}" for name in self.status_names]

    @property
    def cancelling_field(self) -> str | None:
        """The field that cancels what Klar holds under the key, one way or the other, if there is one."""
        return self.cancels_by or self.cancelled_at

    @cached_property
    def personal(self) -> frozenset[str]:
        """The fields, at any level, of which no message shows a value."""
        return personal_names(self.schema)

    @cached_property
    def times(self) -> list[str]:
        """The fields that are times."""
        return [name for name, node in self.schema["properties"].items() if is_time(node)]

    @property
    def named(self) -> str:
        """What it is called in a sentence."""
        return "COGS" if self.stream == "cogs" else self.stream.replace("_", " ")

    @property
    def version_setting(self) -> str:
        """The setting for the version of the endpoint."""
        return f"{self.stream}_api_version"

    @cached_property
    def key_of(self) -> Callable[[Any], str]:
        """Returns the key of a decoded object; a key of several fields as JSON, which is unique."""
        return self._several if self.also_key else attrgetter(self.key)

    def _several(self, read: Any) -> str:
        names = (self.key, *self.also_key)
        return _joined([(name, str(value)) for name in names if (value := getattr(read, name)) is not UNSET])

    def key_in(self, record: Mapping[str, Any]) -> str | None:
        """Return what `key_of` would return for a conformed record that may lack other fields; None without its key.

        Where several fields are the key, the first alone is not: the mapping may lack the other one.
        """
        if not isinstance(record.get(self.key), str) or not record[self.key]:
            return None
        names = [name for name in (self.key, *self.also_key) if name in record]
        if not all(isinstance(record[name], str) for name in names) or (self.also_key and len(names) == 1):
            return None
        return _joined([(name, record[name]) for name in names]) if self.also_key else str(record[self.key])

    def describe_key(self, record: Mapping[str, Any]) -> str | None:
        """Return the whole key of a conformed record for a message, such as `1001 (sku A-1)`; None if it has none."""
        key, *others = (record.get(name) for name in (self.key, *self.also_key))
        if not isinstance(key, str) or not key:
            return None
        also = [f"{name} {other}" for name, other in zip(self.also_key, others, strict=True) if isinstance(other, str)]
        return f"{key} ({', '.join(also)})" if also else key

    def readable_key(self, key: str) -> str:
        """Return for a message what `key_of` returned."""
        return self.describe_key(json.loads(key)) or key if self.also_key else key

    def keys_in(self, body: bytes) -> set[str]:
        """Return the values of `key` in a request's body; nothing else of it is decoded."""
        objects = self._keys_decoder.decode(body)
        return {each.key for each in (objects if self.envelope is None else objects.array)}

    @cached_property
    def _keys_decoder(self) -> Decoder[Any]:
        objects: Any = list[defstruct("Keyed", [("key", str)], rename={"key": self.key})]  # type: ignore[misc]  # a type that is made at run time
        if self.envelope is not None:
            objects = defstruct("Body", [("array", objects)], rename={"array": self.envelope})
        return Decoder(objects)

    def body(self, objects: Iterable[bytes | memoryview]) -> bytes:
        """Return the body of a request that carries these objects, each as JSON, in this order."""
        array = b"[%b]" % b",".join(objects)
        return array if self.envelope is None else b'{"%b":%b}' % (self.envelope.encode(), array)


_quoted: Final = json.JSONEncoder().encode


def _joined(fields: Iterable[tuple[str, str]]) -> str:
    """Return fields as the JSON of an object; `json.dumps` takes many times as long for so few."""
    return "{" + ", ".join([f"{_quoted(name)}: {_quoted(value)}" for name, value in fields]) + "}"


_costs: Final = partial(Contract, key="orderId", envelope="items", total="amount")

CONTRACTS: Final[Mapping[str, Contract]] = MappingProxyType(
    {
        contract.stream: contract
        for contract in (
            Contract(
                stream="refunds",
                key="id",
                version="12.2022",
                cancels_by="lineItems",  # Klar's Refunds page
                unaggregated="lineItems",
                part_id="lineItemId",
                total="pieces",
                amounts_of=pieces_of,
                schema=REFUND,
            ),
            # The page says that an object holds the array, and not under which name: ours is that of its siblings.
            _costs(
                stream="transaction_costs",
                version="06.2024",
                # Klar's Transaction Costs page spells it `status` in its overview and `state` in the heading.
                status_names=("status", "state"),
                validates=False,
                unaggregated="transactionCosts",
                amounts_of=attrgetter("transactionCosts"),
                schema=TRANSACTION_COST,
            ),
            _costs(
                stream="logistics_costs",
                version="04.2024",
                unaggregated="totalLogisticsCosts",
                amounts_of=attrgetter("totalLogisticsCosts"),
                schema=LOGISTICS_COST,
            ),
            _costs(
                stream="cogs",
                also_key=("lineItemId", "sku"),
                version="12.2022",
                unaggregated="productCogs",
                per_piece=True,
                amounts_of=attrgetter("productCogs"),
                schema=COGS,
            ),
            Contract(
                stream="orders",
                key="id",
                version="12.2022",
                cancelled_at="cancelledAt",
                unaggregated="lineItems",
                part_id="id",
                total=None,
                amounts_of=pieces_and_net_of,
                schema=ORDER,
            ),
        )
    }
)

QUALITY_RULES: Final = frozenset(chain.from_iterable(rule_names(contract.schema) for contract in CONTRACTS.values()))
"""The names of all data quality rules."""
