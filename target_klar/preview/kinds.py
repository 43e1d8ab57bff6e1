"""Columns that tell kinds of records apart, such as a status: without a filter every kind is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from singer_sdk.mapper import MAPPER_FILTER_OPTION

from target_klar.contract.streams import CONTRACTS
from target_klar.preview.values import is_plain
from target_klar.records.convert import fold
from target_klar.records.formatting import listed, shorten
from target_klar.stream_maps.columns import expressions_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from target_klar.suggestions import Sample

_MAX_KINDS: Final = 8
_RECORDS_A_KIND: Final = 5
_MAX_NAMED: Final = 6
_FIELDS: Final = {fold(field) for contract in CONTRACTS.values() for field in contract.schema["properties"]}


def kinds(sample: Sample, definitions: Sequence[Mapping[str, Any]], cancels_by: str | None) -> Iterator[str]:
    """Yield a sentence on the columns of words that come again and again, unless a map's filter chooses already.

    `cancels_by` is the array that, sent empty, cancels a record at Klar, if there is one.

    No value is shown: a word may be a name.
    """
    expressions = expressions_of(definitions)
    if any(each.field == MAPPER_FILTER_OPTION for each in expressions):
        return
    read = {column for each in expressions for column in each.columns}
    found = {column: _kinds([record.get(column) for record in sample.records]) for column in sample.columns}
    named = [
        f"{shorten(column)} ({count})"
        for column, count in found.items()
        if count and column not in read and fold(column) not in _FIELDS
    ]
    if named:
        cancelled = f"; what was loaded and is cancelled later has to come with `{cancels_by}: []`" * bool(cancels_by)
        yield (
            f"Columns of few different values: {listed(named, _MAX_NAMED)}. If not all records belong at "
            f"Klar, choose with `__filter__`{cancelled}."
        )


def _kinds(values: Collection[object]) -> int:
    """Return how many different words a column holds, if they are few, each comes often, and all of them are words."""
    texts = [value for value in values if value not in (None, "")]
    if not all(isinstance(value, str) and not is_plain(value) for value in texts):
        return 0
    count = len(set(texts))
    return count if 1 < count <= _MAX_KINDS and len(texts) >= _RECORDS_A_KIND * count else 0
