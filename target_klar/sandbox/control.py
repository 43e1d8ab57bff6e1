"""What the local Klar tells of itself: its page, and what it holds, saw and refused as JSON."""

from __future__ import annotations

import ipaddress
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from target_klar.sandbox.answers import Answer, failure, json_answer, json_text
from target_klar.sandbox.export import json_lines
from target_klar.sandbox.json_body import read_json
from target_klar.sandbox.klar import Klar, utc
from target_klar.sandbox.objects import STREAMS

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_klar.sandbox.faults import Schedule
    from target_klar.sandbox.server import Call
    from target_klar.sandbox.shapes import Json
    from target_klar.sandbox.traffic import Request, Traffic

LATEST = 12
"""How many records, refusals and requests the page shows of each."""

_TAKEN = (200, 201, 202, 204)
_PAGE_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_PAGE_HEADERS = (
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; connect-src 'self'; script-src 'self'; style-src 'self'"),
    ("X-Content-Type-Options", "nosniff"),
)


@dataclass(frozen=True)
class Panel:
    """Answers the calls that are not Klar's; they need no token, so they answer on trusted names only."""

    host: str
    klar: Klar
    traffic: Traffic
    schedule: Schedule

    @staticmethod
    def serves(call: Call) -> bool:
        """Tells whether a call is for the panel and not for Klar."""
        return call.path in ("/", "/favicon.ico") or call.path.startswith("/sandbox/")

    def answer(self, call: Call) -> Answer:
        """Returns the answer to a call."""
        if not self._trusts(call):
            return failure(403, "the page and its data answer to loopback and literal addresses only")
        called = f"{call.method} {call.path}"
        asked = dict(parse_qsl(call.query))
        answers: dict[str, Callable[[], Answer]] = {
            "GET /": lambda: _page("html"),
            "GET /sandbox/page.css": lambda: _page("css"),
            "GET /sandbox/page.js": lambda: _page("js"),
            "GET /favicon.ico": lambda: Answer(204),
            "GET /sandbox/held": self._held,
            "GET /sandbox/export": self._export,
            "GET /sandbox/requests": lambda: json_answer(200, self._requests(None)),
            "GET /sandbox/overview": lambda: self._overview(asked.get("key", ""), all_refused="refused" in asked),
            "POST /sandbox/faults": lambda: self._misbehave(call.body),
            "POST /sandbox/clear": self._clear,
            "DELETE /sandbox/held": self._clear,
        }
        return answers.get(called, lambda: failure(404, f"Cannot {called}"))()

    def _trusts(self, call: Call) -> bool:
        """Keeps other sites out: names of theirs that point here, and forms of theirs that post here."""
        host = call.headers.get("Host", "")
        origin = call.headers.get("Origin")
        try:
            name = urlsplit("//" + host).hostname or ""
            same = origin is None or urlsplit(origin).netloc == host
        except ValueError:
            return False
        return same and (name in ("localhost", self.host) or is_address(name))

    def _held(self) -> Answer:
        return json_answer(200, {name: self.klar.held(name) for name in STREAMS})

    def _clear(self) -> Answer:
        self.klar.clear()
        return Answer(204)

    def _misbehave(self, body: bytes) -> Answer:
        try:
            self.schedule.set(_specs(read_json(body)))
        except ValueError as error:
            return failure(400, f'send {{"faults": ["503@3"]}}: {error}')
        return Answer(204)

    def _export(self) -> Answer:
        lines = "".join(json_lines(self.klar)).encode()
        return Answer(200, lines, "application/x-ndjson", (("Content-Disposition", 'inline; filename="klar.jsonl"'),))

    def _requests(self, number: int | None) -> dict[str, Json]:
        latest = self.traffic.requests[::-1][:number]
        return {
            "total": self.traffic.total,
            "in_flight": self.traffic.in_flight,
            "peak_in_flight": self.traffic.peak_in_flight,
            "latest": [_told(request) for request in latest],
        }

    def _refused(self, key: str) -> list[dict[str, Json]]:
        """Returns each key that was refused, newest first, with its latest refusal and how often that was."""
        found: dict[tuple[str, str], dict[str, Json]] = {}
        for entry in reversed(self.klar.refused):
            if key.lower() in entry.key.lower():
                told = {**asdict(entry), "moment": utc(entry.moment), "value": json_text(entry.value), "times": 0}
                found.setdefault((entry.stream, entry.key), told)["times"] += 1
        return list(found.values())

    def _overview(self, key: str, *, all_refused: bool) -> Answer:
        """Tells what the page shows; of records and refusals those whose key holds a text, all where it is empty."""
        refused = self._refused(key)
        loads = [seen for seen in self.traffic.requests if seen.on == "post" and seen.end != "open"]
        overview = {
            "streams": [
                {
                    "name": name,
                    "key": stream.key,
                    "held": self.klar.count(name),
                    "refused": self.klar.refusals(name),
                    "status": self.klar.figures(stream).answer(),
                    "latest": [_spelled(held) for held in self.klar.latest(name, LATEST, key)],
                }
                for name, stream in STREAMS.items()
            ],
            "refused": refused if all_refused else refused[:LATEST],
            "refused_keys": len(refused),
            "loads": [[int(load.moment * 1000), load.status in _TAKEN] for load in loads],
            "requests": self._requests(LATEST),
        }
        return json_answer(200, overview)


def _page(part: str) -> Answer:
    file = Path(__file__).with_name(f"page.{part}")
    return Answer(200, file.read_bytes(), f"{_PAGE_TYPES[part]}; charset=utf-8", _PAGE_HEADERS)


def is_address(name: str) -> bool:
    """Tells whether a host is written as an address, which no name server can point elsewhere."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Tells whether a host is this machine alone."""
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)


def _specs(asked: Json) -> list[str]:
    """Returns the faults that a body asks for, as text, or raises `ValueError` if it asks for anything else."""
    specs = asked["faults"] if isinstance(asked, dict) and asked.keys() == {"faults"} else None
    if not (isinstance(specs, list) and all(isinstance(spec, str) for spec in specs)):
        raise ValueError('the body must be an object that holds "faults", an array of text, and nothing else')
    return specs


def _spelled(value: Json) -> Json:
    """Replaces what is not an object or an array by its JSON text, so that the page shows every digit."""
    if isinstance(value, dict):
        return {name: _spelled(held) for name, held in value.items()}
    return [_spelled(held) for held in value] if isinstance(value, list) else json_text(value)


def _told(request: Request) -> dict[str, Json]:
    seconds = None if request.ended is None else Decimal(str(round(request.ended - request.started, 3)))
    return {
        "number": request.number,
        "moment": utc(int(request.moment * 1000)),
        "stream": request.stream,
        "method": request.method,
        "path": request.path,
        "count": request.count,
        "stored": request.stored,
        "status": request.status,
        "fault": request.fault,
        "end": request.end,
        "seconds": seconds,
        "authorized": request.authorized,
        "user_agent": request.user_agent,
    }
