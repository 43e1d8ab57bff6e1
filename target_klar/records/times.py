"""Times as sources write them, read as Unix seconds. What could be read in two ways is not read at all."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone
from typing import Final, NamedTuple

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
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
        return _moment_of_text(value.strip(_BLANKS))
    if isinstance(value, datetime):
        zoned = value.utcoffset() is not None
        aware = value if zoned else value.replace(tzinfo=timezone.utc)
        return Moment((aware - _EPOCH) // _SECOND, not zoned)
    if isinstance(value, date):
        return Moment((value.toordinal() - _EPOCH_DAY) * 86_400, assumed_utc=True)
    return None


def _moment_of_text(text: str) -> Moment | None:
    if digits := _SECONDS.fullmatch(text):
        return Moment(int(digits[1]), assumed_utc=False)
    found = _DATE_TIME.fullmatch(text)
    if found is None or text.isdigit():
        return None
    year, month, day, hour, minute, second, zh, zm, zs = (
        int(part or 0) for part in found.group("year", "month", "day", "hour", "minute", "second", "zh", "zm", "zs")
    )
    try:
        midnight = (date(year, month, day).toordinal() - _EPOCH_DAY) * 86_400
    except ValueError:  # no such day
        return None
    ahead = (zh * 60 + zm) * 60 + zs
    local = midnight + (hour * 60 + minute) * 60 + second
    return Moment(local + ahead if found["sign"] == "-" else local - ahead, assumed_utc=found["zone"] is None)
