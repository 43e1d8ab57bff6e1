"""What Klar's answers say: a verdict on the objects of a request, and the status of a stream."""

from __future__ import annotations

import enum
import re
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

_FRACTION = re.compile(r"[.,](\d+)")
_ZONE = re.compile(r"([+-]\d\d)(\d\d)$")
_decode = msgspec.json.Decoder(float_hook=Decimal).decode


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


class Status(NamedTuple):
    """One reading of Klar's status: numbers come as text, times as ISO 8601 in UTC (both help pages)."""

    total: str | None
    last_batch_count: str | None
    last_success: str | None
    last_failure: str | None

    @classmethod
    def of(cls, content: dict[str, Any]) -> Status:
        """Read Klar's status object; what a data source that was never used lacks is None."""
        figures = (content.get(name) for name in ("total", "lastBatchCount", "lastSuccess", "lastFailure"))
        return cls(*(None if figure is None else str(figure) for figure in figures))

    def newer_than(self, other: Status | None) -> bool:
        """Tell whether Klar booked a load after the one that `other` shows (None: after none at all)."""
        mine, known = _moment(self.last_success), _moment(other.last_success if other else None)
        return mine is not None and (known is None or mine > known)


def read_json(body: bytes | msgspec.Raw) -> Any:
    """Return the JSON of an answer, numbers digit for digit; None where it is none."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None


def _moment(text: str | None) -> datetime | None:
    try:
        read = datetime.fromisoformat(_as_written_by_python(text)) if text else None
    except ValueError:
        return None
    return read.replace(tzinfo=timezone.utc) if read and read.tzinfo is None else read


def _as_written_by_python(text: str) -> str:
    """Bring an ISO 8601 time into the one form that `fromisoformat` reads in every Python."""
    whole = _FRACTION.sub(lambda fraction: f".{fraction[1][:6]:0<6}", text.strip().upper().replace("Z", "+00:00"))
    return _ZONE.sub(r"\1:\2", whole)
