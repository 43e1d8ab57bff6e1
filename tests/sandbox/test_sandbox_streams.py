"""Each of Klar's streams at the local Klar: its addresses, bodies, answers, keys and rules, from one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from calls import call, post
from klar_objects import cost, order, order_line, refund

if TYPE_CHECKING:
    from target_klar.sandbox import Sandbox


ORDER = order("1", order_line("L"))


@dataclass(frozen=True)
class Case:
    """What Klar's pages say of one stream."""

    path: str
    good: dict[str, Any]
    bad: dict[str, Any]
    broken: str
    """The path of the field at fault, dotted."""
    takes: str
    """The body of the answer to a load that was taken."""
    valid: int | None
    bare: bool = False

    def body(self, *objects: dict[str, Any]) -> Any:
        return list(objects) if self.bare else {"items": list(objects)}


VALID = '{"status": "VALID"}'
CASES = {
    "refunds": Case("12.2022/refunds", refund("1"), refund("1", createdAt=0), "createdAt", "", 200, bare=True),
    "transaction_costs": Case(
        "06.2024/transaction-costs", cost("1"), cost("1", transactionCosts="1"), "transactionCosts", VALID, None
    ),
    "logistics_costs": Case(
        "04.2024/logistics-costs",
        {"orderId": "1", "totalLogisticsCosts": 0},
        {"orderId": "1", "logisticsCosts": 1, "totalLogisticsCosts": 1},
        "logisticsCosts",
        "",
        202,
    ),
    "cogs": Case(
        "12.2022/cogs",
        {"orderId": "1", "sku": "A", "productCogs": 1.5},
        {"orderId": "1", "productCogs": 1.5},
        "lineItemId",
        "",
        202,
    ),
    "orders": Case(
        "12.2022/orders",
        ORDER,
        ORDER | {"lineItems": [{"id": "L", "quantity": 1, "taxes": [{"taxRate": "17%"}]}]},
        "lineItems.0.taxes.0.taxRate",
        VALID,
        201,
        bare=True,
    ),
}


@pytest.mark.parametrize("stream", CASES)
def test_an_object_that_is_sent_twice_is_held_once_and_submitted_twice(klar: Sandbox, stream: str) -> None:
    case = CASES[stream]
    for _ in range(2):
        answer = post(klar, f"/{case.path}/json", case.body(case.good))
        assert (answer.status_code, answer.text) == (201, case.takes)
    assert list(klar.held(stream).values()) == [case.good]
    status = call(klar, "GET", f"/{case.path.partition('/')[2]}/status").json()
    assert (status["total"], status["lastBatchCount"]) == ("2", "1")


@pytest.mark.parametrize("stream", CASES)
def test_a_validation_loads_nothing_where_there_is_one(klar: Sandbox, stream: str) -> None:
    case = CASES[stream]
    answer = post(klar, f"/{case.path}/validate", case.body(case.good))
    assert answer.status_code == (case.valid or 404)
    assert case.valid is None or answer.text == VALID
    assert klar.held(stream) == {}
    if case.valid:
        refused = post(klar, f"/{case.path}/validate", case.body(case.bad))
        assert refused.status_code == 400
        assert isinstance(refused.json(), list), "a tree of class-validator"


@pytest.mark.parametrize("stream", CASES)
def test_what_breaks_a_rule_is_refused_with_its_path(klar: Sandbox, stream: str) -> None:
    case = CASES[stream]
    klar.refuse_style = "index"
    answer = post(klar, f"/{case.path}/json", case.body(case.good, case.bad))
    assert answer.status_code == 400
    assert [error["key"] for error in answer.json()["errors"]] == [f"1.{case.broken}"]
    assert klar.held(stream) == {}


@pytest.mark.parametrize("stream", CASES)
def test_the_other_form_of_a_body_and_another_version_are_refused(klar: Sandbox, stream: str) -> None:
    case = CASES[stream]
    other = {"items": [case.good]} if case.bare else [case.good]
    assert post(klar, f"/{case.path}/json", other).status_code == 400
    assert post(klar, f"/01.2020/{case.path.partition('/')[2]}/json", case.body(case.good)).status_code == 404


def test_cogs_of_one_order_are_told_apart_by_line_item_or_sku(klar: Sandbox) -> None:
    parts = [{"sku": "A"}, {"sku": "B"}, {"lineItemId": "A"}, {"sku": "A"}]
    objects = [{"orderId": "1", "productCogs": number, **part} for number, part in enumerate(parts)]
    assert post(klar, "/12.2022/cogs/json", {"items": objects}).status_code == 201
    assert [held["productCogs"] for held in klar.held("cogs").values()] == [1, 2, 3]


def test_a_line_item_and_a_sku_of_the_same_name_are_two(klar: Sandbox) -> None:
    objects = [{"orderId": "1", "productCogs": 1, name: "A"} for name in ("sku", "lineItemId")]
    assert post(klar, "/12.2022/cogs/json", {"items": objects}).status_code == 201
    assert len(klar.held("cogs")) == 2


def test_a_net_amount_is_not_negative_and_bundles_need_a_later_version(klar: Sandbox) -> None:
    line = {"id": "L", "quantity": 1}
    negative = ORDER | {"lineItems": [line | {"totalAmountAfterTaxesAndDiscounts": -1}]}
    assert "must not be less than 0" in post(klar, "/12.2022/orders/json", [negative]).text
    bundle = ORDER | {"lineItems": [line | {"bundledProducts": [line]}]}
    assert post(klar, "/12.2022/orders/json", [bundle]).status_code == 400
    assert post(klar, "/07.2025/orders/json", [bundle]).status_code == 201


def test_a_refusal_shows_no_personal_data_on_the_page(klar: Sandbox) -> None:
    bad = ORDER | {"customer": {"email": ["anna@customer.example"]}, "shipping": {"city": 5}}
    assert post(klar, "/12.2022/orders/json", [bad]).status_code == 400
    assert "customer.example" not in call(klar, "GET", "/sandbox/overview").text
    assert {refused.path for refused in klar.refused} == {"customer.email", "shipping.city"}
