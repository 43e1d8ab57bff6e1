"""The client alone, against the local Klar and against servers that break the rules of HTTP."""

from __future__ import annotations

import gzip
import json
import re
import socket
import threading
import time
from contextlib import ExitStack
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest
from byte_server import Reply, serve
from calls import closed_port
from clients import ACCEPTED, TOKEN, answer, client_of, submit
from klar_objects import COSTS, REFUNDS, cost, refund

from target_klar.api.answers import Status, Verdict
from target_klar.api.client import KlarError
from target_klar.contract.streams import CONTRACTS
from target_klar.records.json_codec import encode
from target_klar.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from target_klar.contract.streams import Contract


def seconds(call: Callable[[], object]) -> float:
    before = time.monotonic()
    call()
    return time.monotonic() - before


# Verdicts


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "202 Accepted"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"status": "VALID"}',
        b' {"errors": [], "failedOrderIds": [], "status": "VALID"}\n',
        b'{"status": "VALID", "successfulOrderIds": ["R1"]}',
        b'{"status": "VALID", "successfulOrderIds": []}',
        b'{"status": "VALID", "errors": [], "errors": [], "status": "VALID"}',
        b'{"status": "VALID", "successfulOrderIds": null, "success": true}',
    ],
)
def test_a_2xx_of_klars_with_no_body_or_one_that_says_valid_accepts(status: str, body: bytes) -> None:
    with serve(answer(status, body)) as (url, _):
        assert submit(client_of(url)).verdict is Verdict.ACCEPTED


def test_204_accepts() -> None:
    with serve(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n") as (url, _):
        assert submit(client_of(url)).verdict is Verdict.ACCEPTED


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "202 Accepted"])
@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"ok": true}',
        b'{"status": "valid"}',
        b'{"status": ["VALID"]}',
        b'{"message": "VALID"}',
        b'["VALID"]',
        b'{"status": "VALID", "failedOrderIds": ["R1"]}',
        b'{"status": "VALID", "failedIds": ["R1"], "errors": []}',
        b'{"status": "VALID", "failed": 1}',
        b'{"status": "VALID", "errors": [{"key": "0.id", "message": "no"}]}',
        b'{"status": "VALID", "error": "no"}',
        b'{"status": "VALID", "hasErrors": true}',
        b'{"status": "VALID", "validationErrors": [{"key": "0.id", "message": "no"}]}',
        b'{"status": "VALID", "unsuccessfulOrderIds": ["R1"]}',
        b'{"status": "VALID", "result": [{"failedOrderIds": ["R1"]}]}',
        b'{"status": "VALID", "status": "FAILED"}',
        b'{"status": "FAILED", "status": "VALID"}',
        b'{"status": "VALID", "\\u0073tatus": "INVALID"}',
        b'{"status": "VALID", "status": "PARTIALLY_VALID", "failedOrderIds": ["R1"]}',
        b'{"status": "VALID", "errors": ["no"], "errors": []}',
        b'{"status": "VALID", "result": {"failedOrderIds": ["R1"], "failedOrderIds": []}}',
        b'{"status": "VALID", "successfulOrderIds": ["R2"]}',
        b'{"status": "VALID", "successfulOrderIds": ["R1", "R2"]}',
        b'{"status": "VALID", "successfulOrderIds": [null]}',
        b'{"status": "VALID", "result": [{"successfulRefundIds": ["R2"]}]}',
        b'{"status": "PARTIALLY_VALID", "failedOrderIds": [], "successfulOrderIds": ["R1"]}',
    ],
)
def test_json_that_says_something_else_than_valid_stops_at_once_and_is_quoted(status: str, body: bytes) -> None:
    words = (
        rf"^Unexpected response from .*/refunds/json \(HTTP {status[:3]}\): {re.escape(body.decode())}\. "
        r"Check `refunds_api_version` \(12\.2022\) and `api_url`\.$"
    )
    with serve(answer(status, body)) as (url, received):
        with pytest.raises(KlarError, match=words):
            submit(client_of(url))
        assert len(received) == 1


COGS_OF_ONE_ORDER = [{"orderId": "O1", "sku": sku, "productCogs": 1} for sku in ("A", "B")]


@pytest.mark.parametrize(
    ("contract", "sent", "listed", "accepted"),
    [
        (REFUNDS, [refund("R1"), refund("R2"), refund("R3")], ["R3", "R1", "R2"], True),
        (REFUNDS, [refund("R1"), refund("R2"), refund("R3")], ["R1", "R3"], False),
        (COSTS, [cost("12"), cost("13")], [12, 13], True),
        (COSTS, [cost("12"), cost("13")], ["12"], False),
        (CONTRACTS["cogs"], COGS_OF_ONE_ORDER, ["O1"], True),
        (CONTRACTS["cogs"], COGS_OF_ONE_ORDER, ["O1", "O1"], True),
        (CONTRACTS["cogs"], COGS_OF_ONE_ORDER, ["O2", "O2"], False),
    ],
)
@pytest.mark.parametrize("validate", [False, True])
def test_valid_beside_a_list_of_successes_accepts_only_where_it_names_every_key_that_was_sent(
    contract: Contract, sent: list[dict[str, Any]], listed: list[Any], *, accepted: bool, validate: bool
) -> None:
    body = json.dumps({"status": "VALID", "successfulOrderIds": listed}).encode()
    with serve(answer("201 Created", body)) as (url, received), ExitStack() as expected:
        if not accepted:
            expected.enter_context(pytest.raises(KlarError, match=re.escape(f"HTTP 201): {body.decode()}. Check")))
        client = client_of(url, versions={"cogs": "12.2022"})
        answered = client.submit(contract, contract.body(map(encode, sent)), validate=validate)
        assert answered.verdict is Verdict.ACCEPTED
    assert len(received) == 1


@pytest.mark.parametrize("status", [203, 205, 206, 208, 226, 299])
@pytest.mark.parametrize("body", [b"", b'{"status": "VALID"}', b"<html>"])
def test_any_other_2xx_stops_at_once_and_is_quoted(status: int, body: bytes) -> None:
    shown = {b"": "an empty body", b"<html>": "an HTML page"}.get(body, body.decode())
    words = (
        rf"^Unexpected response from .*/refunds/json \(HTTP {status}.*\): {re.escape(shown)}\. Check `refunds_api_ver"
    )
    with serve(answer(f"{status} Odd", body)) as (url, received):
        with pytest.raises(KlarError, match=words):
            submit(client_of(url))
        assert len(received) == 1


@pytest.mark.parametrize(
    ("raw", "verdict"),
    [
        (answer("201 Created", b'{"status": "INVALID", "errors": []}'), Verdict.REJECTED),
        (answer("207 Multi-Status", b'{"status": "INVALID", "errors": []}'), Verdict.REJECTED),
        (answer("200 OK", b'{"status": "PARTIALLY_VALID"}'), Verdict.PARTIAL),
        (answer("207 Multi-Status", b'{"failedOrderIds": ["1"]}'), Verdict.PARTIAL),
        (answer("207 Multi-Status", b'{"status": "PARTIALLY_VALID", "errors": [{"id": "1"}]}'), Verdict.PARTIAL),
        (answer("400 Bad Request", b'{"status": "VALID"}'), Verdict.REJECTED),
        (answer("422 Unprocessable Entity", b"[]"), Verdict.REJECTED),
        (answer("413 Content Too Large"), Verdict.TOO_LARGE),
    ],
)
def test_each_answer_about_records_is_a_verdict_and_no_error(raw: bytes, verdict: Verdict) -> None:
    with serve(raw) as (url, received):
        assert submit(client_of(url)).verdict is verdict
        assert len(received) == 1


@pytest.mark.parametrize(
    ("body", "content"),
    [
        (b'{"message": "caf\xe9"}', {"message": "caf\ufffd"}),
        (b'{"message": "no", "value": 1E99999999999999999999}', None),
        (b'{"message": "no", "value": 1E-99999999999999999999}', None),
        (b'{"message": "no", "value": ' + b"9" * 5000 + b"}", None),
        (b'{"message": "\\ud800"}', {"message": "\ud800"}),
        (b'{"message": "no", "value": NaN}', None),
        (b"[" * 100_000 + b"]" * 100_000, None),
        (b'{"message": "' + b"x" * 3_000_000 + b'"}', None),
    ],
    ids=["latin-1", "huge", "tiny", "5,000 digits", "surrogate", "NaN", "deep", "3 MB"],
)
def test_a_refusal_stays_one_whatever_its_text_is(body: bytes, content: Any) -> None:
    with serve(answer("400 Bad Request", body), answer("201 Created", b'{"status": "INVALID",' + body[1:])) as (url, _):
        client = client_of(url)
        verdict, said = submit(client)
        assert verdict is Verdict.REJECTED
        if content or body.startswith(b'{"message": "no"'):
            assert said == content or said["message"] == "no"
            assert submit(client).verdict is Verdict.REJECTED
        else:
            assert said is None


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (answer("401 Unauthorized"), r"^The API token was refused \(HTTP 401 with an empty body, .*Check `api_token`"),
        (answer("401 Unauthorized", b"{}"), r"^The API token was refused \(HTTP 401, http.*tab Access Token\.$"),
        (
            answer("403 Forbidden", b"<!doctype html>\n<title lang=en> Just a\n moment &hellip;</title>"),
            r'^The API token was refused \(HTTP 403 with an HTML page \("Just a moment …"\), http.*Check `api_token`.*',
        ),
        (
            answer("404 Not Found", b"<html><title>" + b"x" * 999 + b"</title>"),
            r'^Not found: .*/12\.2022/refunds/json \(HTTP 404 with an HTML page \("x{57}\.\.\."\)\)\. Check `refunds',
        ),
        (answer("409 Conflict", b"Not   now,\nplease"), r'HTTP 409\): plain text \("Not now, please"\)\. Check `'),
        (
            answer("409 Conflict", b'{"a": "b\\n"}'),
            r'^Unexpected response from .*\(HTTP 409\): {"a": "b\\n"}\. Check `refun',
        ),
        (
            answer("415 Unsupported Media Type"),
            r"^Unexpected response from .*\(HTTP 415\): an empty body\. Check `refunds_",
        ),
        (
            answer("301 Moved", b"", "Location: /x"),
            r"redirects \(HTTP 301 with .*\); the token is sent to no other address",
        ),
        (answer("302 Found", b"<title>Log in</title>"), r'redirects \(HTTP 302 with an HTML page \("Log in"\)\);'),
        (answer("304 Not Modified"), r"redirects \(HTTP 304"),
    ],
)
def test_an_answer_that_will_not_change_stops_at_once_and_says_what_to_check(raw: bytes, words: str) -> None:
    with serve(raw) as (url, received):
        with pytest.raises(KlarError, match=words):
            submit(client_of(url))
        assert len(received) == 1


@pytest.mark.parametrize("repeated", [b"<title ", b"<title>", b"\\"])
def test_a_page_is_described_in_no_time_whatever_it_repeats(repeated: bytes) -> None:
    began = time.monotonic()
    page = answer("409 Conflict", b"<p>" + repeated * 300_000)
    with serve(page) as (url, _), pytest.raises(KlarError, match=r"\(HTTP 409\): an HTML page\. Check"):
        submit(client_of(url))
    assert time.monotonic() - began < 20, "an hour, were each place in it looked at from each other one"


def test_no_coding_of_the_answer_is_asked_for() -> None:
    with serve(ACCEPTED) as (url, received):
        submit(client_of(url))
    assert b"accept-encoding: identity\r\n" in received[0].head.lower()


# Tried again


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (answer("408 Request Timeout"), "HTTP 408"),
        (answer("425 Too Early"), "HTTP 425"),
        (answer("429 Too Many Requests"), "HTTP 429"),
        (answer("500 Internal Server Error"), "HTTP 500"),
        (answer("502 Bad Gateway", b"<html>"), "HTTP 502 with an HTML page)"),
        (answer("503 Service Unavailable", b'{"message": "no"}'), "HTTP 503)"),
        (answer("504 Gateway Timeout", b"upstream timed out"), 'HTTP 504 with plain text ("upstream timed out"))'),
        (answer("599 Whatever"), "HTTP 599"),
        (answer("200 OK", b"<html>Please log in</html>"), "HTTP 200 with an HTML page that is not Klar's"),
        (answer("201 Created", b"null"), 'HTTP 201 with plain text ("null") that is not Klar\'s'),
        (answer("201 Created", b"\n"), "HTTP 201 with an empty body"),
        (answer("207 Multi-Status"), "HTTP 207 with an empty body"),
        (answer("201 Created", b'{"status": '), "HTTP 201 with broken JSON"),
        (
            answer("201 Created", b'{"status": "VALID", "is": "\xe9"}'),
            "HTTP 201 with JSON that cannot be read to the letter",
        ),
        (answer("201 Created", b'{"status": "VALID", "is": 1E99999999999999999999}'), "HTTP 201 with JSON that cannot"),
        (
            answer("201 Created", b'{"status": "VALID", "is": "' + b"x" * 3_000_000 + b'"}'),
            "HTTP 201 with a body of 2,097",
        ),
        (answer("207 Multi-Status", b"<html>"), "HTTP 207 with an HTML page"),
        (
            answer("201 Created", gzip.compress(b'{"status": "VALID"}'), "Content-Encoding: gzip"),
            "HTTP 201 with plain text",
        ),
        (answer("400 Bad Request"), "HTTP 400 with an empty body"),
        (answer("422 Unprocessable Entity", b" "), "HTTP 422 with an empty body"),
        (answer("400 Bad Request", b'{"message": "no'), "HTTP 400 with broken JSON"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n[{", "HTTP 400 with broken JSON"),
        (b"HTTP/1.1 201 Created\r\n\r\n", "HTTP 201 with an empty body of no announced length, which a proxy may"),
    ],
)
def test_what_is_no_answer_of_klars_is_no_verdict_and_the_error_says_why(raw: bytes, reason: str) -> None:
    with serve(raw) as (url, received):
        with pytest.raises(
            KlarError, match=r"^refunds: no usable response from .* Run again later; if it persists, check `api_url`\.$"
        ) as raised:
            submit(client_of(url, retry_timeout=0))
        assert len(received) == 1
    assert f" ({reason}" in str(raised.value)


@pytest.mark.parametrize("status", ["400 Bad Request", "422 Unprocessable Entity"])
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html><head><TITLE>Blocked</TITLE>", 'an HTML page ("Blocked")'),
        (b"Bad Request", 'plain text ("Bad Request")'),
        (b"null", 'plain text ("null")'),
        (b'"no"', 'plain text (""no"")'),
    ],
)
def test_a_page_that_refuses_is_tried_three_times_and_is_then_no_refusal_of_klars(
    status: str, body: bytes, said: str
) -> None:
    with serve(answer("503 Busy"), answer(status, body)) as (url, received):
        verdict, content = submit(client_of(url))
        assert len(received) == 4
    assert (verdict, content) == (Verdict.NOT_KLARS, f"HTTP {status[:3]} with {said}")


def test_a_page_that_refuses_once_is_a_failed_attempt() -> None:
    with serve(answer("400 Bad Request", b"<html>"), ACCEPTED) as (url, received):
        client = client_of(url)
        assert submit(client).verdict is Verdict.ACCEPTED
        assert (len(received), client.retries) == (2, 1)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"{", b'{"statusCode": 413}'],
    ids=["an empty body", "an HTML page", "broken JSON", "JSON of Klar's"],
)
def test_413_is_about_the_size_whatever_its_body_is(body: bytes) -> None:
    with serve(answer("413 Content Too Large", body)) as (url, received):
        assert submit(client_of(url)).verdict is Verdict.TOO_LARGE
        assert len(received) == 1


def test_what_is_no_answer_of_klars_is_tried_again_and_the_notice_says_why() -> None:
    notices: list[str] = []
    with serve(answer("503 Service Unavailable"), ACCEPTED) as (url, received):
        client = client_of(url, notices=notices)
        assert submit(client).verdict is Verdict.ACCEPTED
        assert len(received) == 2

    assert (client.requests, client.retries) == (2, 1)
    (notice,) = notices
    assert notice.startswith(f"refunds: no usable response from {url}/12.2022/refunds/json (")
    assert "(HTTP 503); next try in " in notice


def test_a_port_where_nobody_listens_is_tried_until_the_limit_and_then_named() -> None:
    words = (
        r"^refunds: no usable response from {}/12\.2022/refunds/json after \d attempts? in \d s \(connection refused"
    )

    with closed_port() as url, pytest.raises(KlarError, match=words.format(url)):
        submit(client_of(url, retry_timeout=2))


def test_without_time_for_retries_there_is_one_attempt() -> None:
    with serve(answer("503 Service Unavailable")) as (url, received):
        with pytest.raises(
            KlarError,
            match=r"after 1 attempt in \d s \(HTTP 503\)\. Run again later; if it persists, check `api_url`\.$",
        ):
            submit(client_of(url, retry_timeout=0))
        assert len(received) == 1


def test_the_wait_between_attempts_doubles_and_the_limit_counts_from_the_first_try(klar: Sandbox) -> None:
    klar.misbehave("503@1+")
    client = client_of(klar, retry_timeout=0.8, first_wait=0.1)

    with pytest.raises(KlarError, match=r"after \d attempts? in \d s \(HTTP 503\)"):
        submit(client)

    began = [post.started for post in klar.posts()]
    # The waits are 0.1 to 0.2 s, 0.2 to 0.3 s, 0.4 to 0.5 s: with all of them short a fourth try is within the limit.
    assert 2 <= len(began) <= 4
    assert began[1] - began[0] >= 0.1
    assert began[-1] - began[0] <= 0.8
    assert klar.refunds == {}


@pytest.mark.parametrize("header", [" 2 ", "date"])
def test_retry_after_is_waited_for(header: str) -> None:
    value = formatdate(time.time() + 3, usegmt=True) if header == "date" else header
    with serve(answer("429 Too Many Requests", b"", f"Retry-After: {value}"), ACCEPTED) as (url, _):
        took = seconds(lambda: submit(client_of(url)))

    assert took >= 1.9


@pytest.mark.parametrize(
    ("value", "wait"),
    [("3600", "3,600"), ("9" * 400, "10,000,000,000"), ("Fri, 31 Dec 2100 23:59:59 GMT", r"\d,\d{3},\d{3},\d{3}")],
)
@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
def test_a_retry_after_beyond_the_limit_gives_up_at_once_and_the_message_says_how_long(
    status: str, value: str, wait: str
) -> None:
    def give_up() -> None:
        asked = rf"HTTP {status[:3]}, asking to wait {wait} s"
        words = rf"after 1 attempt in \d s \({asked}, more than `retry_timeout_seconds` leaves\)"
        with pytest.raises(KlarError, match=words):
            submit(client_of(url, retry_timeout=60))

    with serve(answer(status, b"", f"Retry-After: {value}")) as (url, received):
        took = seconds(give_up)
        assert len(received) == 1

    assert took < 20


@pytest.mark.parametrize(
    "value",
    ["soon", "", "-5", "1.5", "\xb2", "Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 +99999999999999"],
)
def test_a_retry_after_that_says_nothing_leaves_the_usual_wait(value: str) -> None:
    busy = answer("503 Service Unavailable", b"", f"Retry-After: {value}")
    with serve(busy, ACCEPTED) as (url, received):
        assert submit(client_of(url)).verdict is Verdict.ACCEPTED
        assert len(received) == 2


# Time


@pytest.mark.parametrize(
    ("begins", "trickle"),
    [
        (b"HTTP/1.1 201 Created\r\nContent-Length: 9999\r\n\r\n", b" "),
        (b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (b"HTTP/1.1 201 Created\r\nX-Slow: ", b"."),
        (b"HTTP/1.1 201 Created\r\n", b"X: y\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 201 Cr", b"e"),
    ],
    ids=["body", "chunks", "one header", "headers", "continue", "status line"],
)
def test_an_answer_that_trickles_is_cut_and_is_no_answer(begins: bytes, trickle: bytes) -> None:
    def give_up() -> None:
        with pytest.raises(KlarError, match=r"after 1 attempt in \d s \(no full response within 1 s\)"):
            submit(client_of(url, request_timeout=1, retry_timeout=0))

    with serve(Reply(begins, trickle)) as (url, _):
        took = seconds(give_up)

    assert 0.9 < took < 10


def test_an_attempt_is_cut_in_its_own_time_though_a_longer_one_began_before() -> None:
    def give_up() -> None:
        with pytest.raises(KlarError, match=r"\(no full response within 1 s\)"):
            submit(client_of(url, request_timeout=1, retry_timeout=0))

    def wait() -> None:
        with pytest.raises(KlarError, match="the connection was closed"):
            submit(client_of(url, request_timeout=60, retry_timeout=0))

    longer = threading.Thread(target=wait)
    with serve(Reply(b"HTTP/1.1 201 Created\r\n", b"X-Slow: 1\r\n")) as (url, received):
        longer.start()
        while not received:
            time.sleep(0.01)
        assert 0.9 < seconds(give_up) < 10
    longer.join(20)
    assert not longer.is_alive()


def test_a_server_that_takes_the_connection_and_says_nothing_is_left_after_the_timeout() -> None:
    def give_up() -> None:
        with pytest.raises(KlarError, match=r"after 1 attempt in \d s \(no full response within 1 s\)"):
            submit(client_of(url, request_timeout=1, retry_timeout=0))

    with serve(Reply(b"", stays=20)) as (url, _):
        assert 0.9 < seconds(give_up) < 10


def test_a_server_that_does_not_read_the_body_is_left_after_the_timeout() -> None:
    def give_up() -> None:
        with pytest.raises(KlarError, match=r"after 1 attempt in \d s \(no full response within 1 s\)"):
            client.submit(REFUNDS, REFUNDS.body([encode(refund("x" * 50_000_000))]))

    with socket.create_server(("127.0.0.1", 0)) as deaf:
        client = client_of(f"http://127.0.0.1:{deaf.getsockname()[1]}", request_timeout=1, retry_timeout=0)
        assert 0.9 < seconds(give_up) < 20


def test_an_answer_without_end_is_no_answer() -> None:
    endless = serve(Reply(b"HTTP/1.1 201 Created\r\nConnection: close\r\n\r\n", b" " * 20_000_000))
    with endless as (url, _), pytest.raises(KlarError, match="after 1 attempt"):
        submit(client_of(url, request_timeout=20, retry_timeout=0))


def test_a_connection_goes_on_being_used_after_a_whole_answer(klar: Sandbox) -> None:
    client = client_of(klar, request_timeout=1)
    for number in range(5):
        submit(client, refund(f"R-{number}"))
    time.sleep(1.2)  # past the time of every attempt so far, which must not cut this one
    submit(client, refund("R-5"))

    assert len({post.client for post in klar.posts()}) == 1
    assert [post.status for post in klar.posts()] == [201] * 6


@pytest.fixture
def silent_addresses() -> Iterator[tuple[int, list[str]]]:
    """A port at four addresses of this machine that takes no connection and refuses none, since its queue is full."""
    addresses = [f"127.0.0.{last}" for last in range(11, 15)]
    with ExitStack() as stack:
        port = 0
        for address in addresses:
            listener = stack.enter_context(socket.create_server((address, port), backlog=0))
            port = listener.getsockname()[1]
            for _ in range(3):
                waiting = stack.enter_context(socket.socket())
                waiting.settimeout(0)
                waiting.connect_ex((address, port))
        yield port, addresses


def test_a_name_with_four_silent_addresses_takes_the_time_of_one_attempt(
    silent_addresses: tuple[int, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, addresses = silent_addresses
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    def give_up() -> None:
        with pytest.raises(KlarError, match=r"after 1 attempt in \d s \(no full response within 2 s\)"):
            submit(client_of(f"http://localhost:{port}", request_timeout=2, retry_timeout=0))

    assert 1.9 < seconds(give_up) < 6


def test_the_slowest_answer_of_klars_to_a_post_is_known(klar: Sandbox) -> None:
    client = client_of(klar, first_wait=0.01)
    klar.misbehave("503@1")
    klar.latency = 0.3
    submit(client)
    klar.latency = 0
    submit(client, refund("R-2"))
    klar.latency = 2
    client.status(REFUNDS)

    assert 0.3 <= client.longest_answer < 1.9


# Stopping


def test_a_stopping_run_sends_nothing_but_may_still_ask_for_the_status(klar: Sandbox) -> None:
    stop = threading.Event()
    client = client_of(klar, stop=stop)
    submit(client)
    stop.set()

    with pytest.raises(KlarError, match=r"^The run is stopping: a request to .*/refunds/json was not sent\.$"):
        submit(client, refund("R-2"))
    assert client.status(REFUNDS).total == "1"
    assert klar.refunds.keys() == {"R1"}


def test_a_request_that_waits_to_be_sent_again_is_not_once_the_run_stops(klar: Sandbox) -> None:
    stop = threading.Event()
    klar.misbehave("503@1")
    klar.observer = lambda moment, _: threading.Timer(0.1, stop.set).start() if moment == "answered" else None

    def give_up() -> None:
        with pytest.raises(KlarError, match=r"^The run is stopping: a request to .*/refunds/json was not sent\.$"):
            submit(client_of(klar, stop=stop, first_wait=0.5))

    took = seconds(give_up)

    assert took < 10
    assert len(klar.posts()) == 1
    assert klar.refunds == {}


# Status


def test_a_status_is_read_as_klar_writes_it(klar: Sandbox) -> None:
    client = client_of(klar)
    before = client.status(REFUNDS)
    submit(client, refund("R1"), refund("R-2"))
    after = client.status(REFUNDS)

    assert tuple(before) == ("0", "0", None, None)
    assert (after.total, after.last_batch_count, after.last_failure) == ("2", "2", None)
    assert after.newer_than(before)
    assert not before.newer_than(after)


@pytest.mark.parametrize(
    "later",
    [
        "2026-01-01T00:00:00.5Z",
        "2026-01-01T00:00:00.123456789Z",
        "2026-01-01T01:00:00.001+0100",
        "2026-01-01 00:00:01",
        "2026-01-01T00:00:01+00:00",
    ],
)
def test_a_load_is_newer_in_whatever_form_of_iso_8601_its_time_is_written(later: str) -> None:
    known, newer = (Status("1", "1", moment, None) for moment in ("2026-01-01T00:00:00.000Z", later))
    assert newer.newer_than(known)
    assert not known.newer_than(newer)


AT = "2026-01-01T00:00:00Z"
BEFORE = "2025-12-31T23:59:59.5Z"


@pytest.mark.parametrize("known", [None, AT])
def test_a_load_shows_by_the_figures_where_the_time_stands_still(known: str | None) -> None:
    before, *later = (
        Status(total, count, AT, known)
        for total, count in [("10", "5"), ("15", "5"), ("10", "4"), ("15", "4"), ("9", "5"), (None, None)]
    )
    assert [status.newer_than(before) for status in later] == [True, True, True, False, False]
    assert not before.newer_than(before)


@pytest.mark.parametrize(
    "later",
    [
        Status("15", "5", BEFORE, None),
        Status("15", "5", None, None),
        Status("15", "5", "soon", None),
        Status("15", "5", AT, AT),
        Status("15", "5", AT, BEFORE),
    ],
    ids=["an older time", "no time", "no date", "a failure since", "another failure"],
)
def test_no_load_shows_where_the_figures_alone_moved(later: Status) -> None:
    assert not later.newer_than(Status("10", "5", AT, None))


def test_without_any_success_the_figures_show_no_load() -> None:
    assert not Status("15", "5", None, None).newer_than(Status("10", "5", None, None))


def test_costs_have_a_status_under_the_other_spelling_too() -> None:
    with Sandbox(state_spelling=True) as klar:
        client = client_of(klar)
        client.status(COSTS)
        client.status(COSTS)

        asked = [request.path for request in klar.requests]
    assert asked == ["/transaction-costs/status", "/transaction-costs/state", "/transaction-costs/state"]


def test_a_status_that_klar_does_not_know_names_the_address() -> None:
    with serve(answer("404 Not Found"), answer("404 Not Found", b"<html>")) as (url, received):
        with pytest.raises(KlarError, match=rf"^Not found: {url}/transaction-costs/state \(HTTP 404 with"):
            client_of(url).status(COSTS)
        assert len(received) == 2


@pytest.mark.parametrize("body", [b"null", b"<html>", b"", b'{"total": "9"', b'{"total": "\xe9"}'])
def test_a_status_that_is_no_json_is_no_answer(body: bytes) -> None:
    words = r"\(HTTP 200 with (plain text|an HTML page|an empty body|broken JSON|JSON that cannot be read)"
    with serve(answer("200 OK", body)) as (url, _), pytest.raises(KlarError, match=words):
        client_of(url, retry_timeout=0).status(REFUNDS)


@pytest.mark.parametrize(
    "raw",
    [
        answer("200 OK", b"[]"),
        answer("201 Created", b"{}"),
        answer("400 Bad Request", b"{}"),
        answer("203 Odd"),
        answer("200 OK", b'{"total": "7", "total": "9"}'),
    ],
)
def test_a_status_that_is_no_object_with_200_stops_at_once_and_is_quoted(raw: bytes) -> None:
    with serve(raw) as (url, received):
        with pytest.raises(
            KlarError,
            match=r"^Unexpected response from .*/refunds/status \(HTTP \d+\): (\[\]|{.*}|an empty body)\. Check `api",
        ):
            client_of(url).status(REFUNDS)
        assert len(received) == 1


@pytest.mark.parametrize(
    "interim", [b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"]
)
def test_a_status_after_an_interim_answer_is_read(interim: bytes) -> None:
    with serve(interim + answer("200 OK", b'{"total": "7"}')) as (url, _):
        assert client_of(url).status(REFUNDS).total == "7"


def test_a_status_holds_figures_fit_for_a_message_and_nothing_else() -> None:
    body = b'{"total": {"a": 1}, "lastBatchCount": 4, "lastSuccess": "' + b"x" * 100 + b'", "lastFailure": "a\\nb"}'
    with serve(answer("200 OK", body)) as (url, _):
        assert client_of(url).status(REFUNDS) == (None, "4", "x" * 37 + "...", r"a\nb")


# The token


def test_every_request_carries_the_token_and_says_who_sends_it(klar: Sandbox) -> None:
    client = client_of(klar)
    client.status(REFUNDS)
    submit(client)

    assert [(request.authorized, request.user_agent) for request in klar.requests] == [(True, "target-klar/9.9.9")] * 2


@pytest.mark.parametrize("where", ["HOME", "NETRC"])
def test_a_netrc_does_not_replace_the_token(
    klar: Sandbox, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\ndefault login someone password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv(where, str(tmp_path if where == "HOME" else netrc))
    submit(client_of(klar))

    assert [post.authorized for post in klar.posts()] == [True]


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_no_proxy_sees_what_goes_to_this_machine(klar: Sandbox, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for known in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(known, raising=False)
    with serve(ACCEPTED) as (proxy, received):
        monkeypatch.setenv(name, proxy)
        submit(client_of(klar))
        assert received == []

    assert klar.refunds.keys() == {"R1"}


@pytest.mark.parametrize(
    "raw",
    [
        answer("401 Unauthorized", f"no such token: {TOKEN}".encode()),
        answer("409 Conflict", f"Bearer {TOKEN} is busy".encode()),
        answer("409 Conflict", b"x" * 110 + TOKEN.encode()),
        answer("503 Service Unavailable", TOKEN.encode()),
        answer("307 Temporary", b"", f"Location: https://elsewhere.invalid/?{TOKEN}"),
        f"HTTP/1.1 {TOKEN} {TOKEN}\r\n\r\n".encode(),
    ],
)
def test_the_token_is_in_no_exception_and_no_notice(raw: bytes) -> None:
    notices: list[str] = []
    with serve(raw) as (url, _), pytest.raises(KlarError, match=r"redirects|token|response") as raised:
        submit(client_of(url, retry_timeout=1, notices=notices))

    error: BaseException | None = raised.value
    while error is not None:
        assert TOKEN[:12] not in f"{error!r} {error}" or type(error) is not KlarError
        error = error.__cause__
    assert TOKEN not in repr(raised.value)
    assert TOKEN[:12] not in str(raised.value)
    assert not any(TOKEN in notice for notice in notices)


def escaped(how: str) -> str:
    """The token of these tests with each of its characters written in one way."""
    return "".join(how.format(ord(character), f"{ord(character):02x}", character) for character in JWT)


JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ+L/x==.c2-ln_bmF0dXJl"
SPELLINGS = {
    "as it is": JWT,
    "slashes": JWT.replace("/", "\\/"),
    "dots": JWT.replace(".", "\\u002e"),
    "dots, upper case": JWT.replace(".", "\\u002E").replace("J", "\\u004A"),
    "every character": escaped(r"\u00{1}"),
    "every other way": "".join(f"\\u00{ord(c):02X}" if at % 2 else c for at, c in enumerate(JWT)),
    "JSON in JSON": JWT.replace(".", "\\\\u002e").replace("/", "\\\\\\/"),
    "percent": JWT.replace("/", "%2F").replace("=", "%3d").replace("+", "%2b"),
    "every character by percent": escaped("%{1}"),
    "percent twice": JWT.replace("/", "%252F"),
    "HTML": JWT.replace("/", "&#x2F;").replace(".", "&#46;"),
    "the start of it": JWT[:20],
    "the end of it": JWT[-20:],
    "the middle of it": JWT[9:30],
    "a piece, escaped": JWT[9:30].replace(".", "\\u002e"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_token_is_masked_however_an_answer_spells_it(spelling: str) -> None:
    said = f'{{"message": "the header Bearer {SPELLINGS[spelling]} is odd"}}'.encode()
    text = f"Bearer {SPELLINGS[spelling]}".encode()
    answers = answer("400 Bad Request", said), answer("409 Conflict", said), answer("409 Conflict", text)
    with serve(*answers, answer("409 Conflict", b"x" * 45 + text)) as (url, received):
        client = client_of(url, token=JWT)
        verdict, content = submit(client)
        assert (verdict, content) == (Verdict.REJECTED, {"message": "the header Bearer *** is odd"})
        for _ in range(3):
            with pytest.raises(KlarError, match=r"HTTP 409\): .*Bearer( \*|\.\.\.)") as raised:
                submit(client)
            assert not any(JWT[at : at + 8] in str(raised.value) for at in range(len(JWT) - 8))
    assert JWT.encode() in received[0].head


def test_what_is_not_the_token_is_shown_as_it_came() -> None:
    said = {"message": "50%25 of R%2e1 in eyJhbGc. \\u002e \\/ is odd &#46;"}
    with serve(answer("400 Bad Request", json.dumps(said).encode())) as (url, _):
        assert submit(client_of(url, token=JWT)).content == said


def test_the_token_is_in_no_repr(klar: Sandbox) -> None:
    client = client_of(klar)

    assert klar.token not in repr(client)
    assert klar.token not in repr(client._connection)
    assert klar.token not in f"{client.__dict__}"
