"""Whether a value can be made into what Klar wants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_klar.records.convert import Conversions
from target_klar.records.decoders import DECODE_ERRORS, decoder_for
from target_klar.records.json_codec import ENCODE_ERRORS, encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_klar.contract.schema import Node


class Fits:
    """Tells whether a value can be made into what a node of the contract wants; each node is compiled once."""

    def __init__(self) -> None:
        self._compiled: dict[int, tuple[Node, Callable[[object], bool]]] = {}

    def __call__(self, node: Node, value: object) -> bool:
        """Return whether it can."""
        if id(node) not in self._compiled:
            self._compiled[id(node)] = node, _judge(node)  # held, so that no other node gets its id
        return self._compiled[id(node)][1](value)


def _judge(node: Node) -> Callable[[object], bool]:
    schema = {"type": "object", "properties": {"it": node}, "required": ["it"], "additionalProperties": False}
    convert, read = Conversions().of_object(schema).convert, decoder_for(schema)

    def fits(value: object) -> bool:
        try:
            read(encode(convert({"it": value})))
        except (*ENCODE_ERRORS, *DECODE_ERRORS):
            return False
        return True

    return fits
