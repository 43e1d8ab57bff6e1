"""How the local Klar misbehaves on request: what it can do, and at which request it does it."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Literal

from target_klar.sandbox.answers import Answer, failure, json_answer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from target_klar.sandbox.klar import Books

Kind = Literal["retry", "stop", "refusal", "page", "accept"]
"""What a client should make of it: try again, stop, look for the object that Klar does not want, or go on.

`page`: not Klar's words, so a client may try again or send less at once, but sets nothing aside.
"""

Manner = Literal["whole", "reset", "truncated", "hang", "trickle", "trickle-headers", "endless"]
"""How an answer goes onto the wire."""

On = Literal["post", "validate", "status"]


@dataclass(frozen=True)
class Misbehaviour:
    """One way to misbehave, and what it means for the client that meets it once."""

    name: str
    sentence: str
    kind: Kind
    stores: bool = False
    """Whether the whole batch is at Klar all the same."""
    reply: Answer | None = None
    """What is answered in place of Klar's own words."""
    books: Books | None = None
    """What Klar makes of the load; None: the load never reaches it."""
    before: float = 0.0
    """Seconds that Klar takes before it looks at the load."""
    after: float = 0.0
    """Seconds between what Klar makes of it and the answer."""
    manner: Manner = "whole"
    retry_after: Literal["seconds", "date"] | None = None

    def answer(self) -> Answer | None:
        """Returns what is answered in place of Klar's own words; a time in it counts from now."""
        if self.reply is None or self.retry_after is None:
            return self.reply
        soon = "1" if self.retry_after == "seconds" else formatdate(time.time() + 2, usegmt=True)
        return Answer(self.reply.status, self.reply.body, headers=(("Retry-After", soon),))


_HTML = b"<!doctype html><html><title>Not Klar</title><p>Something between you and Klar sent this.</html>"
_INVALID = json_answer(201, {"status": "INVALID", "errors": []})
_PARTIALLY_VALID = json_answer(207, {"status": "PARTIALLY_VALID"})
_LATER = "answers {} and stores nothing"
_SLOW_SECONDS = 7.0


def _answers(status: int, kind: Kind) -> Misbehaviour:
    return Misbehaviour(str(status), _LATER.format(status), kind, reply=failure(status))


def _page(status: int, kind: Kind) -> Misbehaviour:
    sentence = f"answers {status} with the HTML page of something in between and stores nothing"
    return Misbehaviour(f"{status}-html", sentence, kind, reply=Answer(status, _HTML, "text/html"))


def _stored(name: str, then: str, kind: Kind = "retry", **how: Any) -> Misbehaviour:
    return Misbehaviour(name, f"stores the batch, then {then}", kind, stores=True, books="all", **how)


FAULTS: tuple[Misbehaviour, ...] = (
    _answers(408, "retry"),
    _answers(425, "retry"),
    _answers(429, "retry"),
    Misbehaviour(
        "429-after-seconds",
        "answers 429 with a Retry-After of one second",
        "retry",
        reply=failure(429),
        retry_after="seconds",
    ),
    Misbehaviour(
        "429-after-date",
        "answers 429 with a Retry-After that is a date less than two seconds away",
        "retry",
        reply=failure(429),
        retry_after="date",
    ),
    _answers(500, "retry"),
    Misbehaviour(
        "502-html",
        "answers 502 with a gateway's HTML page",
        "retry",
        reply=Answer(502, _HTML, "text/html"),
    ),
    _answers(503, "retry"),
    _stored("504", "answers 504 as a gateway that lost patience", reply=failure(504)),
    Misbehaviour("reset-before", "resets the connection and stores nothing", "retry", manner="reset"),
    _stored("reset-after", "resets the connection without an answer", manner="reset"),
    _stored("truncated", "sends fewer bytes than it announced", manner="truncated"),
    Misbehaviour("hang", "stores nothing and stays silent until the client hangs up", "retry", manner="hang"),
    _stored("trickle", "sends a body that never ends, a byte now and then", manner="trickle"),
    _stored("trickle-headers", "sends headers that never end, a byte now and then", manner="trickle-headers"),
    _answers(401, "stop"),
    _answers(403, "stop"),
    _answers(404, "stop"),
    _answers(409, "stop"),
    _answers(413, "refusal"),
    _answers(422, "refusal"),
    _page(400, "page"),
    _page(403, "stop"),
    _page(404, "stop"),
    _page(413, "page"),
    _page(422, "page"),
    Misbehaviour(
        "half-page",
        "answers 400 with half of an HTML page under the length of a whole one and stores nothing",
        "retry",
        reply=Answer(400, _HTML[: len(_HTML) // 2], "text/html"),
        manner="truncated",
    ),
    Misbehaviour(
        "400-opaque",
        "answers 400 with no more than the words Bad Request and stores nothing",
        "refusal",
        reply=failure(400),
    ),
    Misbehaviour(
        "redirect",
        "answers 307 with another address and stores nothing",
        "stop",
        reply=Answer(307, headers=(("Location", "/elsewhere"),)),
    ),
    Misbehaviour("2xx-invalid", "answers 201 with INVALID and stores nothing", "refusal", reply=_INVALID),
    Misbehaviour(
        "2xx-html",
        "answers 200 with a login page and stores nothing",
        "retry",
        reply=Answer(200, _HTML, "text/html"),
    ),
    Misbehaviour(
        "207-ids",
        "stores all but the first object and says which with 207",
        "refusal",
        books="all but the first",
    ),
    Misbehaviour(
        "207-opaque",
        "stores all but the first object, answers 207 and does not say which",
        "refusal",
        books="all but the first",
        reply=_PARTIALLY_VALID,
    ),
    Misbehaviour(
        "2xx-fewer-ids",
        "stores all but the first object and answers 201 with VALID and the ids of the others",
        "stop",
        books="all but the first, unsaid",
    ),
    _stored("202", "answers 202", "accept", reply=Answer(202)),
    _stored("204", "answers 204", "accept", reply=Answer(204)),
    _stored("huge-answer", "sends a body that never ends as fast as it is read", manner="endless"),
    Misbehaviour(
        "slow",
        f"waits {_SLOW_SECONDS:g} seconds, then stores the batch and answers",
        "accept",
        stores=True,
        books="all",
        before=_SLOW_SECONDS,
    ),
    _stored("slow-answer", f"waits {_SLOW_SECONDS:g} seconds before it answers", "accept", after=_SLOW_SECONDS),
    Misbehaviour(
        "never-booked",
        "answers as if it had stored the batch, stores nothing, and its status never shows the load",
        "stop",
        books="never",
    ),
    Misbehaviour(
        "counts-nothing",
        "answers as if it had stored the batch, stores nothing and counts 0: seen at a stream's first request",
        "stop",
        books="as nothing",
    ),
)
"""Everything that the local Klar can do wrong, or right in an unexpected way."""

WELL_BEHAVED = Misbehaviour("none", "does as Klar's pages say", "accept", stores=True, books="all")

_BY_NAME = {fault.name: fault for fault in FAULTS}

_SPEC = re.compile(
    r"(?:(?P<stream>refunds|transaction_costs)/)?(?:(?P<on>post|validate|status):)?(?P<name>[\w-]+?)"
    r"(?:@(?P<at>[1-9]\d*))?(?P<times>x[1-9]\d*|\+)?"
)


@dataclass(frozen=True)
class Fault:
    """A misbehaviour at chosen requests: the `at`-th of its sort, counted from 1, and the following ones.

    As text: `503@3` at the third POST, `hang@2x4` at four from the second on, `503@1+` from the first on for
    ever, `status:500@2` at the second status read, `refunds/503@1` at the first POST of refunds. Requests are
    counted from when the fault was set, over all streams unless one is named; a validation is not a POST.
    """

    name: str
    at: int = 1
    times: int | Literal["always"] = 1
    on: On = "post"
    stream: str | None = None

    def __post_init__(self) -> None:
        """Refuses a name that is not in FAULTS."""
        if self.name not in _BY_NAME:
            raise ValueError(f"{self.name!r} is no fault; there are {', '.join(_BY_NAME)}")

    @classmethod
    def parse(cls, spec: str) -> Fault:
        """Reads a fault from its text, or raises `ValueError` with what is wrong with it."""
        found = _SPEC.fullmatch(spec)
        if found is None:
            raise ValueError(f"{spec!r} is no fault; write it as 503@3, hang@2x4, 503@1+ or status:500@2")
        times = found["times"] or "x1"
        return cls(
            found["name"],
            int(found["at"] or 1),
            "always" if times == "+" else int(times[1:]),
            _ON[found["on"]],
            found["stream"],
        )

    @property
    def misbehaviour(self) -> Misbehaviour:
        """What it does, out of FAULTS."""
        return _BY_NAME[self.name]

    def meets(self, on: On, stream: str, number: int) -> bool:
        """Tells whether it strikes the request that is this number of its sort."""
        due = self.at <= number and (self.times == "always" or number < self.at + self.times)
        return due and self.on == on and self.stream in (None, stream)


_ON: dict[str | None, On] = {None: "post", "post": "post", "validate": "validate", "status": "status"}


class Schedule:
    """The faults that are set, and how many requests of each sort there have been since."""

    def __init__(self, faults: Iterable[Fault | str]) -> None:
        self._lock = threading.Lock()
        self.set(faults)

    def set(self, faults: Iterable[Fault | str]) -> None:
        """Replaces the faults and counts from 0 again, or raises `ValueError` and changes nothing."""
        read = [Fault.parse(fault) if isinstance(fault, str) else fault for fault in faults]
        with self._lock:
            self._faults = read
            self._seen: dict[tuple[On, str | None], int] = {}

    def next(self, on: On, stream: str) -> Misbehaviour:
        """Counts one more request and returns what the first fault that strikes it does."""
        with self._lock:
            for sort in (on, stream), (on, None):
                self._seen[sort] = self._seen.get(sort, 0) + 1
            for fault in self._faults:
                if fault.meets(on, stream, self._seen[on, fault.stream and stream]):
                    return fault.misbehaviour
        return WELL_BEHAVED
