"""Odd calls at the local Klar, chosen and searched for: each gets whole answers that say what is wrong with it."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from calls import COSTS_PATH, REFUNDS_PATH, VALIDATE_PATH, call, post
from hypothesis import given, settings
from hypothesis import strategies as st
from klar_objects import refund
from thoroughness import size

from target_klar.sandbox import FAULTS, Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

FAULTS_PATH = "/sandbox/faults"
TOKEN = "the-token"


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes


def replies(said: bytes) -> list[Reply]:
    """Every answer in what a server said until it hung up; fails where one is cut or is no answer."""
    found = []
    while said:
        head, gap, rest = said.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status, *_ = first.split(" ")
        assert (version, gap) == ("HTTP/1.1", b"\r\n\r\n"), said[:200]
        if status != "100":  # "go on", before the answer
            fields = dict(line.split(": ", 1) for line in lines)
            length = 0 if status == "204" else int(fields["Content-Length"])
            assert len(rest) >= length, said[:200]
            found.append(Reply(int(status), rest[:length]))
            rest = rest[length:]
        said = rest
    return found


def send(klar: Sandbox, sent: bytes, *, leave_open: bool = False) -> list[Reply]:
    """Sends bytes as they are and returns all answers until the server hangs up."""
    said = b""
    with socket.create_connection(("127.0.0.1", klar.port), timeout=20) as client:
        client.sendall(sent)
        if not leave_open:
            client.shutdown(socket.SHUT_WR)
        while more := client.recv(65536):
            said += more
    return replies(said)


def spelled(method: str, path: str, body: bytes = b"", *lines: str) -> bytes:
    """A call as bytes: with the right token, type and length, but where a line says something else."""
    given = {line.partition(":")[0] for line in lines}
    usual = {
        "Host": "localhost",
        "Authorization": f"Bearer {TOKEN}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
    }
    said = [*(f"{name}: {value}" for name, value in usual.items() if name not in given), *lines]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *said, "", ""]).encode("latin-1") + body


@pytest.fixture(scope="module")
def patient() -> Iterator[Sandbox]:
    """One local Klar that meets all the odd calls of this file."""
    with Sandbox(token=TOKEN, body_seconds=0.3) as klar:
        yield klar


@pytest.mark.parametrize(
    "body",
    [
        '{"faults": [1]}',
        '{"faults": [null]}',
        '{"faults": [NaN]}',
        '{"faults": "503"}',
        '{"faults": ""}',
        '{"faults": {}}',
        '{"faults": {"503@1": 1}}',
        '{"faults": ["503@1"], "more": 1}',
        '{"faults": ["\\ud800"]}',
        '{"faults": ["503@' + "9" * 5000 + '"]}',
        '{"fault": []}',
        "[]",
        "7",
        "null",
        "",
        "[" * 100_000,
        '{"faults": ' + "[" * 500 + "]" * 500 + "}",
    ],
)
def test_faults_of_another_shape_are_refused_and_those_that_are_set_stay(klar: Sandbox, body: str) -> None:
    klar.misbehave("503@2")
    answer = call(klar, "POST", FAULTS_PATH, body)

    assert answer.status_code == 400
    assert answer.json()["message"].startswith('send {"faults": ["503@3"]}: ')
    assert [post(klar, REFUNDS_PATH, [refund()]).status_code for _ in range(3)] == [201, 503, 201]


@pytest.mark.parametrize("path", [REFUNDS_PATH, VALIDATE_PATH, COSTS_PATH])
@pytest.mark.parametrize("levels", [150, 500, 5000, 100_000])
def test_a_body_that_is_nested_too_deeply_is_refused(klar: Sandbox, path: str, levels: int) -> None:
    deep = "[" * levels + "]" * levels
    objects = f'[{{"id": "R1", "createdAt": 1700000000, "lineItems": [], "note": {deep}}}]'
    answer = post(klar, path, objects if path != COSTS_PATH else f'{{"items": {objects}}}')

    assert answer.status_code == 400
    assert klar.refunds == {}


def test_a_field_of_90_levels_is_held_and_shown(klar: Sandbox) -> None:
    klar.extra_fields = ["note"]
    deep = "[" * 90 + "]" * 90
    body = f'[{{"id": "R1", "createdAt": 1700000000, "lineItems": [], "note": {deep}}}]'

    assert post(klar, REFUNDS_PATH, body).status_code == 201
    for path in ("/sandbox/held", "/sandbox/overview", "/sandbox/export"):
        assert deep[:90] in call(klar, "GET", path).text.replace('"[]"', "[]")


@pytest.mark.parametrize("style", ["tree", "tree-item", "index"])
def test_a_refusal_does_not_grow_with_the_square_of_what_was_sent(klar: Sandbox, style: Any) -> None:
    klar.refuse_style = style
    answer = post(klar, REFUNDS_PATH, [refund("R" * 200_000, **{f"field{place}": place for place in range(500)})])

    assert answer.status_code == 400
    assert 1000 < len(answer.content) < 20_000_000 < 500 * 200_000
    assert answer.json()


@pytest.mark.parametrize(
    ("number", "status"),
    [
        ("1e999999", 400),
        ("-1e9999999999", 400),
        ("1e99999999999999999999", 400),
        ("9" * 5000, 400),
        ("-" + "9" * 100_000, 400),
        ("0e99999999999999999999", 201),
        ("1e-99999999999999999999", 201),
        ("1e-9999999", 201),
        ("-0", 201),
        ("1.50E+2", 201),
        ("1e2", 201),
        ("0.0000000001000", 201),
    ],
)
def test_every_number_is_answered_and_written_as_it_came(klar: Sandbox, number: str, status: int) -> None:
    answer = post(klar, COSTS_PATH, f'{{"items": [{{"orderId": "O1", "transactionCosts": {number}}}]}}')

    assert answer.status_code == status
    if status == 201:
        told = call(klar, "GET", "/sandbox/export").text
        assert (
            told == f'{{"stream": "transaction_costs", "object": {{"orderId": "O1", "transactionCosts": {number}}}}}\n'
        )
    else:
        assert f'"value": {number}}}' in answer.text


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        (spelled("BREW", "/"), [501]),
        (spelled("HEAD", "/"), [501]),
        (spelled("OPTIONS", "*"), [501]),
        (spelled("PUT", FAULTS_PATH), [404]),
        (spelled("GET", "/sandbox/../refunds/status"), [404]),
        (spelled("GET", "/sandbox/%2e%2e/held"), [404]),
        (spelled("GET", "//[/sandbox/held"), [404]),
        (spelled("GET", "http://[/sandbox/held"), [400]),
        (spelled("GET", "/" + "x" * 70_000), [414]),
        (spelled("GET", "/sandbox/held", b"", "Host: ["), [403]),
        (spelled("GET", "/sandbox/held", b"", "Host: \xbd"), [403]),
        (spelled("GET", "/sandbox/held", b"", "Origin: http://["), [403]),
        (spelled("GET", "/", b"", "no header"), [400]),
        (spelled("GET", "/", b"", "X: " + "x" * 70_000), [431]),
        (spelled("GET", "/", b"", *["X: x"] * 200), [431]),
        (spelled("POST", REFUNDS_PATH, b"[]", "Content-Length: 9"), [400]),
        (spelled("POST", REFUNDS_PATH, b"[]" * 9, "Content-Length: 2"), [400, 400]),
        (spelled("POST", REFUNDS_PATH, b"[]", "Content-Length: -1"), [400]),
        (spelled("POST", REFUNDS_PATH, b"[]", "Content-Length: two"), [400]),
        (spelled("POST", REFUNDS_PATH, b"[]", "Content-Length: " + "9" * 5000), [413]),
        (spelled("POST", REFUNDS_PATH, b"[]", "Content-Length: 2", "Content-Length: 3"), [400]),
        (spelled("POST", REFUNDS_PATH, b"x" * 1_000_000, "Transfer-Encoding: chunked"), [411]),
        (spelled("BREW", REFUNDS_PATH, b"x" * 1_000_000), [501]),
        (b"\r\n" + spelled("GET", "/refunds/status"), [200]),
        (b"GET / HTTP/2.0\r\n\r\n", [505]),
        (b"no call\r\n\r\n", [400]),
        (b"\x00\xff\r\n\r\n", [400]),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", [400]),
    ],
)  # fmt: skip
def test_what_is_hardly_http_gets_a_whole_answer(patient: Sandbox, sent: bytes, statuses: list[int]) -> None:
    answers = send(patient, sent)

    assert [reply.status for reply in answers] == statuses
    if statuses[0] >= 400 and not sent.startswith(b"HEAD"):
        assert json.loads(answers[0].body)["message"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["Content-Length: 9999"], "the body has 103 bytes, and its Content-Length is 9999"),
        (["Content-Length: 103", "Content-Length: 102"], "the Content-Length must be one whole number"),
        (["Content-Length: 10_3"], "the Content-Length must be one whole number"),
        (["Content-Length: 268435457"], "the Content-Length must not be above 268435456"),
        (["Transfer-Encoding: chunked"], "send a Content-Length and no Transfer-Encoding"),
        (["no header"], "a header cannot be read"),
    ],
)
def test_a_good_body_of_an_unclear_length_is_not_stored(patient: Sandbox, lines: list[str], message: str) -> None:
    body = json.dumps([refund("unclear")]).encode()
    (answer, *_) = send(patient, spelled("POST", REFUNDS_PATH, body, *lines))

    assert json.loads(answer.body)["message"] == message
    assert "unclear" not in patient.refunds


def test_a_body_that_does_not_come_is_answered_after_a_while() -> None:
    with Sandbox(token=TOKEN, body_seconds=0.2) as klar:
        (answer,) = send(klar, spelled("POST", REFUNDS_PATH, b"[]", "Content-Length: 9"), leave_open=True)

        assert (answer.status, json.loads(answer.body)["message"]) == (
            408,
            "the body is shorter than its Content-Length, 9",
        )


def test_a_mistake_of_its_own_is_answered_with_500_and_shown(capfd: pytest.CaptureFixture[str]) -> None:
    with Sandbox(token=TOKEN, refuse=lambda sent: sent["none"]) as klar:
        assert post(klar, REFUNDS_PATH, [refund()]).status_code == 500
        assert post(klar, REFUNDS_PATH, [refund(7)]).status_code == 400

    assert "KeyError: 'none'" in capfd.readouterr().err


NUMBERS = ["0", "-0", "1e5", "1e400", "1E999999", "1e-99999999999999999999", "9" * 5000, "NaN", "-Infinity"]
NAMES = ["id", "orderId", "lineItems", "items", "faults", "customer", "", "\ud800", "503@1", "status:500"]
WORDS = (st.sampled_from(NAMES) | st.text(max_size=5)).map(json.dumps)
LEAVES = st.sampled_from([*NUMBERS, "null", "true", "1700000000"]) | WORDS


def nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.tuples(WORDS, inner).map(": ".join)
    arrays, objects = (st.lists(held, max_size=4).map(", ".join) for held in (inner, pairs))
    return arrays.map("[{}]".format) | objects.map("{{{}}}".format)


VALUES = st.recursive(LEAVES, nested, max_leaves=8)
DEEP = st.builds(
    lambda levels, opening, closing: opening * levels + "7" + closing * levels,
    st.sampled_from([2, 90, 101, 330, 500, 5000]),
    st.sampled_from(["[", '{"items": ']),
    st.sampled_from(["]", "}", ""]),
)
FRAMES = st.sampled_from(
    [
        "%s",
        '{"items": %s}',
        '{"faults": %s}',
        '{"faults": [%s]}',
        '[{"id": %s, "createdAt": 1700000000, "lineItems": []}]',
        '[{"id": "R1", "createdAt": 1700000000, "lineItems": [%s]}]',
        '[{"id": "R1", "createdAt": 1700000000, "lineItems": [], "note": %s}]',
        '{"items": [{"orderId": "O1", "transactionCosts": %s}]}',
    ]
)
FILLED = st.builds(lambda frame, value: (frame % value).encode(errors="replace"), FRAMES, VALUES | DEEP)
BODIES = FILLED | st.binary(max_size=40)

METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "TRACE", "get", "\xff"])
TAKING = st.sampled_from(
    [REFUNDS_PATH, VALIDATE_PATH, COSTS_PATH, FAULTS_PATH, "/12.2022/orders/json", "/12.2022/cogs/json"]
)
TELLING = st.sampled_from(
    ["/", "/refunds/status", *(f"/sandbox/{name}" for name in ("held", "export", "overview", "clear", "../held"))]
)
TRICKS = st.sampled_from(["{}", "{}", "{}?key=%ed%a0%80&refused=1", "//{}", "http://[{}", "{}/", "{}\xff"])
PATHS = st.builds(str.format, TRICKS, TAKING | TELLING)
LINES = st.sampled_from(
    [
        *("Content-Length: 1", "Content-Length: 99999", "Content-Length: ", "Content-Length: 1e3"),
        *("Transfer-Encoding: chunked", "Expect: 100-continue", "Connection: close", "Content-Type: text/plain"),
        *("Host: ", "Host: [::1]", "Host: [", "Origin: http://[", "Authorization: "),
        *("no header", " folded", ": none", "Cookie: \xff"),
    ]
)
ODD_BODY = st.builds(spelled, st.just("POST"), TAKING, BODIES)
ODD_CALL = st.builds(
    lambda method, path, body, lines: spelled(method, path, body, *lines),
    *(METHODS, PATHS, BODIES, st.lists(LINES, max_size=2)),
)
CALLS = ODD_BODY | ODD_CALL | st.binary(min_size=1, max_size=60)
LAST = spelled("GET", "/refunds/status", b"", "Connection: close")


@settings(max_examples=size(80, 3_000), deadline=None)
@given(sent=st.lists(CALLS, min_size=1, max_size=3).map(b"".join))
def test_whatever_is_sent_gets_whole_answers_and_it_goes_on_serving(patient: Sandbox, sent: bytes) -> None:
    answers = send(patient, sent + LAST, leave_open=True)

    assert answers
    assert [reply for reply in answers if reply.status == 500] == []
    for reply in answers:
        if reply.status >= 400 and reply.body.startswith(b'{"statusCode"'):
            assert json.loads(reply.body)["message"]
    assert all(seen.end == "answered" for seen in patient.requests)
    patient.misbehave()
    assert post(patient, REFUNDS_PATH, [refund()]).status_code == 201
    patient.clear()


def test_every_fault_can_be_set_over_http(klar: Sandbox) -> None:
    assert call(klar, "POST", FAULTS_PATH, {"faults": [fault.name for fault in FAULTS]}).status_code == 204
