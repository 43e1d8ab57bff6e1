"""A machine looks for an answer that passes for what it is not: cut at every byte, changed at every byte of its head.

Whether a changed answer still spells an acceptance is decided here by `h11` and `json`, which share nothing with what
is tested. No acceptance may be read that they do not read; the other way round is only a try lost.
"""

from __future__ import annotations

import json
import random
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import h11
import pytest
from byte_server import Reply, Request, serve
from clients import REFUNDS, TOKEN, answer, client_of, submit
from forked import run
from program import REFUNDS as SCHEMA
from program import refund, state
from thoroughness import size

from target_klar.answers import Verdict
from target_klar.client import KlarError

if TYPE_CHECKING:
    from collections.abc import Iterator

VALID = b'{"status": "VALID"}'
FLAT = (
    b'{"status": "INVALID", "errors": [{"id": 1111, "key": "0.id", "message": "id must be a string", "value": 1111}]}'
)
TREE = (
    b'[{"target": {"id": "R-1"}, "property": "lineItems", "children": [{"target": {"lineItemId": "1"}, "value": null, '
    b'"property": "refundedQuantity", "children": [], "constraints": {"isNumber": "must be a number"}}]}]'
)
PARTLY = b'{"status": "PARTIALLY_VALID", "errors": [], "failedOrderIds": ["R-1"], "successfulOrderIds": []}'
STATUS = (
    b'{"total": "9", "lastBatchCount": "1", "lastSuccess": "2026-03-11T12:13:31.193Z", '
    b'"lastFailure": "2026-03-11T09:06:50.321Z"}'
)


def kept(status: str, body: bytes = b"", *headers: str) -> bytes:
    """An answer after which the connection can be used again, with what servers say beside."""
    lines = [f"HTTP/1.1 {status}", "Server: nginx", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def chunked(body: bytes) -> bytes:
    head = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (5, body[:5], len(body) - 5, body[5:])


ANSWERS = {
    "201 empty": kept("201 Created"),
    "201 VALID": kept("201 Created", VALID),
    "200 VALID": kept("200 OK", VALID),
    "202 VALID, the connection closed": answer("202 Accepted", VALID),
    "204": b"HTTP/1.1 204 No Content\r\nServer: nginx\r\n\r\n",
    "207": kept("207 Multi-Status", PARTLY),
    "400 flat": kept("400 Bad Request", FLAT),
    "400 tree": kept("400 Bad Request", TREE),
    "400 text": kept("400 Bad Request", b"Bad Request"),
    "401": kept("401 Unauthorized", b'{"statusCode": 401, "message": "Unauthorized"}'),
    "in chunks": chunked(VALID),
    "without a length": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + VALID,
    "an interim answer, then 201": b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n" + kept("201 Created"),
    "an interim answer, then 400": b"HTTP/1.1 100 Continue\r\n\r\n" + kept("400 Bad Request", FLAT),
    "200 with other words": kept("200 OK", b'{"message": "queued"}'),
    "206 VALID": kept("206 Partial Content", VALID),
    "two at once": kept("201 Created") + kept("400 Bad Request", FLAT),
}
AFTER = b'{"status": "INVALID", "errors": [{"key": "0.id", "message": "is the second answer"}]}'
"""What answers the request behind each case: if it is read as anything else, or not at all, answers got mixed up."""
CHANCE = random.Random(91)


class Case(NamedTuple):
    """One broken answer: what came, and how it was made."""

    name: str
    raw: bytes
    cut: bool


def cuts(name: str, raw: bytes) -> Iterator[Case]:
    for end in range(len(raw)):
        yield Case(f"{name}, cut after {end} bytes", raw[:end], cut=True)


def changes(name: str, raw: bytes) -> Iterator[Case]:
    """Yield it with each byte of its status line and headers replaced by up to four others, two of them odd ones."""
    head = raw.rindex(b"\r\n\r\n") + 4 if name.startswith("an interim") else raw.index(b"\r\n\r\n") + 4
    for place in range(head):
        odd = CHANCE.sample([b"\r", b"\n", b"\0", b" ", b":", b",", b"0", b"9", b"\x80", b"\xff", b"+", b"_"], 2)
        others = {*odd, bytes([CHANCE.randrange(32, 127)]), bytes([CHANCE.randrange(256)])} - {raw[place : place + 1]}
        for other in sorted(others):
            yield Case(f"{name}, byte {place} {other!r}", raw[:place] + other + raw[place + 1 :], cut=False)


CASES = [case for name, raw in ANSWERS.items() for case in chain(cuts(name, raw), changes(name, raw))]


def read(raw: bytes) -> tuple[int, bytes, bool] | None:
    """Return status, body, and whether its end was announced, of the whole answer that h11 reads; None for none."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="POST", target="/", headers=[("Host", "x"), ("Content-Length", "0")]))
    connection.send(h11.EndOfMessage())
    final, body = None, b""
    with suppress(h11.RemoteProtocolError):
        connection.receive_data(raw)
        connection.receive_data(b"")
        while not isinstance(event := connection.next_event(), h11.EndOfMessage | h11.ConnectionClosed | type):
            if isinstance(event, h11.Response):
                final = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
        if final is not None and isinstance(event, h11.EndOfMessage) and not connection.trailing_data[0]:
            names = {name for name, _ in final.headers}
            announced = bool({b"content-length", b"transfer-encoding"} & names) or final.status_code == 204
            return final.status_code, body, announced
    return None


def spells(raw: bytes) -> Verdict | None:
    """Return the acceptance, whole or in part, that a whole answer spells; None for everything else."""
    whole = read(raw)
    if whole is None:
        return None
    status, body, announced = whole
    said = None
    with suppress(ValueError, AttributeError):
        said = json.loads(body).get("status")
    if status == 207 or (200 <= status < 300 and said == "PARTIALLY_VALID"):
        return Verdict.PARTIAL
    accepts = status in (200, 201, 202, 204) and (said == "VALID" or (not body and announced))
    return Verdict.ACCEPTED if accepts else None


def verdict_of(client: Any) -> Verdict | None:
    try:
        return submit(client).verdict  # type: ignore[no-any-return]
    except KlarError:
        return None


def test_the_answers_that_klar_is_known_to_give_are_read_as_they_are_meant() -> None:
    read_as = {}
    for name, raw in ANSWERS.items():
        with serve(Reply(raw), tls=None) as (url, _):
            read_as[name] = verdict_of(client_of(url, retry_timeout=0))

    meant = {name: spells(raw) for name, raw in ANSWERS.items()}
    refusals = {name for name in ANSWERS if "400" in name}
    assert read_as == meant | dict.fromkeys(refusals, Verdict.REFUSED)
    assert list(meant.values()).count(Verdict.ACCEPTED) == 8


@pytest.mark.parametrize("part", range(4))
def test_no_broken_answer_is_an_acceptance_nor_is_read_as_the_next_ones(part: int) -> None:
    cases = sorted(random.Random(part).sample(CASES[part::4], min(size(100, 10_000), len(CASES[part::4]))))
    breaches = []

    def choose(request: Request) -> Reply:
        case = cases[int(request.head.split()[1].split(b"/")[1])]
        seen = [each for each in served.received if each.head.split()[1] == request.head.split()[1]]
        # What is not cut may leave a client waiting for more: then this server has no patience either.
        return (
            Reply(case.raw, stays=0 if case.cut else 0.1) if len(seen) == 1 else Reply(kept("400 Bad Request", AFTER))
        )

    with serve(choose=choose) as served:
        for number, case in enumerate(cases):
            client = client_of(f"{served.url}/{number}", retry_timeout=0)
            verdict, spelled = verdict_of(client), spells(case.raw)
            if verdict in (Verdict.ACCEPTED, Verdict.PARTIAL) and verdict is not spelled:
                breaches.append(f"{case.name}: read as {verdict}: {case.raw!r}")
            second = client.submit(REFUNDS, REFUNDS.body([{"id": "R-2"}]))
            if second.verdict is not Verdict.REFUSED or second.content != json.loads(AFTER):
                breaches.append(f"{case.name}: the next request is answered by {second}: {case.raw!r}")
    assert breaches == []
    assert len(cases) >= min(size(100, 1_000), len(CASES[part::4]))


def test_no_broken_status_is_read_as_figures_that_it_does_not_have() -> None:
    whole = kept("200 OK", STATUS)
    cases = [*cuts("status", whole), *changes("status", whole)]
    cases = CHANCE.sample(cases, min(size(150, 10_000), len(cases)))
    breaches = []
    for case in cases:
        with serve(Reply(case.raw, stays=0 if case.cut else 0.1)) as (url, _):
            try:
                figures = client_of(url, retry_timeout=0).status(REFUNDS)
            except KlarError:
                continue
        spelled = read(case.raw)
        if spelled is None or spelled[0] != 200 or json.loads(spelled[1])["lastSuccess"] != figures.last_success:
            breaches.append(f"{case.name}: {figures}")
    assert breaches == []


class Broken:
    """A Klar's address and token."""

    token = TOKEN

    def __init__(self, url: str) -> None:
        self.url = url


@pytest.mark.slow
def test_over_the_whole_program_no_state_leaves_for_an_answer_that_was_no_acceptance() -> None:
    """Its status always shows a load, of one object, so that nothing but the answer tells."""
    cases = random.Random(92).sample(CASES, size(20, 200))
    breaches = []
    accepted = 0
    for case in cases:
        reads = 0

        def choose(request: Request, case: Case = case) -> Reply:
            nonlocal reads
            if request.head.startswith(b"POST"):
                return Reply(case.raw, stays=0 if case.cut else 0.1)
            reads += 1
            figures = json.loads(STATUS) | {"lastSuccess": f"2026-03-11T12:13:{reads:02d}.000Z"}
            return Reply(kept("200 OK", json.dumps(figures).encode()))

        with serve(choose=choose) as (url, _):
            ended = run(Broken(url), [SCHEMA, refund("R-1"), state(1)], retry_timeout_seconds=0)
        accepted += bool(ended.out)
        if ended.out and spells(case.raw) is not Verdict.ACCEPTED:
            breaches.append(f"{case.name}: STATE {ended.out} for {case.raw!r}")
        if ended.code != int(not ended.out) or "Traceback" in ended.err or len(ended.errors) != ended.code:
            breaches.append(f"{case.name}: exit {ended.code}, {ended.err[-2000:]}")
    assert breaches == []
    assert accepted < len(cases)
