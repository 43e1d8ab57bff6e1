"""What Klar's answers say: a verdict on the objects of a request, and the status of a stream.

What is known to be an acceptance is one, and nothing else is. Text of Klar's is made harmless here, where it comes in.
"""

from __future__ import annotations

import enum
import re
import time
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from target_klar.api.framing import MAX_BODY
from target_klar.api.pages import describe_body, is_klars, quote
from target_klar.records.formatting import shorten
from target_klar.records.json_codec import NestedTooDeepError, NotJSONError, decode, has_two_values, read_strictly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REFUSES_TOKEN: Final = (401, 403)
_REJECTING: Final = (400, 422)
_NOT_FOUND: Final = 404
_TOO_LARGE: Final = 413
_MULTI_STATUS: Final = 207
_ACCEPTING: Final = (200, 201, 202, 204, _MULTI_STATUS)
_TEMPORARY: Final = (408, 425, 429)  # and every 5xx, as Klar's Magento module has it
FAILURE: Final = re.compile("fail|error|invalid|reject|unsuccess|skip|ignor", re.IGNORECASE)
"""In the name of a member that says what was not taken."""
_SUCCESSES: Final = re.compile(r"success\w*ids$", re.IGNORECASE)
"""The name of a list of what was taken: `successfulOrderIds`, which Klar's pages show in a partial acceptance alone."""
NO_FAILURE: Final[tuple[Any, ...]] = (None, False, 0, "", "0", [], {})
"""The values with which it says that there is nothing."""
_STATUS_MEMBERS: Final = ("total", "lastBatchCount", "lastSuccess", "lastFailure")
_LONGEST_WAIT: Final = 1e10


class Verdict(enum.Enum):
    """What Klar made of the objects of one request."""

    ACCEPTED = "accepted"
    PARTIAL = "partial"
    REJECTED = "rejected"
    TOO_LARGE = "too large"
    NOT_KLARS = "refused, but not by Klar"


class Answer(NamedTuple):
    """Klar's verdict on one request, and the JSON that came with it; of what is not Klar's a description."""

    verdict: Verdict
    content: Any = None


def is_temporary(status: int) -> bool:
    """Tell whether an HTTP status says no more than that another try may be answered."""
    return status in _TEMPORARY or status >= 500  # noqa: PLR2004  # every 5xx


def is_foreign_refusal(status: int, body: bytes) -> bool:
    """Tell whether somebody other than Klar refuses the request, with a page or with plain text."""
    return status in _REJECTING and bool(body.strip()) and not is_klars(body)


def why_no_answer(status: int, body: bytes, *, announced: bool, may_be_empty: bool) -> str | None:
    """Say why an HTTP answer is not Klar's, so that the request has to be retried; None if it may be Klar's.

    `announced` tells whether the answer said where its body ends: of one that did not, a proxy may have cut any part.
    `may_be_empty` tells whether Klar answers this request with an empty body.
    """
    if is_temporary(status):
        what = describe_body(body) if body.strip() and not is_klars(body) else None
    elif status not in (*_ACCEPTING, *_REJECTING):
        return None
    elif body:
        what = _what_is_wrong(status, body)
    elif status in _ACCEPTING and status != _MULTI_STATUS and may_be_empty:
        what = None if announced else "an empty body of no announced length, which a proxy may have cut"
    else:
        what = "an empty body"
    if what is None:
        return f"HTTP {status}" if is_temporary(status) else None
    return f"HTTP {status} with {what}"


def judge(status: int, body: bytes, keys_sent: Callable[[], set[str]]) -> Answer | None:
    """Return what an answer to a POST says of the objects that were sent; None where it says something else.

    `keys_sent` returns the keys of these; it is called only for an acceptance that lists ids.
    The statuses and the words VALID, INVALID and PARTIALLY_VALID are those of Klar's help pages and its Magento module.
    """
    if status == _TOO_LARGE:
        return Answer(Verdict.TOO_LARGE)
    if is_foreign_refusal(status, body):
        return Answer(Verdict.NOT_KLARS, f"HTTP {status} with {describe_body(body)}")
    if status in _REJECTING:
        return Answer(Verdict.REJECTED, _read(body))
    return _judge_success(status, body, keys_sent) if status in _ACCEPTING else None


def what_to_check(status: int, body: bytes, url: str, settings: str) -> str:
    """Return the message for an answer that retries will not change; `settings` are those that made the address."""
    foreign = "" if is_klars(body) else f" with {describe_body(body)}"
    if status in REFUSES_TOKEN:
        also = " A proxy or firewall before Klar may have sent it: check `api_url` too." if foreign else ""
        return (
            f"The API token was refused (HTTP {status}{foreign}, {url}). Check `api_token`: Klar shows it under "
            f"Settings, Store Configurator, the store, Data Sources, the data source, tab Access Token.{also}"
        )
    if status == _NOT_FOUND:
        return f"Not found: {url} (HTTP 404{foreign}). Check {settings}."
    if status in range(300, 400):
        return f"{url} redirects (HTTP {status}{foreign}); the token is sent to no other address. Check {settings}."
    text = describe_body(body) if foreign else quote(body)
    return f"Unexpected response from {url} (HTTP {status}): {text}. Check {settings}."


def ids_taken(content: Any) -> list[set[str]]:
    """Return the ids in each list, at any level, of what Klar took."""
    named = (value for name, value in _members(content) if _SUCCESSES.search(name) and not FAILURE.search(name))
    lists = (value for value in named if isinstance(value, list))
    return [{str(each) if isinstance(each, str | int) else "" for each in ids} for ids in lists]


def _judge_success(status: int, body: bytes, keys_sent: Callable[[], set[str]]) -> Answer | None:
    if not body:
        return Answer(Verdict.ACCEPTED)
    content = _read(body)
    said = content.get("status") if isinstance(content, dict) else None
    if said == "INVALID":
        return Answer(Verdict.REJECTED, content)
    # Of every member that may say what was not taken, whether it says so.
    failures = [value not in NO_FAILURE for name, value in _members(content) if FAILURE.search(name)]
    partial = said == "PARTIALLY_VALID" or status == _MULTI_STATUS
    if content is None or (said == "VALID" if partial else any(failures)):
        return None  # it contradicts itself, as it does where it says that some failed and lists none of them
    if partial:
        return None if failures and not any(failures) else Answer(Verdict.PARTIAL, content)
    # An empty list is no contradiction: Klar may fill it only where it takes a part.
    if said != "VALID" or any(ids and ids != keys_sent() for ids in ids_taken(content)):
        return None
    return Answer(Verdict.ACCEPTED, content)


def _members(content: Any) -> Iterator[tuple[str, Any]]:
    """Yield the members of all objects, at every level."""
    parts = [content]  # no recursion: it may be nested as deep as JSON can be read
    while parts:
        part = parts.pop()
        if isinstance(part, list):
            parts += part
        elif isinstance(part, dict):
            yield from part.items()
            parts += part.values()


def _what_is_wrong(status: int, body: bytes) -> str | None:
    """Say why a body is not Klar's or unreadable: an acceptance is read to the letter, a refusal as far as it goes."""
    if not is_klars(body):
        return f"{describe_body(body)} that is not Klar's"
    if len(body) >= MAX_BODY:
        return f"a body of {MAX_BODY:,} bytes or more" if status in _ACCEPTING else None
    if read_strictly(body) is not None:
        return None
    try:
        content = decode(body.decode(errors="replace"))
    except NestedTooDeepError:
        refuses = False
    except NotJSONError:
        return "broken JSON"
    else:
        refuses = isinstance(content, dict) and content.get("status") in ("INVALID", "PARTIALLY_VALID")
    return None if refuses or status in _REJECTING else "JSON that cannot be read to the letter"


def _read(body: bytes) -> Any:
    """Return the JSON of an answer, also of broken UTF-8.

    None if it is too large, nested too deep, or has two values for one name, of which nobody can tell the right one.
    """
    text = "" if len(body) >= MAX_BODY else body.decode(errors="replace")
    try:
        return None if has_two_values(text) else decode(text)
    except NotJSONError:
        return None


def seconds_to_wait(value: str | None) -> float:
    """Return how long a Retry-After asks to wait, by its seconds or its HTTP date; 0 where it says neither."""
    if value is None:
        return 0
    if value.strip().isdecimal():
        return min(float(value), _LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - time.time())


class Status(NamedTuple):
    """One reading of Klar's status: numbers come as text, times as ISO 8601 in UTC (both help pages)."""

    total: str | None
    last_batch_count: str | None
    last_success: str | None
    last_failure: str | None

    @classmethod
    def read(cls, body: bytes) -> Status | None:
        """Read Klar's status object; a member that is missing (in a new data source), or not a figure, is None.

        Returns None of what is no object, has members and none of these, cannot be read to the letter, or has two
        values for one name.
        """
        content = read_strictly(body)
        if not isinstance(content, dict) or (content and content.keys().isdisjoint(_STATUS_MEMBERS)):
            return None
        if has_two_values(body.decode()):
            return None
        figures = map(content.get, _STATUS_MEMBERS)
        return cls(*(shorten(str(figure)) if isinstance(figure, str | int | Decimal) else None for figure in figures))

    @property
    def has_unreadable_time(self) -> bool:
        """Whether its last success is no time, so that nobody can tell which load it shows."""
        return bool(self.last_success) and _moment(self.last_success) is None

    def newer_than(self, other: Status | None) -> bool:
        """Tell whether Klar booked a load after the one that `other` shows (None: after none at all).

        Where Klar writes whole seconds, two loads may have one time. Then the figures tell, unless a failure, which may
        move them too, came between.
        """
        mine, known = _moment(self.last_success), _moment(other.last_success if other else None)
        if mine is None or other is None or mine != known or self.last_failure != other.last_failure:
            return mine is not None and (known is None or mine > known)
        total, before = _amount(self.total), _amount(other.total)
        return total > before or (total == before and self.last_batch_count != other.last_batch_count)


def _amount(total: str | None) -> int:
    return int(total) if total and total.isdecimal() else 0


def _moment(text: str | None) -> datetime | None:
    try:
        read = datetime.fromisoformat(text.strip().upper()) if text else None
    except ValueError:
        return None
    return read.replace(tzinfo=UTC) if read and read.tzinfo is None else read
