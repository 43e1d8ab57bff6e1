"""Which stream map would help a stream of the tap's, as far as the names and the values of its columns tell."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from singer_sdk.mapper import MAPPER_ALIAS_OPTION, MAPPER_ELSE_OPTION, MAPPER_FILTER_OPTION, NULL_STRING

from target_klar.contract.schema import is_time
from target_klar.records.convert import fold
from target_klar.records.formatting import shorten
from target_klar.records.times import parse_time
from target_klar.suggestions.choices import Columns
from target_klar.suggestions.fields import item_columns, likely, missing, says_no_more
from target_klar.suggestions.stream_map import map_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from target_klar.contract.streams import Contract, Record

_MAX_TIMES: Final = 6
_UNLIKE: Final = " No column looks like it."


@dataclass
class Sample:
    """A stream of the tap: its columns, and its records among the lines that were read."""

    columns: dict[str, None] = field(default_factory=dict)
    """Those of its SCHEMA, and others that records bring."""
    records: list[Record] = field(default_factory=list)


@dataclass
class Proposal:
    """What is missing, the likely matches, and the proposed stream map, which may be empty."""

    sentences: list[str]
    stream_map: Record


def propose(
    name: str, sample: Sample, contract: Contract, theirs: Sequence[dict[str, Any]], *, by_pattern: bool
) -> Proposal:
    """Return what may be made of a source stream for one of Klar's; `theirs` are the user's maps of it.

    A map that makes fields already is the user's own, and no other is proposed in its place, nor in that of one that is
    for other streams as well, `by_pattern`.
    """
    columns = Columns(contract.stream, sample.records)
    made, advice = map_for(name, contract, columns)
    sentences = [*_missing(contract, sample.columns, theirs, columns), *advice]
    is_plain = not theirs or not (by_pattern or any(each.keys() - {MAPPER_ALIAS_OPTION} for each in theirs))
    if not is_plain:
        return Proposal(sentences, {})
    if MAPPER_FILTER_OPTION in made:
        sentences.append(
            f"`__filter__` below drops {contract.stream} with an empty list, which would cancel them at Klar. If that "
            "is what an empty list means in your source, leave the filter out."
        )
    return Proposal(sentences, made)


def _missing(
    contract: Contract, names: dict[str, None], theirs: Sequence[dict[str, Any]], columns: Columns
) -> Iterator[str]:
    made = {field: expression for definition in theirs for field, expression in definition.items()}
    own = [*names] if MAPPER_ELSE_OPTION not in made else []
    have = {*own, *made}.difference(name for name, option in made.items() if option in (None, NULL_STRING))
    for each in missing(contract.schema, have):
        near = [shorten(column) for column in likely(f"{contract.stream}.{each}", names)]
        node = contract.schema["properties"][each]
        hint = _hint(contract, columns) if is_time(node) else _UNLIKE
        hint = f" It may be {' or '.join(near)}." if near else hint
        yield f"Klar wants `{each}` ({node['type']}: {node['description']}), which is missing.{hint}"
        line = [shorten(column) for column in item_columns(each, contract, names)]
        if line:
            yield (
                f"With {' and '.join(line)} a record looks like one of the {each}. Klar wants all of them in one "
                "record, and keeps the last record of a key: aggregate them before target-klar."
            )


def _hint(contract: Contract, columns: Columns) -> str:
    """Return which columns hold times; those that only say what the records are (`refunded_at`) alone, if any does."""
    ours = {fold(field) for field in contract.schema["properties"]}
    found = [
        column
        for (column, *members), held in columns.values.items()
        if not members and held and fold(column) not in ours and all(map(_is_written_time, held))
    ]
    own = [column for column in found if says_no_more(contract.stream, column)]
    named = [shorten(column) for column in (own or found)[:_MAX_TIMES]]
    if own:
        return f" It may be {' or '.join(named)}."
    return f" Columns that hold times: {', '.join(named)}." if named else _UNLIKE


def _is_written_time(value: object) -> bool:
    return isinstance(value, str) and not value.isdigit() and parse_time(value) is not None
