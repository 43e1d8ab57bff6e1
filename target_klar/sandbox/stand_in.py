"""The local Klar as a whole: which path means what, who may call, and what becomes of a call."""

from __future__ import annotations

import ipaddress
import random
import re
import secrets
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from target_klar.sandbox.answers import Answer, failure
from target_klar.sandbox.control import Panel, is_address
from target_klar.sandbox.faults import WELL_BEHAVED, Fault, Manner, On, Schedule
from target_klar.sandbox.klar import Klar
from target_klar.sandbox.objects import STREAMS, TRANSACTION_COSTS, Stream
from target_klar.sandbox.server import Call, Server
from target_klar.sandbox.traffic import Request, Traffic
from target_klar.sandbox.wire import deliver, gone

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

    from target_klar.sandbox.shapes import Json

Moment = Literal["received", "stored", "answered", "status"]
"""When an observer is called: a POST was read, its batch stored, an answer written in full; a status was asked."""

_SUBMIT = re.compile(r"/(\d\d\.\d{4})/([a-z-]+)/(json|validate)")
_CHANCE = random.SystemRandom()
_SEGMENTS = {stream.segment: stream for stream in STREAMS.values()}


@dataclass(kw_only=True, eq=False)
class Sandbox(Klar):
    """A local Klar that serves from `start` to `close`, or within `with`, in threads of this process."""

    host: str = "127.0.0.1"
    port: int = 0
    """0: any that is free; the one that was found stands here once it serves."""
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    latency: float = 0.0
    """Seconds that every call takes at least."""
    jitter: float = 0.0
    """Up to so many seconds more, at random."""
    faults: Sequence[Fault | str] = ()
    """What it does wrong from the start; `misbehave` says it later."""
    limit_bytes: int = 64 * 1024 * 1024
    """A body larger than this is answered with 413."""
    body_seconds: float = 60.0
    """A body of which nothing comes for so long is answered with 408."""
    keep_bodies: int = 50
    """How many bodies of POSTs it remembers."""
    observer: Callable[[Moment, Request], None] | None = None
    """Called at each `Moment` in the thread that handles the request, which waits for it."""

    def __post_init__(self) -> None:
        """Prepares to serve; nothing listens yet."""
        super().__post_init__()
        self.traffic = Traffic(self.lock, self.keep_bodies)
        self._closing = threading.Event()
        self._schedule = Schedule(self.faults)
        self._panel = Panel(self.host, self, self.traffic, self._schedule)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The address that a client calls: Klar's base URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        if is_address(self.host) and ipaddress.ip_address(self.host).is_unspecified:
            host = "localhost"
        return f"http://{host}:{self.port}"

    @property
    def requests(self) -> list[Request]:
        """The latest requests to Klar, oldest first; those of the page are not among them."""
        return self.traffic.requests

    @property
    def bodies(self) -> list[bytes]:
        """The bodies of the latest POSTs, oldest first, byte for byte."""
        return self.traffic.bodies

    @property
    def peak_in_flight(self) -> int:
        """The highest number of POSTs that were handled at once."""
        return self.traffic.peak_in_flight

    def posts(self, stream: str | None = None) -> list[Request]:
        """Returns the latest loads, oldest first, of one stream or of all; validations are not loads."""
        return [seen for seen in self.requests if seen.on == "post" and stream in (None, seen.stream)]

    def start(self) -> None:
        """Begins to serve."""
        self._server = Server(self.host, self.port, self._handle, self.body_seconds)
        self.port = self._server.server_address[1]

    def close(self) -> None:
        """Ends every connection and serves no more; what it holds can still be read."""
        self._closing.set()
        self._server.close()

    def misbehave(self, *faults: Fault | str) -> None:
        """Replaces the faults that are set, and counts requests anew."""
        self._schedule.set(faults)

    def clear(self) -> None:
        """Forgets what is held, refused, counted and logged; faults stay set."""
        super().clear()
        self.traffic.clear()

    def _handle(self, call: Call) -> bool:
        """Answers a call, well or badly; returns whether its connection can be used again."""
        if Panel.serves(call):
            return deliver(call.connection, self._panel.answer(call), "whole", self._closing)
        on, stream = self._route(call)
        request = Request(
            method=call.method,
            path=call.path,
            on=on,
            stream=None if stream is None else stream.name,
            user_agent=call.headers.get("User-Agent", ""),
            authorized=call.headers.get("Authorization") == f"Bearer {self.token}",
            client=call.client,
        )
        with self.traffic.handling(request, call.body):
            self._observe("status" if on == "status" else "received", request)
            answer, manner = self._consider(call, request, on, stream)
            if answer is None:
                request.end = "client gone"
                return False
            request.status = None if manner in ("reset", "hang") else answer.status
            reusable = deliver(call.connection, answer, manner, self._closing)
            request.end = "answered" if manner == "whole" else manner
        if manner == "whole":
            self._observe("answered", request)
        return reusable

    def _observe(self, moment: Moment, request: Request) -> None:
        if self.observer is not None:
            self.observer(moment, request)

    def _route(self, call: Call) -> tuple[On | None, Stream | None]:
        """Finds what a path asks for; a POST without a version that Klar knows asks for nothing."""
        submit = _SUBMIT.fullmatch(call.path)
        if call.method == "POST" and submit is not None:
            version, segment, action = submit.groups()
            stream = _SEGMENTS.get(segment)
            if stream is None or version not in self.versions[stream.name]:
                return None, None
            stream = stream.at(version)
            if action == "json":
                return "post", stream
            return ("validate", stream) if stream.valid_status else (None, None)
        _, _, segment = call.path.partition("/")
        segment, _, word = segment.partition("/")
        stream = _SEGMENTS.get(segment)
        spelling = "state" if self.state_spelling and stream is TRANSACTION_COSTS else "status"
        return ("status", stream) if call.method == "GET" and stream and word == spelling else (None, None)

    def _consider(
        self, call: Call, request: Request, on: On | None, stream: Stream | None
    ) -> tuple[Answer | None, Manner]:
        """Returns what is answered and how; no answer where the client is gone before its batch is stored."""
        if on is None or stream is None:
            return failure(404, f"Cannot {call.method} {call.path}"), "whole"
        if not request.authorized:
            return failure(401), "whole"
        objects, problem = ([], None) if on == "status" else self._read(call, stream)
        request.count = len(objects) or None
        self._closing.wait(self.latency + _CHANCE.uniform(0, self.jitter))
        fault = self._schedule.next(on, stream.name)
        request.fault = None if fault is WELL_BEHAVED else fault.name
        self._closing.wait(fault.before)
        if fault.books is None:
            return fault.answer() or failure(503), fault.manner
        if on == "status":
            answer: Answer | None = self.status(stream)
        elif problem is not None:
            answer = self.fail(stream, problem)
        elif on == "validate":
            answer = self.validate(stream, objects)
        else:
            answer, request.stored = self.load(stream, objects, fault.books, lambda: not gone(call.connection))
            if request.stored:
                self._observe("stored", request)
        self._closing.wait(fault.after)
        # What Klar took in part it says so of: nobody could know it behind a word that all of it was taken.
        if answer is not None and answer.takes and not (answer.is_partial and fault.kind == "accept"):
            answer = fault.answer() or answer
        return answer, fault.manner

    def _read(self, call: Call, stream: Stream) -> tuple[list[Json], Answer | None]:
        """Returns the objects that a body carries, or the answer that says why there are none."""
        if len(call.body) > self.limit_bytes:
            return [], failure(413)
        media_type = call.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            return [], failure(415, "send application/json")
        try:
            return stream.batch(call.body), None
        except ValueError as error:
            return [], failure(400, str(error))
