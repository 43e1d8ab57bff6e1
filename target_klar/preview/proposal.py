"""Which stream map would help a stream of the tap's, as far as the names and the values of its columns tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from singer_sdk.mapper import MAPPER_ALIAS_OPTION, MAPPER_ELSE_OPTION, NULL_STRING

from target_klar import suggestions
from target_klar.contract.schema import is_time
from target_klar.maps_in_effect import definitions_of
from target_klar.records.convert import Conversions
from target_klar.records.decoders import DECODE_ERRORS, decoder_for
from target_klar.records.formatting import shorten
from target_klar.records.json_codec import ENCODE_ERRORS, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from target_klar.contract.schema import Node
    from target_klar.contract.streams import Contract, Record
    from target_klar.preview.first_lines import Sample

_MAX_TIMES: Final = 6


@dataclass
class Proposal:
    """What is missing, the likely matches, and the proposed stream map, which may be empty."""

    sentences: list[str]
    stream_map: Record


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


def propose(name: str, sample: Sample, contract: Contract, maps: Mapping[str, Any], fits: Fits) -> Proposal:
    """Return what may be made of a source stream for one of Klar's; `maps` are those of the configuration.

    A map that makes fields already is the user's own, and no other is proposed in its place.
    """
    theirs = definitions_of(maps, name)
    sentences = [*_missing(contract, sample, theirs), *suggestions.advice(contract, sample.records, fits)]
    is_plain = not theirs or (name in maps and len(theirs) == 1 and not theirs[0].keys() - {MAPPER_ALIAS_OPTION})
    made = suggestions.map_for(name, contract, sample.records, fits) if is_plain else {}
    return Proposal([*sentences, *suggestions.advice_on_filter(contract, made)], made)


def _missing(contract: Contract, sample: Sample, definitions: list[dict[str, Any]]) -> Iterator[str]:
    made = {field: expression for definition in definitions for field, expression in definition.items()}
    columns = [*sample.columns] if MAPPER_ELSE_OPTION not in made else []
    have = {*columns, *made}.difference(name for name, option in made.items() if option in (None, NULL_STRING))
    for each in suggestions.missing(contract.schema, have):
        near = [shorten(column) for column in suggestions.likely(f"{contract.stream}.{each}", sample.columns)]
        node = contract.schema["properties"][each]
        hint = f" It may be {' or '.join(near)}." if near else _hint(contract, node, sample)
        yield f"Klar wants `{each}` ({node['type']}: {node['description']}), which is missing.{hint}"
        line = [shorten(column) for column in suggestions.item_columns(each, contract, sample.columns)]
        if line:
            yield (
                f"With {' and '.join(line)} a record looks like one of the {each}. Klar wants all of them in one "
                "record, and keeps the last record of a key: aggregate them before target-klar."
            )


def _hint(contract: Contract, node: Node, sample: Sample) -> str:
    """Return which columns a field may be that none is called like: for a time those that hold times."""
    columns, own = suggestions.times(contract, sample.records) if is_time(node) else ([], False)
    if not columns:
        return " No column looks like it."
    named = [shorten(column) for column in columns[:_MAX_TIMES]]
    return f" It may be {' or '.join(named)}." if own else f" Columns that hold times: {', '.join(named)}."
