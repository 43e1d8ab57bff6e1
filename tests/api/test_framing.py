"""Only a whole answer counts, and a connection is used again only after one: against servers that break the rules."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

import pytest
from byte_server import Reply, Request, serve
from clients import ACCEPTED, answer, client_of, submit
from klar_objects import REFUNDS, refund

from target_klar.api.answers import Verdict
from target_klar.api.client import KlarError

if TYPE_CHECKING:
    from collections.abc import Callable

VALID = b'{"status": "VALID"}'
CREATED = b"HTTP/1.1 201 Created\r\n"
CHUNKED = CREATED + b"Transfer-Encoding: chunked\r\n\r\n"
INVALID = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 21\r\n\r\n" + b'{"status": "INVALID"}'
INTERIM = [
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 102 Processing\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n",
    b"HTTP/1.1 199 Whatever\r\n\r\n",
]

# Whole


@pytest.mark.parametrize(
    "raw",
    [
        CREATED + b"Content-Length: 0\r\n\r\n",
        CREATED + b"content-length:\t19 \r\n\r\n" + VALID,
        CREATED + b"Content-Length: 0019\r\n\r\n" + VALID,
        CREATED + b"X-Odd: \xff\x80 ;:\r\n!#$%&'*+.^_`|~0a: \r\nContent-Length: 0\r\n\r\n",
        CREATED + b"X: y\r\n" * 200 + b"Content-Length: 0\r\n\r\n",
        CREATED + b"\r\n" + VALID,
        b"HTTP/1.0 201 Created\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 201\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 201 \r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        CHUNKED + b"0\r\n\r\n",
        CHUNKED + b"0A\r\n" + VALID[:10] + b"\r\n9\r\n" + VALID[10:] + b"\r\n00\r\nX-Trailer: 1\r\n\r\n",
        CHUNKED + b"13;name=value\r\n" + VALID + b'\r\n0 ; a ; b = "c;\xe9"\r\n\r\n',
        CHUNKED + b"13  \r\n" + VALID + b"\r\n0\t\r\n\r\n",
    ],
)
def test_an_answer_that_keeps_the_rules_is_whole(raw: bytes) -> None:
    with serve(raw) as (url, _):
        assert submit(client_of(url, retry_timeout=0)).verdict is Verdict.ACCEPTED


@pytest.mark.parametrize("interim", INTERIM)
def test_an_interim_answer_is_passed_over_and_the_final_one_counts(interim: bytes) -> None:
    for times in (1, 3):
        with serve(Reply(interim * times + INVALID, stays=5), Reply(interim + ACCEPTED, stays=5)) as (url, received):
            client = client_of(url, retry_timeout=0)
            assert submit(client).verdict is Verdict.REJECTED
            assert submit(client).verdict is Verdict.ACCEPTED
            assert [request.connection for request in received] == [1, 1]


# None


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "the connection was closed before the end of the response"),
        (b"HTTP/1.1 20", "the connection was closed before the end of the response"),
        (CREATED, "the connection was closed before the end of the response"),
        (CREATED + b"X: y", "the connection was closed before the end of the response"),
        (CREATED + b"X: y\r\n", "the connection was closed before the end of the response"),
        (CREATED + b"Content-Length: 10\r\n\r\n{}", "the connection was closed before the end of the response"),
        (INTERIM[0], "the connection was closed before the end of the response"),
        (b"SSH-2.0-OpenSSH\r\n", "malformed status line"),
        (b"HTTP/1.1 201 Created\n\n", "malformed status line"),
        (b"HTTP/1.1 201 Cre\rated\r\n\r\n", "malformed status line"),
        (b"HTTP/1.1 201 Cre\0ated\r\n\r\n", "malformed status line"),
        (b"HTTP/1.1  201 Created\r\n\r\n", "malformed status line"),
        (b"HTTP/1.1 +201 Created\r\n\r\n", "malformed status line"),
        (b"HTTP/1.1 0201 Created\r\n\r\n", "malformed status line"),
        (b"HTTP/1.1 601 Created\r\n\r\n", "malformed status line"),
        (b"HTTP/1.2 201 Created\r\n\r\n", "malformed status line"),
        (b"HTTP/2 201\r\n\r\n", "malformed status line"),
        (b"\r\n" + ACCEPTED, "malformed status line"),
        (b"HTTP/1.1 201 " + b"x" * 70_000, "endless line"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n" + ACCEPTED, "a protocol that was not requested"),
        (CREATED + b"Content-Length: 0\n\r\n", "malformed header line"),
        (CREATED + b"Content-Length: 0\r\n\n", "malformed header line"),
        (CREATED + b"X: y\r\n folded\r\nContent-Length: 0\r\n\r\n", "malformed header line"),
        (CREATED + b"X : y\r\nContent-Length: 0\r\n\r\n", "malformed header line"),
        (CREATED + b": y\r\nContent-Length: 0\r\n\r\n", "malformed header line"),
        (CREATED + b"X\r\nContent-Length: 0\r\n\r\n", "malformed header line"),
        (CREATED + b"X: \x7f\r\nContent-Length: 0\r\n\r\n", "malformed header line"),
        (CREATED + b"X: " + b"x" * 70_000, "endless line"),
        (CREATED + b"X: yyyyy\r\n" * 7000 + b"\r\n", "endless headers"),
        (CREATED + b"Content-Length: \r\n\r\n", "ambiguous body length"),
        (CREATED + b"Content-Length: +0\r\n\r\n", "ambiguous body length"),
        (CREATED + b"Content-Length: -0\r\n\r\n", "ambiguous body length"),
        (CREATED + b"Content-Length: 0, 0\r\n\r\n", "ambiguous body length"),
        (CREATED + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n", "ambiguous body length"),
        (CREATED + b"Content-Length: \xb2\r\n\r\n", "ambiguous body length"),
        (CREATED + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", "ambiguous body length"),
        (CREATED + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "ambiguous body length"),
        (CREATED + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "ambiguous body length"),
        (CREATED + b"Transfer-Encoding: identity\r\n\r\n", "ambiguous body length"),
        (CHUNKED.replace(b"1.1", b"1.0") + b"0\r\n\r\n", "ambiguous body length"),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n{}", "ambiguous body length"),
        (CREATED + b"Content-Length: 99999999\r\n\r\n", "endless body"),
        (CHUNKED + b"FFFFFFFF\r\n", "endless body"),
        (CHUNKED, "the connection was closed before the end of the response"),
        (CHUNKED + b"0\r\n", "the connection was closed before the end of the response"),
        (CHUNKED + b"13\r\n" + VALID + b"\r\n", "the connection was closed before the end of the response"),
        (CHUNKED + b"13\r\n" + VALID + b"0\r\n\r\n", "malformed end of a chunk"),
        (CHUNKED + b"+13\r\n" + VALID + b"\r\n0\r\n\r\n", "malformed chunk size"),
        (CHUNKED + b"0x13\r\n" + VALID + b"\r\n0\r\n\r\n", "malformed chunk size"),
        (CHUNKED + b"1_3\r\n" + VALID + b"\r\n0\r\n\r\n", "malformed chunk size"),
        (CHUNKED + b"13\n" + VALID + b"\r\n0\r\n\r\n", "malformed chunk size"),
        (CHUNKED + b" 13\r\n" + VALID + b"\r\n0\r\n\r\n", "malformed chunk size"),
        (CHUNKED + b"13 0\r\n" + VALID + b"\r\n0\r\n\r\n", "malformed chunk size"),
        (CHUNKED + b"13;\0\r\n" + VALID + b"\r\n0\r\n\r\n", "malformed chunk size"),
        (CHUNKED + b"\r\n", "malformed chunk size"),
        (CHUNKED + b"0\r\nX y\r\n\r\n", "malformed header line"),
        (ACCEPTED + b"H", "more than one response"),
        (ACCEPTED + ACCEPTED, "more than one response"),
        (CHUNKED + b"0\r\n\r\n\r\n", "more than one response"),
    ],
)
def test_an_answer_that_breaks_the_rules_is_none_and_the_message_says_which(raw: bytes, why: str) -> None:
    words = rf"^refunds: no usable response from .* after 1 attempt in \d s \({re.escape(why)}\)\. Run again later; if "
    for client in (
        lambda url: submit(client_of(url, retry_timeout=0)),
        lambda url: client_of(url, retry_timeout=0).status(REFUNDS),
    ):
        with serve(raw) as (url, received):
            with pytest.raises(KlarError, match=words):
                client(url)
            assert len(received) == 1


# The connection


def test_a_connection_is_used_again_after_each_kind_of_whole_answer() -> None:
    whole = [ACCEPTED, INVALID, CHUNKED + b"0\r\n\r\n", b"HTTP/1.1 204 No Content\r\nConnection: Keep-Alive\r\n\r\n"]
    with serve(*(Reply(raw, stays=5) for raw in [*whole, ACCEPTED])) as (url, received):
        client = client_of(url, retry_timeout=0)
        for _ in whole:
            submit(client)
        submit(client)
        assert [request.connection for request in received] == [1] * 5


@pytest.mark.parametrize(
    "raw",
    [
        answer("201 Created"),
        b"HTTP/1.0 201 Created\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
        CREATED + b"Connection: keep-alive, Upgrade\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_a_connection_that_the_server_does_not_keep_is_not_used_again(raw: bytes) -> None:
    with serve(Reply(raw, stays=5)) as (url, received):
        client = client_of(url, retry_timeout=0)
        submit(client)
        submit(client)
        assert [request.connection for request in received] == [1, 2]


@pytest.mark.parametrize("surplus", [INVALID, b"HTTP/1.1 100 Continue\r\n\r\n", b"\r\n"])
def test_no_answer_is_read_as_that_of_the_next_request(surplus: bytes) -> None:
    def reply(request: Request) -> Reply:
        return Reply(ACCEPTED if b"R-2" in request.body else ACCEPTED + surplus, stays=5)

    with serve(choose=reply) as (url, received):
        client = client_of(url, retry_timeout=0)
        with pytest.raises(KlarError, match="more than one response"):
            submit(client)
        assert submit(client, refund("R-2")).verdict is Verdict.ACCEPTED
        assert [request.connection for request in received] == [1, 2]


CLOSED = re.escape("the connection was closed before the end of the response")


def stale(*later: Reply, keeps: float = 5) -> Callable[[Request], Reply]:
    """Answer a connection's first request, hang up at its second without an answer, and reply as said to the others."""
    left = list(later)

    def reply(request: Request) -> Reply:
        seen.append(request.connection)
        if len(seen) == 1:
            return Reply(ACCEPTED, stays=keeps)
        return Reply(b"") if len(seen) == 2 else left.pop(0)

    seen: list[int] = []
    return reply


def test_a_kept_connection_that_is_closed_before_an_answer_is_opened_again_at_once() -> None:
    notices: list[str] = []
    with serve(choose=stale(Reply(ACCEPTED, stays=5), Reply(ACCEPTED, stays=5))) as (url, received):
        client = client_of(url, retry_timeout=0, notices=notices)
        for key in ("R-1", "R-2", "R-3"):
            assert submit(client, refund(key)).verdict is Verdict.ACCEPTED
        assert [request.connection for request in received] == [1, 1, 2, 2]
        assert received[1].body == received[2].body
    assert (client.requests, client.retries, notices) == (3, 0, [])


def test_it_is_opened_again_for_a_status_too() -> None:
    status = answer("200 OK", b'{"total": "7"}')
    with serve(choose=stale(Reply(status))) as (url, _):
        client = client_of(url, retry_timeout=0)
        submit(client)
        assert client.status(REFUNDS).total == "7"


def test_it_is_opened_again_only_once() -> None:
    with serve(choose=stale(Reply(b""))) as (url, received):
        client = client_of(url, retry_timeout=0)
        submit(client)
        with pytest.raises(KlarError, match=rf"after 1 attempt in \d s \({CLOSED}\)"):
            submit(client)
        assert len(received) == 3


def test_a_connection_that_is_closed_in_the_middle_of_an_answer_is_a_failed_attempt() -> None:
    with serve(Reply(ACCEPTED, stays=5), Reply(ACCEPTED[:5])) as (url, received):
        client = client_of(url, retry_timeout=0)
        submit(client)
        with pytest.raises(KlarError, match=CLOSED):
            submit(client)
        assert len(received) == 2


def test_a_run_that_stops_does_not_send_a_request_once_more() -> None:
    stop = threading.Event()

    def reply(request: Request) -> Reply:
        if b"R-2" in request.body:
            stop.set()
            return Reply(b"")
        return Reply(ACCEPTED, stays=5)

    with serve(choose=reply) as (url, received):
        client = client_of(url, stop=stop)
        submit(client)
        with pytest.raises(KlarError, match=CLOSED):
            submit(client, refund("R-2"))
        assert len(received) == 2


def test_a_body_is_read_to_its_end_though_only_its_start_is_kept() -> None:
    body = b'{"message": "' + b"x" * 5_000_000 + b'"}'
    head = b"HTTP/1.1 400 Bad Request\r\n"
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:1_000_000], body[1_000_000:], b""))
    for raw in (head + b"Content-Length: %d\r\n\r\n" % len(body) + body, head + CHUNKED[len(CREATED) :] + chunks):
        with serve(Reply(raw, stays=5), Reply(ACCEPTED, stays=5), raw[:-1]) as (url, received):
            client = client_of(url, retry_timeout=0)
            assert submit(client) == (Verdict.REJECTED, None)
            assert submit(client).verdict is Verdict.ACCEPTED
            assert [request.connection for request in received] == [1, 1]
            with pytest.raises(KlarError, match=CLOSED):
                submit(client)
