"""How the local Klar misbehaves on request: faults, styles of refusal, slowness, lag, clients that leave."""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import Any

import pytest
import requests
from calls import COSTS_PATH, REFUNDS_PATH, VALIDATE_PATH, call, post, status
from klar_objects import cost, item, refund
from watched import together

from target_klar.sandbox import FAULTS, Fault, Misbehaviour, Moment, Request, Sandbox

STATUS = {
    "redirect": 307,
    **dict.fromkeys(("2xx-invalid", "2xx-fewer-ids", "counts-nothing", "never-booked", "slow", "slow-answer"), 201),
    "2xx-html": 200,
}
BROKEN = {
    "reset-before": ("reset", 0),
    "reset-after": ("reset", 0),
    "truncated": ("closed", 1),
    "half-page": ("closed", 1),
    "hang": ("open", 0),
    "trickle": ("open", 1),
    "trickle-headers": ("open", 1),
    "huge-answer": ("open", 1_000_000),
}
"""How the connection stands after some time, and how many bytes have come at least."""


def raw(klar: Sandbox, *objects: dict[str, Any], seconds: float) -> tuple[str, bytes]:
    """Posts refunds and tells how the connection stood after some time, and what had come by then."""
    body = json.dumps(objects).encode()
    head = (
        f"POST {REFUNDS_PATH} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {klar.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    got, deadline = b"", time.monotonic() + seconds
    with socket.create_connection(("127.0.0.1", klar.port)) as client:
        client.sendall(head.encode() + body)
        while (left := deadline - time.monotonic()) > 0:
            client.settimeout(left)
            try:
                more = client.recv(65536)
            except TimeoutError:
                break
            except ConnectionResetError:
                return "reset", got
            if not more:
                return "closed", got
            got += more
    return "open", got


def eventually(holds: Any, seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(holds())


def strikes_once(fault: Misbehaviour) -> None:
    with Sandbox(faults=[fault.name]) as klar:
        stays_open = BROKEN.get(fault.name, ("", 0))[0] == "open"
        connection, answer = raw(klar, refund("R1"), refund("R2"), seconds=2 if stays_open else 20)

        in_part = ("207-ids", "207-opaque", "2xx-fewer-ids")
        held = ["R1", "R2"] if fault.stores else ["R2"] if fault.name in in_part else []
        assert list(klar.refunds) == held
        if fault.name in BROKEN:
            assert (connection, len(answer) >= BROKEN[fault.name][1]) == (BROKEN[fault.name][0], True)
        else:
            code = STATUS.get(fault.name) or int(fault.name[:3])
            assert (connection, answer.split()[:2]) == ("closed", [b"HTTP/1.1", b"%d" % code])
        assert klar.posts()[0].fault == fault.name

        assert post(klar, REFUNDS_PATH, [refund("R1"), refund("R2")]).status_code == 201
        assert (list(klar.refunds), klar.posts()[1].fault) == (["R1", "R2"], None)


SLOW = [each for each in FAULTS if each.before or each.after or BROKEN.get(each.name, ("", 0))[0] == "open"]


@pytest.mark.parametrize("fault", [each for each in FAULTS if each not in SLOW], ids=lambda fault: fault.name)
def test_every_fault_strikes_once_and_does_what_it_says(fault: Misbehaviour) -> None:
    strikes_once(fault)


def test_every_fault_that_takes_seconds_strikes_once_and_does_what_it_says() -> None:
    assert len(SLOW) == 6
    together(strikes_once, *((fault,) for fault in SLOW), at_once=len(SLOW))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_every_fault_is_told_in_one_sentence_and_as_data(fault: Misbehaviour) -> None:
    assert 10 < len(fault.sentence) < 120
    assert fault.kind in ("retry", "stop", "refusal", "page", "accept")
    assert fault.stores or fault.kind != "accept"


@pytest.mark.parametrize(
    ("spec", "struck"),
    [
        ("503", [1]),
        ("503@3", [3]),
        ("503@2x2", [2, 3]),
        ("503@4+", [4, 5]),
        ("refunds/503@2", [3]),
        ("transaction_costs/503@1+", [2, 4]),
        ("status:503@1+", []),
        ("validate:503@1+", []),
    ],
)
def test_a_fault_strikes_the_requests_that_its_text_names(spec: str, struck: list[int]) -> None:
    with Sandbox(faults=[spec]) as klar:
        for _ in range(2):
            post(klar, REFUNDS_PATH, [refund()])
            post(klar, COSTS_PATH, {"items": [cost()]})
        post(klar, REFUNDS_PATH, [refund()])

        assert [place for place, seen in enumerate(klar.posts(), 1) if seen.status == 503] == struck


def test_status_reads_and_validations_have_faults_of_their_own() -> None:
    with Sandbox(faults=["status:500@2", Fault("503", on="validate", times="always")]) as klar:
        reads = [call(klar, "GET", "/refunds/status").status_code for _ in range(3)]
        others = [post(klar, path, [refund()]).status_code for path in (VALIDATE_PATH, REFUNDS_PATH, VALIDATE_PATH)]

        assert (reads, others) == ([200, 500, 200], [503, 201, 503])


@pytest.mark.parametrize("spec", ["510", "503@0", "503@", "503@1x0", "orders/503", "get:503", "503@1+2", ""])
def test_a_fault_that_does_not_exist_is_refused(spec: str) -> None:
    with pytest.raises(ValueError, match="is no fault"):
        Fault.parse(spec)


def test_setting_faults_counts_requests_anew() -> None:
    with Sandbox() as klar:
        post(klar, REFUNDS_PATH, [refund()])
        klar.misbehave("503@2")

        assert [post(klar, REFUNDS_PATH, [refund()]).status_code for _ in range(3)] == [201, 503, 201]


def test_retry_after_comes_in_seconds_and_as_a_date() -> None:
    with Sandbox(faults=["429-after-seconds@1", "429-after-date@2"]) as klar:
        said = [post(klar, REFUNDS_PATH, [refund()]).headers["Retry-After"] for _ in range(2)]

        assert said[0] == "1"
        assert said[1].endswith(" GMT")


REFUSED = {
    "index": '"key": "1.id"',
    "tree": '"target": {"id": "bad"',
    "tree-item": '{"children": [{"target": {"lineItemId": "5", "refundedQuantity": 1}',
    "ids": '{"id": "bad", "message"',
    "failed-ids": '"failedOrderIds": ["bad"]',
    "opaque": "Bad Request",
    "207": '"failedOrderIds": ["bad"], "successfulOrderIds": ["good"]',
}


@pytest.mark.parametrize("style", REFUSED)
def test_an_object_is_refused_on_request_in_every_style(style: Any) -> None:
    with Sandbox(refuse=lambda sent: sent["id"] == "bad", refuse_style=style) as klar:
        answer = post(klar, REFUNDS_PATH, [refund("good"), refund("bad")])

        assert answer.status_code == (207 if style == "207" else 400)
        assert REFUSED[style] in answer.text
        assert list(klar.refunds) == (["good"] if style == "207" else [])
        assert [seen.key for seen in klar.refused] == ["bad"]


def test_what_is_taken_in_part_is_never_said_to_be_taken_whole() -> None:
    with Sandbox(refuse=lambda sent: sent["id"] == "bad", refuse_style="207", faults=["204"]) as klar:
        answer = post(klar, REFUNDS_PATH, [refund("good"), refund("bad")])

        assert (answer.status_code, answer.json()["failedOrderIds"]) == (207, ["bad"])
        assert list(klar.refunds) == ["good"]


def test_costs_are_refused_by_index_and_refunds_in_a_tree_unless_told_otherwise() -> None:
    with Sandbox() as klar:
        costs = post(klar, COSTS_PATH, {"items": [cost(), cost(1111)]}).json()
        bad = item(refundedQuantity="x")
        (tree,) = post(klar, REFUNDS_PATH, [refund(lineItems=[item(), bad])]).json()

        error = {"id": 1111, "key": "1.orderId", "message": "orderId must be a string", "value": 1111}
        assert costs == {"status": "INVALID", "errors": [error]}
        message = "refundedQuantity must be a number conforming to the specified constraints"
        leaf = tree["children"][0]["children"][0]
        assert (tree["target"]["id"], tree["property"], tree["children"][0]["property"]) == ("R1", "lineItems", "1")
        assert (leaf["target"], leaf["property"], leaf["value"]) == (bad, "refundedQuantity", "x")
        assert leaf["constraints"] == {"isNumber": message}


def test_a_reason_of_ones_own_is_given_to_the_client() -> None:
    with Sandbox(refuse=lambda sent: "belongs to another shop" * (sent["orderId"] == "O2")) as klar:
        answer = post(klar, COSTS_PATH, {"items": [cost("O1"), cost("O2")]})

        assert answer.json()["errors"][0]["message"] == "orderId belongs to another shop"


def test_fields_can_be_let_in() -> None:
    with Sandbox(extra_fields=["note"]) as klar:
        assert post(klar, REFUNDS_PATH, [refund(note="x", lineItems=[item(note="y")])]).status_code == 201


def test_a_load_that_counts_nothing_looks_like_a_success() -> None:
    with Sandbox(counts_nothing=True) as klar:
        assert post(klar, REFUNDS_PATH, [refund()]).status_code == 201

        figures = status(klar)
        assert (figures["total"], figures["lastBatchCount"], "lastSuccess" in figures) == ("0", "0", True)
        assert klar.refunds == {}


def test_a_load_that_is_never_booked_looks_like_a_success_and_leaves_no_trace() -> None:
    with Sandbox(faults=["never-booked@2"]) as klar:
        post(klar, REFUNDS_PATH, [refund("R1")])
        before = status(klar)
        answer = post(klar, REFUNDS_PATH, [refund("R2")])

        assert (answer.status_code, answer.text) == (201, "")
        assert (status(klar), list(klar.refunds)) == (before, ["R1"])


def test_what_klar_refuses_is_refused_also_where_a_load_would_never_be_booked() -> None:
    with Sandbox(faults=["never-booked"], refuse=lambda sent: sent["id"] == "bad") as klar:
        assert post(klar, REFUNDS_PATH, [refund("bad")]).status_code == 400


@pytest.mark.parametrize(("sent", "listed"), [(["R1", "R2", "R3"], ["R2", "R3"]), (["R1"], ["another"])])
def test_an_answer_that_says_valid_can_name_fewer_objects_than_were_sent(sent: list[str], listed: list[str]) -> None:
    with Sandbox(faults=["2xx-fewer-ids"]) as klar:
        answer = post(klar, REFUNDS_PATH, [refund(key) for key in sent])

        assert (answer.status_code, answer.json()) == (201, {"status": "VALID", "successfulOrderIds": listed})
        assert list(klar.refunds) == sent[1:]


@pytest.mark.parametrize(("fault", "held_meanwhile"), [("slow", []), ("slow-answer", ["R1"])])
def test_a_slow_load_is_stored_before_its_wait_or_after_it(fault: str, held_meanwhile: list[str]) -> None:
    with Sandbox(faults=[fault]) as klar:
        assert raw(klar, refund("R1"), seconds=1) == ("open", b"")
        assert list(klar.refunds) == held_meanwhile


@pytest.mark.parametrize("code", [400, 403, 404, 413, 422])
def test_a_page_in_place_of_klars_answer_is_html_and_stores_nothing(code: int) -> None:
    with Sandbox(faults=[f"{code}-html"]) as klar:
        answer = post(klar, REFUNDS_PATH, [refund()])

        assert (answer.status_code, answer.headers["Content-Type"]) == (code, "text/html")
        assert "<title>" in answer.text
        assert klar.refunds == {}


def test_the_status_lags_when_told_to() -> None:
    with Sandbox(status_lag=2) as klar:
        began = time.monotonic()
        post(klar, REFUNDS_PATH, [refund()])

        assert status(klar)["total"] == "0"
        assert eventually(lambda: status(klar)["total"] == "1")
        assert time.monotonic() - began > 2


def test_a_frozen_status_never_shows_a_load() -> None:
    with Sandbox() as klar:
        post(klar, REFUNDS_PATH, [refund("R1")])
        before = status(klar)
        klar.status_frozen = True
        post(klar, REFUNDS_PATH, [refund("R2")])

        assert (status(klar), list(klar.refunds)) == (before, ["R1", "R2"])


def test_the_batch_of_a_client_that_has_left_is_not_stored() -> None:
    left = threading.Event()

    def wait_for_it(*_: object) -> None:
        left.wait(20)

    with Sandbox(observer=wait_for_it) as klar:
        assert raw(klar, refund(), seconds=0.05) == ("open", b"")
        left.set()
        assert eventually(lambda: [seen.end for seen in klar.posts()] == ["client gone"])

        assert (klar.refunds, klar.posts()[0].stored) == ({}, 0)


def test_requests_are_handled_at_once_and_none_is_lost() -> None:
    all_eight = threading.Barrier(8, timeout=20)

    def answer_none_before_all_have_come(moment: Moment, _: Request) -> None:
        if moment == "received":
            all_eight.wait()

    with Sandbox(observer=answer_none_before_all_have_come) as klar:
        batches = [[refund(f"R{batch}-{n}") for n in range(50)] for batch in range(8)]
        threads = [threading.Thread(target=post, args=(klar, REFUNDS_PATH, batch)) for batch in batches]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(klar.refunds) == 400
        assert klar.peak_in_flight == 8


def test_an_observer_is_called_at_each_moment_in_order() -> None:
    seen: list[tuple[Moment, str | None, int]] = []

    def observe(moment: Moment, request: Request) -> None:
        seen.append((moment, request.on, len(klar.refunds)))

    with Sandbox(observer=observe) as klar:
        post(klar, REFUNDS_PATH, [refund()])
        # The client may have its answer, and ask again, before the observer hears that it was answered.
        assert eventually(lambda: seen == [("received", "post", 0), ("stored", "post", 1), ("answered", "post", 1)])
        seen.clear()
        status(klar)
        assert eventually(lambda: seen == [("status", "status", 1), ("answered", "status", 1)])


def test_closing_ends_what_hangs() -> None:
    with Sandbox(faults=["hang"]) as klar:
        ended: list[str] = []

        def ask() -> None:
            try:
                post(klar, REFUNDS_PATH, [refund()])
            except requests.ConnectionError as error:
                ended.append(type(error).__name__)

        thread = threading.Thread(target=ask)
        thread.start()
        assert eventually(lambda: bool(klar.posts()))
    thread.join(5)

    assert ended == ["ConnectionError"]
