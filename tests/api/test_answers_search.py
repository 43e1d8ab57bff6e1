"""A machine looks for answers that are taken for what they are not: each that Klar gives, cut and changed everywhere.

An oracle of this file's own, which reads all that was sent at once, says what an answer really spells.
"""

from __future__ import annotations

import json
import random
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import pytest
from byte_server import Reply, Request, serve
from clients import client_of, submit
from forked import run
from klar_objects import COSTS, REFUNDS
from messages import REFUNDS_SCHEMA, refund_record, state
from thoroughness import size

from target_klar.api.answers import Verdict
from target_klar.api.client import KlarError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from program import Ended

SEED = 20_261_123
AT_ONCE = 8
"""Cases at a time: some are answered only when the server hangs up."""
LINGER = 0.2
"""Seconds for which a server that keeps its connection waits for more."""


def whole(status: str, body: bytes, *fields: str, announced: bool = True) -> bytes:
    """An answer with the headers that servers send."""
    length = [f"Content-Length: {len(body)}"] if announced else []
    common = ["Date: Sun, 06 Nov 1994 08:49:37 GMT", "Content-Type: application/json", *length, *fields, "", ""]
    return "\r\n".join([f"HTTP/1.1 {status}", *common]).encode() + body


def chunked(status: str, *parts: bytes) -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in [*parts, b""])
    return whole(status, body, "Transfer-Encoding: chunked", announced=False)


VALID = b'{"status": "VALID"}'
FLAT = json.dumps(
    {"status": "INVALID", "errors": [{"id": 1, "key": "0.id", "message": "id must be a string", "value": 1}]}
).encode()
NODE: dict[str, object] = {
    "target": {"id": "R-1"},
    "value": None,
    "property": "id",
    "children": [],
    "constraints": {"isString": "no"},
}
TREE = json.dumps([{"children": [NODE]}]).encode()
PARTIAL = json.dumps({"status": "PARTIALLY_VALID", "failedOrderIds": ["R-1"], "successfulOrderIds": []}).encode()
EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
FIGURES = b'{"total": "9", "lastBatchCount": "4", "lastSuccess": "2023-03-11T12:13:31.193Z"}'

POSTS = {
    "201 empty": (whole("201 Created", b""), Verdict.ACCEPTED),
    "201 valid": (whole("201 Created", VALID, "Connection: keep-alive"), Verdict.ACCEPTED),
    "200 valid": (whole("200 OK", VALID, "Set-Cookie: a=b; Expires=Sun, 06 Nov 2094 08:49:37 GMT"), Verdict.ACCEPTED),
    "204": (whole("204 No Content", b"", announced=False), Verdict.ACCEPTED),
    "chunked": (chunked("201 Created", VALID[:5], VALID[5:]), Verdict.ACCEPTED),
    "without length": (whole("201 Created", VALID, "Connection: close", announced=False), Verdict.ACCEPTED),
    "1.0": (whole("201 Created", VALID).replace(b"1.1", b"1.0", 1), Verdict.ACCEPTED),
    "100, then 201": (b"HTTP/1.1 100 Continue\r\n\r\n" + whole("201 Created", VALID), Verdict.ACCEPTED),
    "103, then 400": (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + whole("400 Bad Request", FLAT),
        Verdict.REJECTED,
    ),
    "207": (whole("207 Multi-Status", PARTIAL), Verdict.PARTIAL),
    "400 flat": (whole("400 Bad Request", FLAT), Verdict.REJECTED),
    "400 tree": (whole("400 Bad Request", TREE), Verdict.REJECTED),
    "400 in words": (whole("400 Bad Request", b"Bad Request"), Verdict.NOT_KLARS),
    "400 page": (whole("400 Bad Request", b"<html>no</html>"), Verdict.NOT_KLARS),
    "contradiction": (whole("200 OK", b'{"status": "VALID", "failedOrderIds": ["R-1"]}'), None),
    "401": (whole("401 Unauthorized", b'{"statusCode": 401}', "WWW-Authenticate: Bearer"), None),
    "429": (whole("429 Too Many Requests", b"", "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT"), None),
    "200 with other words": (whole("200 OK", b'{"message": "queued"}'), None),
    "206 valid": (whole("206 Partial Content", VALID), None),
    "two at once": (whole("201 Created", b"") + whole("400 Bad Request", FLAT), None),
    "307": (whole("307 Temporary Redirect", b"", "Location: https://[::1]:8/12.2022/x"), None),
}
STATUSES = {
    "status": whole("200 OK", FIGURES),
    "status in chunks": chunked("200 OK", FIGURES[:7], FIGURES[7:]),
    "status after 103": EARLY + whole("200 OK", FIGURES),
}
SECOND = b"of the second request"


class Case(NamedTuple):
    """What the server sends in the place of an answer of Klar's."""

    name: str
    sent: bytes
    stays: float = 0


def cut(name: str, raw: bytes) -> Iterator[Case]:
    """The answer, ended at each of its bytes."""
    return (Case(f"{name}, cut at {at}", raw[:at]) for at in range(len(raw)))


def changed(name: str, raw: bytes) -> Iterator[Case]:
    """The answer with each byte of its heads replaced, and each digit of its status by every other one."""
    chance = random.Random(f"{SEED} {name}")
    body = re.match(rb"(?s)(HTTP/1\.1 1.*?\r\n\r\n)*.*?\r\n\r\n", raw)
    assert body
    codes = {at for code in re.finditer(rb"HTTP/1\.\d (\d{3})", raw) for at in range(*code.span(1))}
    for at in range(body.end()):
        others = {
            chance.choice(b"\r\n"),
            chance.choice(b"0123456789"),
            chance.choice(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"),
            chance.randrange(0x80, 0x100),
            chance.choice(b"\0\t ,:;+-\x7f"),
        }
        others |= {*b"0123456789"} if at in codes else set()
        others.discard(raw[at])
        for other in sorted(others):
            stays = LINGER * chance.randrange(2)
            yield Case(f"{name}, {other:#x} at {at}, stays {stays}", raw[:at] + bytes([other]) + raw[at + 1 :], stays)


def cases_of(name: str, raw: bytes, quick: int) -> list[Case]:
    every = [*cut(name, raw), *changed(name, raw)]
    return random.Random(f"{SEED} {name} sample").sample(every, size(min(quick, len(every)), len(every)))


# The oracle

TEXT = rb"[^\x00-\x08\x0a-\x1f\x7f]*"
HEAD = re.compile(
    rb"HTTP/1\.([01]) ([1-5]\d\d)(?: %b)?\r\n((?:[0-9A-Za-z!#$%%&'*+.^_`|~-]+:%b\r\n)*)\r\n" % (TEXT, TEXT)
)
CHUNKS = re.compile(rb"(?s)(?:0*[1-9a-f][0-9a-f]*\r\n.*?\r\n)*0+\r\n\r\n")


def spelled(sent: bytes) -> tuple[int, bytes] | None:
    """The final status and the body that all these bytes spell, if they are one whole answer."""
    while (head := HEAD.match(sent)) and 100 <= int(head[2]) < 200 and head[2] != b"101":
        sent = sent[head.end() :]
    if not head or head[2] == b"101":
        return None
    status, rest = int(head[2]), sent[head.end() :]
    fields = [line.split(b":", 1) for line in head[3].split(b"\r\n")[:-1]]
    lengths = [value.strip(b"\t ") for name, value in fields if name.lower() == b"content-length"]
    codings = [value.strip(b"\t ") for name, value in fields if name.lower() == b"transfer-encoding"]
    body: bytes | None = None
    if status == 204:
        body = b"" if not rest and not codings and lengths in ([], [b"0"]) else None
    elif codings:
        chunks = CHUNKS.fullmatch(rest)
        if [coding.lower() for coding in codings] == [b"chunked"] and not lengths and head[1] == b"1" and chunks:
            body = b"".join(rest.split(b"\r\n")[1:-3:2])  # no body here has a line break
    elif lengths:
        body = (
            rest if len(lengths) == 1 and re.fullmatch(rb"\d+", lengths[0]) and int(lengths[0]) == len(rest) else None
        )
    else:
        body = rest if rest or not 200 <= status < 300 else None
    return None if body is None else (status, body)


def meaning(sent: bytes) -> Verdict | None:
    """The verdict that these bytes spell; None where they spell none."""
    status, body = spelled(sent) or (0, b"")
    if status == 413:
        return Verdict.TOO_LARGE
    if status in (400, 422) and body.strip() and body.strip()[:1] not in (b"{", b"["):
        return Verdict.NOT_KLARS
    try:
        content = json.loads(body or b'{"status": "VALID"}')
    except ValueError:
        return None
    said = content.get("status") if isinstance(content, dict) else None
    refused = {"INVALID": Verdict.REJECTED, "PARTIALLY_VALID": Verdict.PARTIAL}.get(str(said))
    accepted = Verdict.ACCEPTED if said == "VALID" and not content.get("failedOrderIds") else None
    spelled_out = dict.fromkeys((200, 201, 202, 204), refused or accepted)
    if body:
        spelled_out |= {400: Verdict.REJECTED, 422: Verdict.REJECTED, 207: refused or Verdict.PARTIAL}
    return spelled_out.get(status)


def figures(sent: bytes) -> bool:
    """Whether these bytes spell a status."""
    status, body = spelled(sent) or (0, b"")
    return status == 200 and body == FIGURES


# The search


def breaches(cases: list[Case], *, post: bool) -> list[str]:
    """Answer a client's first request with each case, and its second with an answer of its own; tell what is wrong."""

    def reply(request: Request) -> Reply:
        line = request.head.partition(b"\r\n")[0]
        if b"transaction-costs" in line:
            body = b'{"message": "%b", "total": "%b"}' % (SECOND, SECOND)
            return Reply(whole("400 Bad Request" if post else "200 OK", body))
        number = re.search(rb"/case-(\d+)/", line)
        assert number
        case = cases[int(number[1])]
        return Reply(case.sent, stays=case.stays)

    def breach(number: int) -> str | None:
        case = cases[number]
        client = client_of(f"{url}/case-{number}", retry_timeout=0)
        try:
            first = submit(client).verdict if post else client.status(REFUNDS)
        except KlarError as error:
            first = None
            if not str(error).isprintable() or len(str(error)) > 400:
                return f"{case.name}: a message of several lines, {error}"
        except Exception as error:  # noqa: BLE001  # that is what is looked for
            return f"{case.name}: {error!r}"
        if first is not None and (first is not meaning(case.sent) if post else not figures(case.sent)):
            return f"{case.name}: read as {first}: {case.sent!r}"
        try:
            second = client.submit(COSTS, b"[]").content["message"] if post else client.status(COSTS).total
        except KlarError as error:
            return None if "no usable response" in str(error) else f"{case.name}: the second request: {error}"
        return None if second == SECOND.decode() else f"{case.name}: the second request read {second}"

    with serve(choose=reply) as (url, _), ThreadPoolExecutor(AT_ONCE) as pool:
        return [found for found in pool.map(breach, range(len(cases)), timeout=600) if found]


@pytest.mark.parametrize("name", POSTS)
def test_no_answer_that_is_cut_or_changed_is_taken_for_what_it_does_not_spell(name: str) -> None:
    raw, _ = POSTS[name]
    assert breaches(cases_of(name, raw, 24), post=True) == []


@pytest.mark.parametrize("name", STATUSES)
def test_no_status_that_is_cut_or_changed_is_taken_for_what_it_does_not_spell(name: str) -> None:
    assert breaches(cases_of(name, STATUSES[name], 24), post=False) == []


@pytest.mark.parametrize("name", POSTS)
def test_the_oracle_and_the_client_agree_on_each_answer_as_it_is(name: str) -> None:
    raw, verdict = POSTS[name]
    assert meaning(raw) is verdict
    with serve(raw) as (url, _):
        if verdict:
            assert submit(client_of(url, retry_timeout=0)).verdict is verdict
        else:
            with pytest.raises(KlarError, match=r"token|response|redirects|VALID"):
                submit(client_of(url, retry_timeout=0))


@pytest.mark.parametrize("name", STATUSES)
def test_the_oracle_and_the_client_agree_on_each_status_as_it_is(name: str) -> None:
    assert figures(STATUSES[name])
    with serve(STATUSES[name]) as (url, _):
        assert client_of(url, retry_timeout=0).status(REFUNDS).total == "9"


@pytest.mark.slow
def test_the_whole_program_writes_a_state_only_for_an_answer_that_spells_an_acceptance() -> None:
    every = [case for name, (raw, _) in POSTS.items() for case in (*cut(name, raw), *changed(name, raw))]
    every += [Case(name, raw) for name, (raw, _) in POSTS.items()]
    # Half of the sample from those that spell an acceptance, which are few.
    chance = random.Random(SEED)
    good = [case for case in every if meaning(case.sent) is Verdict.ACCEPTED]
    many = size(20, 200)
    cases = chance.sample(every, many - many // 4) + chance.sample(good, many // 4)
    loads = dict.fromkeys(range(many), 0)

    def reply(request: Request) -> Reply:
        line = request.head.partition(b"\r\n")[0]
        number = re.search(rb"/case-(\d+)/", line)
        assert number
        case = int(number[1])
        if line.startswith(b"POST"):
            loads[case] += 1
            return Reply(cases[case].sent)
        # Whatever the answer said, the status shows a load: the answer alone decides.
        shown = {"total": "1", "lastBatchCount": "1", "lastSuccess": f"2026-01-01T00:00:0{min(loads[case], 9)}Z"}
        return Reply(whole("200 OK", json.dumps(shown).encode(), "Connection: close"))

    def load(number: int) -> Ended:
        lines = [REFUNDS_SCHEMA, refund_record("R-1"), state(1)]
        return run(
            klar._replace(url=f"{klar.url}/case-{number}"),
            lines,
            retry_timeout_seconds=0,
            request_timeout_seconds=20,
            status_timeout_seconds=1,
        )

    wrong = []
    with serve(choose=reply) as klar, ThreadPoolExecutor(4) as pool:
        for case, ended in zip(cases, pool.map(load, range(many)), strict=True):
            good_end = (ended.code, ended.states) == (0, [1])
            bad_end = (ended.code, ended.states, len(ended.errors)) == (1, [], 1)
            accepted = meaning(case.sent) is Verdict.ACCEPTED
            if "Traceback" in ended.err or not ((good_end and accepted) or bad_end):
                wrong.append((case.name, ended.code, ended.states, ended.err[-500:]))
    assert wrong == []
