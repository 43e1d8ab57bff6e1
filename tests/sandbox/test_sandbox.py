"""The local Klar by itself, over real HTTP: what it takes, refuses, holds and counts."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from calls import COSTS_PATH, REFUNDS_PATH, VALIDATE_PATH, call, post, status
from klar_objects import cost, item, refund

from target_klar.sandbox import Sandbox

NUMBER = "must be a number conforming to the specified constraints"


def test_answers_are_those_of_klars_pages() -> None:
    with Sandbox() as klar:
        loaded, validated, costs = (
            post(klar, path, body)
            for path, body in (
                (REFUNDS_PATH, [refund()]),
                (VALIDATE_PATH, [refund("R2")]),
                (COSTS_PATH, {"items": [cost()]}),
            )
        )

        assert (loaded.status_code, loaded.content) == (201, b"")
        assert (validated.status_code, validated.json()) == (200, {"status": "VALID"})
        assert (costs.status_code, costs.json()) == (201, {"status": "VALID"})
        assert (list(klar.refunds), list(klar.transaction_costs)) == (["R1"], ["O1"])


def test_a_key_sent_again_overwrites_and_counts_as_submitted_again() -> None:
    with Sandbox() as klar:
        post(klar, REFUNDS_PATH, [refund("R1"), refund("R2")])
        post(klar, REFUNDS_PATH, [refund("R1", lineItems=[])])

        assert klar.refunds == {"R2": refund("R2"), "R1": refund("R1", lineItems=[])}
        assert {**status(klar), "lastSuccess": ""} == {"total": "3", "lastBatchCount": "1", "lastSuccess": ""}


def test_a_status_has_no_times_until_there_was_a_load() -> None:
    with Sandbox() as klar:
        assert status(klar) == {"total": "0", "lastBatchCount": "0"}


def test_times_are_utc_with_milliseconds_and_every_load_has_its_own() -> None:
    with Sandbox() as klar:
        seen = []
        for _ in range(20):
            post(klar, REFUNDS_PATH, [refund()])
            seen.append(status(klar)["lastSuccess"])
        post(klar, REFUNDS_PATH, [refund(7)])
        failed = status(klar)["lastFailure"]

        assert sorted(set(seen)) == seen
        for moment in (*seen, failed):
            read = datetime.strptime(moment, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
            assert len(moment) == 24
            assert abs(read.timestamp() - time.time()) < 60


def test_numbers_are_held_digit_for_digit() -> None:
    with Sandbox() as klar:
        post(klar, COSTS_PATH, '{"items": [{"orderId": "O1", "transactionCosts": 19.990000000000000001}]}')

        assert klar.transaction_costs["O1"]["transactionCosts"] == Decimal("19.990000000000000001")
        assert "19.990000000000000001" in call(klar, "GET", "/sandbox/held").text
        assert klar.bodies[-1].endswith(b"19.990000000000000001}]}")


@pytest.mark.parametrize("headers", [{"Authorization": None}, {"Authorization": "Bearer other"}])
@pytest.mark.parametrize(
    "path", [REFUNDS_PATH, VALIDATE_PATH, COSTS_PATH, "/refunds/status", "/transaction-costs/status"]
)
def test_no_call_is_answered_without_the_token(path: str, headers: dict[str, str | None]) -> None:
    with Sandbox() as klar:
        answer = call(klar, "POST" if path.startswith(("/0", "/1")) else "GET", path, [refund()], **headers)

        assert answer.status_code == 401
        assert answer.json()["message"] == "Unauthorized"
        assert [seen.authorized for seen in klar.requests] == [False]
        assert klar.refunds == {}


@pytest.mark.parametrize(
    "path",
    [
        "/refunds/json",
        "/01.1999/refunds/json",
        "/12.2022/transaction-costs/json",
        "/06.2024/transaction-costs/validate",
    ],
)
def test_a_post_without_a_version_that_klar_knows_is_not_found(path: str) -> None:
    with Sandbox() as klar:
        assert post(klar, path, [refund()]).status_code == 404


def test_another_version_can_be_known() -> None:
    with Sandbox(versions={"refunds": ["01.2030"], "transaction_costs": []}) as klar:
        assert post(klar, "/01.2030/refunds/json", [refund()]).status_code == 201
        assert post(klar, REFUNDS_PATH, [refund()]).status_code == 404


def test_the_status_of_costs_has_one_spelling_at_a_time() -> None:
    codes = {}
    for spelling in (False, True):
        with Sandbox(state_spelling=spelling) as klar:
            paths = ("/transaction-costs/status", "/transaction-costs/state", "/refunds/status")
            codes[spelling] = [call(klar, "GET", path).status_code for path in paths]

    assert codes == {False: [200, 404, 200], True: [404, 200, 200]}


@pytest.mark.parametrize("count", [1, 1000])
def test_up_to_1000_objects_are_taken_at_a_time(count: int) -> None:
    with Sandbox() as klar:
        assert post(klar, REFUNDS_PATH, [refund(f"R{n}") for n in range(count)]).status_code == 201
        assert post(klar, COSTS_PATH, {"items": [cost(f"O{n}") for n in range(count)]}).status_code == 201
        assert (len(klar.refunds), len(klar.transaction_costs)) == (count, count)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (REFUNDS_PATH, []),
        (REFUNDS_PATH, [refund(f"R{n}") for n in range(1001)]),
        (REFUNDS_PATH, {"items": [refund()]}),
        (REFUNDS_PATH, refund()),
        (REFUNDS_PATH, "[{"),
        (REFUNDS_PATH, "[" * 100_000),
        (REFUNDS_PATH, '[{"id": "R1", "createdAt": 1700000000, "lineItems": [], "updatedAt": NaN}]'),
        (COSTS_PATH, [cost()]),
        (COSTS_PATH, {"items": []}),
        (COSTS_PATH, {"items": [cost()], "more": 1}),
    ],
)
def test_a_body_of_another_shape_is_refused_and_nothing_of_it_is_stored(path: str, body: object) -> None:
    with Sandbox() as klar:
        answer = post(klar, path, body)

        assert answer.status_code == 400
        assert (klar.refunds, klar.transaction_costs) == ({}, {})


def test_a_body_that_is_not_called_json_is_refused() -> None:
    with Sandbox() as klar:
        assert post(klar, REFUNDS_PATH, [refund()], **{"Content-Type": "text/plain"}).status_code == 415


def test_a_body_above_the_limit_is_too_large() -> None:
    with Sandbox(limit_bytes=100) as klar:
        assert post(klar, REFUNDS_PATH, [refund(), refund("R2")]).status_code == 413
        assert post(klar, REFUNDS_PATH, [{**refund(), "lineItems": []}]).status_code == 201


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (refund(7), "id must be a string"),
        (refund(""), "id should not be empty"),
        ({"createdAt": 1_700_000_000, "lineItems": []}, "id must be a string"),
        (refund(createdAt="1700000000"), f"createdAt {NUMBER}"),
        (refund(createdAt=True), f"createdAt {NUMBER}"),
        (refund(createdAt=1_700_000_000_000), "createdAt must be a Unix timestamp in seconds"),
        (refund(updatedAt=0), "updatedAt must be a Unix timestamp in seconds"),
        (refund(updatedAt=None), f"updatedAt {NUMBER}"),
        (refund(lineItems=None), "lineItems must be an array"),
        (refund(lineItems=[7]), "0 must be an object"),
        (refund(lineItems=[item(lineItemId=5)]), "lineItemId must be a string"),
        (refund(lineItems=[item(refundedQuantity="1")]), f"refundedQuantity {NUMBER}"),
        (refund(lineItems=[item(reasonDescriptor=None)]), "reasonDescriptor must be a string"),
        (refund(note="x"), "property note should not exist"),
        (refund(lineItems=[item(price=1)]), "property price should not exist"),
    ],
)  # fmt: skip
def test_an_object_that_breaks_a_rule_is_refused_with_its_batch(broken: dict[str, Any], message: str) -> None:
    with Sandbox() as klar:
        answer = post(klar, REFUNDS_PATH, [refund("good"), broken])

        assert answer.status_code == 400
        assert message in answer.text
        assert [(seen.stream, seen.message) for seen in klar.refused] == [("refunds", message)]
        assert klar.refunds == {}
        assert set(status(klar)) == {"total", "lastBatchCount", "lastFailure"}
