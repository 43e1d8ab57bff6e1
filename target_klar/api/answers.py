"""What Klar's answers say: a verdict on the objects of a request, and the status of a stream.

What is known to be an acceptance is one, and nothing else is. Text of Klar's is made harmless here, where it comes in.
"""

from __future__ import annotations

import enum
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

from target_klar.records.formatting import shorten
from target_klar.records.json_codec import read_strictly

_MAX_QUOTED: Final = 120
_REFUSING: Final = (400, 422)
_TOO_LARGE: Final = 413
_MULTI_STATUS: Final = 207
_TAKING: Final = (200, 201, 202, 204, _MULTI_STATUS)
_TEMPORARY: Final = (408, 425, 429)  # and every 5xx, as Klar's Magento module has it
_FRACTION = re.compile(r"[.,](\d+)")
_ZONE = re.compile(r"([+-]\d\d)(\d\d)$")


class Verdict(enum.Enum):
    """What Klar made of the objects of one request."""

    ACCEPTED = "accepted"
    PARTIAL = "partial"
    REFUSED = "refused"
    TOO_LARGE = "too large"


class Answer(NamedTuple):
    """Klar's verdict on one request, and the JSON (or the start of the text) that came with it."""

    verdict: Verdict
    content: Any = None


def is_temporary(status: int) -> bool:
    """Tell whether an HTTP status says no more than that another try may be answered."""
    return status in _TEMPORARY or status >= 500  # noqa: PLR2004  # every 5xx


def why_no_answer(status: int, body: bytes, *, ends: bool) -> str | None:
    """Say why a whole HTTP answer is none of Klar's, so that only another try can tell; None where it may be one.

    `ends` tells whether the answer announced where its body ends: of one that does not, a proxy may have cut any part.
    """
    if is_temporary(status):
        return f"HTTP {status}"
    if status in _TAKING and not body and not ends:
        return f"HTTP {status} with an empty body of no announced length, which a proxy may have cut"
    if status in _TAKING and body and read_strictly(body) is None:
        return f"HTTP {status} with a body that is not Klar's"
    return None


def judge(status: int, body: bytes) -> Answer | None:
    """Return what an answer of Klar's to a POST says of the objects that were sent; None where it says something else.

    The statuses and the words VALID, INVALID and PARTIALLY_VALID are those of Klar's help pages and its Magento module.
    """
    if status == _TOO_LARGE:
        return Answer(Verdict.TOO_LARGE, "the request is too large for Klar (HTTP 413)")
    if status in _REFUSING:
        return Answer(Verdict.REFUSED, read_strictly(body.decode(errors="replace")) or quote(body))
    if status not in _TAKING:
        return None
    content = read_strictly(body)
    said = content.get("status") if isinstance(content, dict) else None
    if said == "INVALID":
        return Answer(Verdict.REFUSED, content)
    if said == "PARTIALLY_VALID" or status == _MULTI_STATUS:
        return Answer(Verdict.PARTIAL, content)
    return Answer(Verdict.ACCEPTED, content) if said == "VALID" or not body else None


class Status(NamedTuple):
    """One reading of Klar's status: numbers come as text, times as ISO 8601 in UTC (both help pages)."""

    total: str | None
    last_batch_count: str | None
    last_success: str | None
    last_failure: str | None

    @classmethod
    def of(cls, content: dict[str, Any]) -> Status:
        """Read Klar's status object; what a data source that was never used lacks, or is no figure, is None."""
        figures = (content.get(name) for name in ("total", "lastBatchCount", "lastSuccess", "lastFailure"))
        return cls(*(shorten(str(figure)) if isinstance(figure, str | int | Decimal) else None for figure in figures))

    def newer_than(self, other: Status | None) -> bool:
        """Tell whether Klar booked a load after the one that `other` shows (None: after none at all).

        Where Klar writes whole seconds, two loads may have one time. Then the figures tell, unless a failure, which may
        move them too, came between.
        """
        mine, known = _moment(self.last_success), _moment(other.last_success if other else None)
        if mine is None or other is None or mine != known or self.last_failure != other.last_failure:
            return mine is not None and (known is None or mine > known)
        return (_amount(self.total), self.last_batch_count != other.last_batch_count) > (_amount(other.total), False)


def quote(body: bytes) -> str:
    """Return the start of an answer's text, on one line and fit for a message."""
    text = " ".join(body[: 4 * _MAX_QUOTED].decode(errors="replace").split())
    return shorten(text, _MAX_QUOTED) or "(an empty body)"


def _amount(total: str | None) -> int:
    return int(total) if total and total.isdecimal() else 0


def _moment(text: str | None) -> datetime | None:
    try:
        read = datetime.fromisoformat(_as_written_by_python(text)) if text else None
    except ValueError:
        return None
    return read.replace(tzinfo=UTC) if read and read.tzinfo is None else read


def _as_written_by_python(text: str) -> str:
    """Bring an ISO 8601 time into the one form that `fromisoformat` reads in every Python."""
    whole = _FRACTION.sub(lambda fraction: f".{fraction[1][:6]:0<6}", text.strip().upper().replace("Z", "+00:00"))
    return _ZONE.sub(r"\1:\2", whole)
