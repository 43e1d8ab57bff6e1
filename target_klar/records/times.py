"""Times as sources write them, read as Unix seconds. What could be read in two ways is not read at all."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache
from typing import Final, NamedTuple

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
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
# How sources say that there is no time: nothing, zero, and MySQL's zero date.
_NO_TIME: Final = re.compile(
    r"(?:0+(?:\.0*)?)?|0000-00-00(?:[T\ ]00:00(?::00(?:[.,]0+)?)?" + _ZONE + r")?", re.ASCII | re.IGNORECASE
)
_ZONE_ALONE: Final = re.compile(_ZONE, re.ASCII | re.IGNORECASE)
_LONGEST_ZONE: Final = 10
_SEPARATORS: Final = ("--T::", "-- ::")
_POINTS: Final = (".", ",")
_SECONDS: Final = re.compile(r"(\d{9,10})(?:\.\d*)?", re.ASCII)


class Moment(NamedTuple):
    """Whole Unix seconds, and whether the zone was missing, so that UTC had to be assumed."""

    seconds: int
    assumed_utc: bool


def says_no_time(text: str) -> bool:
    """Tell whether a source writes this text where it has no time."""
    return _NO_TIME.fullmatch(text.strip(_BLANKS)) is not None


def moment(value: object) -> Moment | None:
    """Read a text, a date or a datetime; None if it is not clearly a time. A fraction of a second is cut off.

    Digits alone are seconds if there are 9 or 10 of them; others may be dates or milliseconds.
    """
    if isinstance(value, str):
        return _remembered(value) if len(value) <= _LONGEST_REMEMBERED else _of_text(value)
    if isinstance(value, datetime):
        zoned = value.utcoffset() is not None
        aware = value if zoned else value.replace(tzinfo=timezone.utc)
        return Moment((aware - _EPOCH) // _SECOND, not zoned)
    if isinstance(value, date):
        return Moment((value.toordinal() - _EPOCH_DAY) * 86_400, assumed_utc=True)
    return None


def _of_text(text: str) -> Moment | None:
    return _usual(text) or _any(text.strip(_BLANKS))


# A record repeats its times: in what created, changed and shipped it, and in each of its lines.
_remembered: Final = lru_cache(maxsize=256)(_of_text)
_LONGEST_REMEMBERED: Final = 50


def _usual(text: str) -> Moment | None:
    """Read the form that most sources write, `2024-01-31T10:00:00` and a zone, in a third of the time of the pattern.

    What `datetime.fromisoformat` reads differs from one Python to the next, so it is given nothing but the one form
    that all read alike: its separators are where they have to be, and its hour is not 24.
    """
    if text[4:17:3] not in _SEPARATORS or text[11:13] == "24":
        return None
    zone = text[19:]
    if zone[:1] in _POINTS:
        digits, zone = zone[1:], zone[1:].lstrip("0123456789")
        if len(zone) == len(digits):
            return None
    ahead = _ahead(zone) if len(zone) <= _LONGEST_ZONE else None
    if ahead is None:
        return None
    try:
        local = datetime.fromisoformat(text[:19]) - _EPOCH_UNZONED
    except ValueError:  # no such day or time
        return None
    return Moment(local.days * 86_400 + local.seconds - ahead, not zone)


@lru_cache(maxsize=64)
def _ahead(zone: str) -> int | None:
    """Return how many seconds a zone is ahead of UTC; None for what is no zone."""
    found = _ZONE_ALONE.fullmatch(zone)
    if found is None:
        return None
    hours, minutes, seconds = (int(part or 0) for part in found.group("zh", "zm", "zs"))
    ahead = (hours * 60 + minutes) * 60 + seconds
    return -ahead if found["sign"] == "-" else ahead


def _any(text: str) -> Moment | None:
    if digits := _SECONDS.fullmatch(text):
        return Moment(int(digits[1]), assumed_utc=False)
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
    local = midnight + (hour * 60 + minute) * 60 + second
    zone = found["zone"]
    return Moment(local - (_ahead(zone) or 0) if zone else local, assumed_utc=zone is None)
