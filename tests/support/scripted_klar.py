"""A Klar of which a test dictates what becomes of each load: when it is answered, whether it is booked, when shown."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BATCH = 5
"""How many refunds R-1, R-2, ... a load holds, so that its first one tells its number."""


@dataclass(frozen=True)
class Load:
    """What becomes of one load: by itself it is booked, answered and shown at once."""

    takes: float = 0.0
    """Seconds until it is answered; a part of it that is sent again is answered at once."""
    shown: float = 0.0
    """Seconds from its booking until the status shows it."""
    lost: bool = False
    """It is answered as taken, and never booked."""
    booked_at_once: bool = False
    """It is booked when it comes in, and not when it is answered."""
    refused: bool = False
    """It is answered with a refusal, whole or in parts."""


@dataclass
class ScriptedKlar:
    """Takes refunds; `loads` says by number what becomes of a load, `others` what of any other."""

    loads: Mapping[int, Load] = field(default_factory=dict)
    others: Load = field(default_factory=Load)
    token: str = "token-of-a-test"
    url: str = ""
    settled: set[str] = field(default_factory=set)
    """The refunds that were booked, or refused one by one."""
    log: list[str] = field(default_factory=list)
    """What came in and what was answered, such as `sent 3` and `answered 3`, and `read` for a status, in order."""
    shown: list[tuple[float, int]] = field(default_factory=list)
    """From when on the status shows each load that was booked, and how many refunds it had."""
    readings: list[int] = field(default_factory=list)
    """How many loads each reading of the status showed."""

    def missing(self, state: int) -> set[str]:
        """What it neither holds nor has refused of the refunds up to a number."""
        return {f"R-{number}" for number in range(1, state + 1)} - self.settled

    def load(self, refunds: list[Any]) -> bool:
        """Take a load, and return whether it is accepted."""
        number = (int(refunds[0]["id"].partition("-")[2]) - 1) // BATCH + 1
        load = self.loads.get(number, self.others)
        self.log.append(f"sent {number}")
        if load.booked_at_once:
            self._book(refunds, load)
        time.sleep(load.takes if len(refunds) == BATCH else 0)
        if load.refused and len(refunds) == 1:
            self.settled.add(refunds[0]["id"])
        elif not (load.lost or load.refused or load.booked_at_once):
            self._book(refunds, load)
        self.log.append(f"answered {number}")
        return not load.refused

    def figures(self) -> dict[str, str]:
        """The status: a load that was booked later has a later time, whenever that was."""
        self.log.append("read")
        now = time.monotonic()
        seen = [(at, count) for at, (due, count) in enumerate(self.shown) if due <= now]
        self.readings.append(len(seen))
        if not seen:
            return {"total": "0", "lastBatchCount": "0"}
        minutes, seconds = divmod(seen[-1][0], 60)
        last = f"2026-01-01T00:{minutes:02}:{seconds:02}Z"
        return {"total": "1", "lastBatchCount": str(seen[-1][1]), "lastSuccess": last}

    def _book(self, refunds: list[Any], load: Load) -> None:
        self.settled.update(refund["id"] for refund in refunds)
        self.shown.append((time.monotonic() + load.shown, len(refunds)))


@contextmanager
def scripted(loads: Mapping[int, Load] | None = None, others: Load | None = None) -> Iterator[ScriptedKlar]:
    """Serve a scripted Klar on loopback."""
    klar = ScriptedKlar(loads or {}, others or Load())

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._answer(200, json.dumps(klar.figures()).encode())

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            refunds = body["refunds"] if isinstance(body, dict) else body
            if self.path.endswith("/validate"):
                klar.log.append("validated")
                self._answer(200, b'{"status": "VALID"}')
            elif klar.load(refunds):
                self._answer(201, b"")
            else:
                self._answer(400, b'{"message": "not wanted"}')

        def _answer(self, code: int, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        klar.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield klar
        finally:
            server.shutdown()
            thread.join(5)
