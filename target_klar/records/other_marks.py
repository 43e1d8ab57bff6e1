"""Columns that look like a mark of deletion and do not count as one, and the stream map that makes one of them."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from target_klar.records.convert import Conversions, fold
from target_klar.records.deletions import DELETED_AT, DELETION_MARK, deleted_expression, deletion_fields, is_mark
from target_klar.records.formatting import counted, shorten
from target_klar.records.values import MISSING

if TYPE_CHECKING:
    from collections.abc import Mapping

_OF_THE_ROW: Final = "row|record|source|src|sys|system|meta|metadata|header|cdc|dms|hvr|etl|elt|datensatz|zeile"
"""What a row is called, and what brings it: a mark with such a word is one of the row itself."""
# A column of a pipeline's own begins with an underscore, and any of them that speaks of a deletion is meant; in another
# one nothing else may stand: `customer_deleted_at` and `deleted_lines` are of something else.
_PIPELINES_MARK: Final = re.compile(r"_.*(?:delet(?:ed|ion)|removed).*", re.DOTALL)
_SOURCES_MARK: Final = re.compile(
    rf"(?:{_OF_THE_ROW}|is|was|has|been|soft|hard|date|time|timestamp|ts|ist|wurde)*"
    r"(?:deleted?|deletion|removed|removal|gel(?:oe?|ö)scht|l(?:oe?|ö)sch(?:ung)?)"
    r"(?:at|on|date|time|timestamp|ts|utc|flag|ind|indicator|mark|marker|row|record|am|datum|zeit|kennzeichen|kz)*"
)
# What says which change brought the row: `_op`, `Op`, `_change_type`, `METADATA$ACTION`, `header__change_oper`.
_CHANGE: Final = re.compile(
    rf"(?:{_OF_THE_ROW}|dml|change|event)*"
    r"(?:op|oper|operation|action|changetype|eventtype|rowkind)(?:type|code|flag)*"
)
_NO_LETTER: Final = re.compile(r"[^a-zö]")
_DELETES: Final = ["d", "-d", "del", "delete", "deleted", "deletion"]
"""What such a column says of a deletion; nothing else that begins with a d does, such as `delivery`."""
_FALSE: Final = [
    *("", "false", "f", "no", "n", "off", "nein", "falsch", "never", "none", "null", "nan", "nat", "<na>", "n/a"),
]
"""What says in a mark that the record is alive, in small letters and without the signs of a zero date at its ends."""
_MAX_MARKS: Final = 20


@lru_cache(maxsize=64)
def _other_marks_among(names: tuple[Any, ...]) -> list[str]:
    return [
        name
        for name in names
        if isinstance(name, str)
        and fold(name) != fold(DELETED_AT)
        and (_PIPELINES_MARK.match(name.lower()) or _SOURCES_MARK.fullmatch(_letters(name)) or _names_change(name))
    ]


def _letters(name: str) -> str:
    return _NO_LETTER.sub("", name.lower())


@lru_cache(maxsize=64)
def _names_change(name: str) -> bool:
    return _CHANGE.fullmatch(_letters(name)) is not None


def _is_set(column: str, value: object) -> bool:
    """Tell whether a column that looks like a mark says that the record is deleted."""
    if not value:
        return False
    if not isinstance(value, (str, date, float, Decimal)):  # true, an integer of any size, what holds others
        return not _names_change(column)
    text = str(value).strip().lower()
    if _names_change(column):
        return text in _DELETES
    # The first and the last day of a calendar, and of computers, stand for no day.
    return text[:10].strip("0.-/") not in _FALSE and (text[4:5] != "-" or "1970" < text[:4] != "9999")


class OtherMarks:
    """Counts the records that were sent although a column that looks like a mark of deletion is set.

    The columns are those of the tap's record: a stream map that lists its fields would lose them.
    """

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._counts: Counter[tuple[str, str]] = Counter()  # by source stream and column
        self._own: dict[str, dict[str, None]] = {}
        """How source streams that have another mark spell the one that counts already."""
        self._unreadable: set[tuple[str, str]] = set()
        """The columns with a value that no mark can have, so that a map has to make true of it."""
        self._converter = Conversions().of_object(DELETION_MARK | {"required": []})

    def add(self, source_stream: str, record: Mapping[Any, Any], made: Mapping[Any, Any] | None = None) -> None:
        """Count a record that is sent, if a column of it looks like a mark; `made` is what a stream map made of it.

        A mark that the map sets itself decides.
        """
        marks = _other_marks_among(tuple(record))
        if not marks or (made is not None and deletion_fields(made) != deletion_fields(record)):
            return
        for name in marks:
            column = source_stream, name
            is_known = column in self._counts or len(self._counts) < _MAX_MARKS
            if is_known and _is_set(name, record[name]):
                self._counts[column] += 1
                self._own.setdefault(source_stream, {}).update(dict.fromkeys(deletion_fields(record)))
                mark = self._converter.convert({DELETED_AT: record[name]}).get(DELETED_AT, MISSING)
                if mark is MISSING or not is_mark(mark):
                    self._unreadable.add(column)
                return  # one mark of a record says enough

    def lines(self) -> list[str]:
        """Return a warning for each column: the number of records, and the map that makes a mark of it.

        A mark that counts already stays one, also that of a record which is still to come.
        """
        return [
            f"{self._stream}: {counted(count, 'record')} of {shorten(source_stream)} with {shorten(column)} "
            "set, which looks like a mark of deletion, did not count as deleted. If it is one, add it to the stream's "
            "map: " + json.dumps({source_stream: {DELETED_AT: self._either(source_stream, column)}}, ensure_ascii=False)
            for (source_stream, column), count in self._counts.items()
        ]

    def _either(self, source_stream: str, column: str) -> str:
        """Return the expression of a stream map that reads the mark that counts already, or else a column.

        It tells what is alive as `_is_set` does, and of the mark that counts already as a load does.
        """
        seen = self._own[source_stream]
        own = [f"record.get({name!r})" for name in seen or [DELETED_AT]]
        text = f"str(record.get({column!r}) or '').strip().lower()"
        if _names_change(column):
            return " or ".join([f"{text} in {_DELETES}", *own])
        if (source_stream, column) in self._unreadable:
            says_deleted = (
                f"text[:10].strip('0.-/') not in {_FALSE} and (text[4:5] != '-' or '1970' < text[:4] != '9999')"
            )
            return " or ".join([f"[{says_deleted} for text in [{text}]][0]", *own])
        # Text that says false is true in Python, and would hide the other mark.
        told = [f"{deleted_expression(name)} and {read}" for name, read in zip(seen, own, strict=True)] if seen else own
        return " or ".join([*told, f"record.get({column!r})"])
