"""Times as sources write them, read as Unix seconds. What could be read in two ways is not read at all."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final, TypeAlias

Moment: TypeAlias = tuple[int, bool]
"""Whole Unix seconds, and whether the zone was missing, so that UTC had to be assumed."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_UNZONED: Final = datetime(1970, 1, 1)  # noqa: DTZ001  # what is read has no zone either
_EPOCH_DAY: Final = _EPOCH.toordinal()
_SECOND: Final = timedelta(seconds=1)
_BLANKS: Final = " \t\r\n"
_ZONE: Final = (
    r"(?:\ ?(?P<zone>Z|UTC|GMT"
    r"|(?P<sign>[+-])(?P<zh>[01]\d|2[0-3])(?::?(?P<zm>[0-5]\d)(?::?(?P<zs>[0-5]\d))?)?))?"
)

# ISO 8601 in its extended and its basic form, and the timestamps of SQL databases. What
# `datetime.fromisoformat` reads differs from one Python to the next.
_DATE_TIME: Final = re.compile(
    r"(?P<year>\d{4})(?P<dash>-)?(?P<month>\d\d)(?(dash)-)(?P<day>\d\d)"
    r"(?:[T\ ](?P<hour>[01]\d|2[0-3])(?(dash):)(?P<minute>[0-5]\d)"
    r"(?:(?(dash):)(?P<second>[0-5]\d|60)(?:[.,]\d+)?)?" + _ZONE + r")?",
    re.ASCII | re.IGNORECASE,
)
# What sources write for a missing time: nothing, zero, MySQL's zero date.
_NO_TIME: Final = re.compile(
    r"(?:0+(?:\.0*)?)?|0000-00-00(?:[T\ ]00:00(?::00(?:[.,]0+)?)?" + _ZONE + r")?", re.ASCII | re.IGNORECASE
)
_BEHIND_SECONDS: Final = re.compile(r"(?:[.,]\d+)?" + _ZONE, re.ASCII | re.IGNORECASE)
_SEPARATORS: Final = ("--T::", "-- ::")
_LONGEST_USUAL: Final = 50
_SECONDS: Final = re.compile(r"(\d{9,10})(?:\.\d*)?", re.ASCII)


def is_empty_time(text: str) -> bool:
    """Tell whether a source writes this text where it has no time."""
    return _NO_TIME.fullmatch(text.strip(_BLANKS)) is not None


def parse_time(value: object) -> Moment | None:
    """Read a text, a date or a datetime; None if it is not clearly a time. A fraction of a second is cut off.

    Digits alone are seconds if there are 9 or 10 of them; others may be dates or milliseconds.
    """
    if isinstance(value, str):
        return _usual(value) or _any(value.strip(_BLANKS))
    if isinstance(value, datetime):
        zoned = value.utcoffset() is not None
        aware = value if zoned else value.replace(tzinfo=UTC)
        return (aware - _EPOCH) // _SECOND, not zoned
    if isinstance(value, date):
        return (value.toordinal() - _EPOCH_DAY) * 86_400, True
    return None


def _usual(text: str) -> Moment | None:
    """Read the form that most sources write, `2024-01-31T10:00:00` and a zone, in a third of the time of the pattern.

    What `datetime.fromisoformat` reads differs from one Python to the next, so it is given nothing but the one form
    that all read alike: its separators are where they have to be, and its hour is not 24.
    """
    if text[4:17:3] not in _SEPARATORS or text[11:13] == "24" or len(text) > _LONGEST_USUAL:
        return None
    zone = _zone(text[19:])
    if zone is None:
        return None
    ahead, assumed_utc = zone
    try:
        local = datetime.fromisoformat(text[:19]) - _EPOCH_UNZONED
    except ValueError:  # no such day or time
        return None
    return local.days * 86_400 + local.seconds - ahead, assumed_utc


@lru_cache(maxsize=256)
def _zone(text: str) -> tuple[int, bool] | None:
    """Return how many seconds a zone is ahead of UTC, and whether there is none; a fraction may stand before it."""
    found = _BEHIND_SECONDS.fullmatch(text)
    return (_ahead(found), found["zone"] is None) if found else None


def _any(text: str) -> Moment | None:
    if digits := _SECONDS.fullmatch(text):
        return int(digits[1]), False
    found = _DATE_TIME.fullmatch(text)
    if found is None or text.isdigit():
        return None
    year, month, day, hour, minute, second = (
        int(part or 0) for part in found.group("year", "month", "day", "hour", "minute", "second")
    )
    try:
        midnight = (date(year, month, day).toordinal() - _EPOCH_DAY) * 86_400
    except ValueError:  # no such day
        return None
    return midnight + (hour * 60 + minute) * 60 + second - _ahead(found), found["zone"] is None


def _ahead(found: re.Match[str]) -> int:
    hours, minutes, seconds = (int(part or 0) for part in found.group("zh", "zm", "zs"))
    ahead = (hours * 60 + minutes) * 60 + seconds
    return -ahead if found["sign"] == "-" else ahead
