"""docs/recipes/shopware.md: orders of an Admin API, whose sums at Klar are Shopware's own totals."""

from __future__ import annotations

import json
import random
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from followed import DOCUMENTS, Followed
from shopware_shop import KEY, Cart, admin_api, cents, drawn, written

if TYPE_CHECKING:
    from pathlib import Path

    from target_klar.sandbox import Sandbox

LOAD = "set -o pipefail"


@pytest.fixture
def shopware(tmp_path: Path) -> Followed:
    return Followed(tmp_path, "shopware.md")


def environment(url: str, **changed: str) -> dict[str, str]:
    access = {"SHOPWARE_CLIENT_ID": KEY["client_id"], "SHOPWARE_CLIENT_SECRET": KEY["client_secret"]}
    return {"SHOPWARE_URL": url, **access, **changed}


def totals(held: dict[str, Any]) -> tuple[Decimal, Decimal]:
    """Add up what Klar holds of an order: gross after discounts, and net, shipping with both."""
    shipping, gross, net = held["shipping"], Decimal(), Decimal()
    for line in held["lineItems"]:
        off = sum(discount["discountAmount"] * line["quantity"] for discount in line.get("discounts", ()))
        tax = sum(tax["taxAmount"] * line["quantity"] for tax in line.get("taxes", ()))
        after = line["totalAmountBeforeTaxesAndDiscounts"] - cents(Decimal(off))
        assert line["totalAmountAfterTaxesAndDiscounts"] + cents(Decimal(tax)) == after
        gross += after
        net += line["totalAmountAfterTaxesAndDiscounts"]
    return (
        gross + shipping["shippingTotalAmountBeforeTaxAndDiscounts"],
        net + shipping["shippingTotalAmountAfterTaxAndDiscounts"],
    )


def test_the_lines_and_the_shipping_of_each_order_make_shopwares_totals(shopware: Followed, klar: Sandbox) -> None:
    draw = random.Random(20_260_504)
    orders = [drawn(number, draw) for number in range(1, 251)]
    first = orders[0]["lineItems"][0]["price"]
    first["totalPrice"] = float(first["totalPrice"]) + 1e-12  # as a sum of floats can be
    shopware.configure(klar)

    with admin_api(orders) as (url, searches):
        ended = shopware.run(shopware.command(LOAD), **environment(url))

    assert (ended.code, ended.out, ended.said("WARNING")) == (0, "", []), ended.err
    assert {key: totals(held) for key, held in klar.orders.items()} == {
        order["id"]: (order["price"]["rawTotal"], order["amountNet"]) for order in orders
    }
    assert [search["page"] for search in searches] == [1, 2, 3, 4]
    assert searches[0]["filter"] == [
        {"type": "range", "field": "orderDateTime", "parameters": {"gte": "2026-01-01"}},
    ]
    assert {order["taxStatus"] for order in orders} == {"gross", "net", "tax-free"}


def test_an_order_is_as_one_would_write_it_by_hand(shopware: Followed, klar: Sandbox) -> None:
    cart = Cart(1)
    cart.add("30.00", 2, "19", label="A shirt")
    cart.add("40.00", 1, "7", label="A book")
    cart.add("0.00", 1, "19", label="A sticker, free")
    cart.add("12.00", 1, "19", label="A cap, not reduced")
    cart.reduce("10.00", 1, 2)
    cart.ship_free()
    gross = cart.order(
        "0.00",
        stateMachineState={"technicalName": "cancelled"},
        updatedAt=None,
        tags=[{"name": "VIP"}, {"name": "May"}],
    )
    gross["lineItems"].append({**gross["lineItems"][0], "id": "the shirt's collar", "parentId": f"{1001:032x}"})
    cart = Cart(2, "net")
    cart.add("84.03", 3, "19")
    cart.credit("25.21")
    net = cart.order("5.00", orderCustomer=None, transactions=[], deliveries=[])
    shopware.configure(klar)

    with admin_api([gross, net]) as (url, _):
        ended = shopware.run(shopware.command(LOAD), **environment(url))

    assert (ended.code, ended.said("WARNING")) == (0, []), ended.err
    first, second = klar.orders.values()
    off = {"title": "promotion 5", "voucherCode": "MAY", "isVoucher": True}
    assert first == {
        "id": f"{1:032x}",
        "orderNumber": "10001",
        "createdAt": 1777887000,
        "cancelledAt": 1777887000,
        "currencyCodeIso3Letter": "EUR",
        "financialStatus": "paid",
        "paymentMethodName": "PayPal",
        "shipmentStatus": "shipped",
        "tags": "VIP, May",
        "lineItems": [
            {
                "id": f"{1001:032x}",
                "productName": "A shirt",
                "productId": f"{1:032x}",
                "sku": "SW-1",
                "quantity": 2,
                "totalAmountBeforeTaxesAndDiscounts": Decimal("60.00"),
                "totalAmountAfterTaxesAndDiscounts": Decimal("45.38"),  # (60.00 - 6.00) / 1.19
                "discounts": [{**off, "discountAmount": Decimal(3)}],
                "taxes": [{"title": "19 %", "taxRate": Decimal("0.19"), "taxAmount": Decimal("4.31")}],
            },
            {
                "id": f"{1002:032x}",
                "productName": "A book",
                "productId": f"{2:032x}",
                "sku": "SW-2",
                "quantity": 1,
                "totalAmountBeforeTaxesAndDiscounts": Decimal("40.00"),
                "totalAmountAfterTaxesAndDiscounts": Decimal("33.64"),  # (40.00 - 4.00) / 1.07
                "discounts": [{**off, "discountAmount": Decimal(4)}],
                "taxes": [{"title": "7 %", "taxRate": Decimal("0.07"), "taxAmount": Decimal("2.36")}],
            },
            {
                "id": f"{1003:032x}",
                "productName": "A sticker, free",
                "productId": f"{3:032x}",
                "sku": "SW-3",
                "quantity": 1,
                "totalAmountBeforeTaxesAndDiscounts": Decimal("0.00"),
                "totalAmountAfterTaxesAndDiscounts": Decimal("0.00"),
                "discounts": [],
                "taxes": [{"title": "19 %", "taxRate": Decimal("0.19"), "taxAmount": Decimal(0)}],
            },
            {
                "id": f"{1004:032x}",
                "productName": "A cap, not reduced",
                "productId": f"{4:032x}",
                "sku": "SW-4",
                "quantity": 1,
                "totalAmountBeforeTaxesAndDiscounts": Decimal("12.00"),
                "totalAmountAfterTaxesAndDiscounts": Decimal("10.08"),
                "discounts": [],
                "taxes": [{"title": "19 %", "taxRate": Decimal("0.19"), "taxAmount": Decimal("1.92")}],
            },
        ],
        "shipping": {
            "countryCodeIso2Letter": "DE",
            "shippingTotalAmountBeforeTaxAndDiscounts": Decimal("0.00"),
            "shippingTotalAmountAfterTaxAndDiscounts": Decimal("0.00"),
        },
        "customer": {"id": f"{7:032x}"},
    }
    assert "customer" not in second
    (line,) = second["lineItems"]
    assert line["totalAmountAfterTaxesAndDiscounts"] == Decimal("226.88")  # 3 * 84.03 - 25.21
    assert line["totalAmountBeforeTaxesAndDiscounts"] == Decimal("299.99")  # 252.09 and 19 %
    assert line["discounts"] == [{"title": "credit 2", "isVoucher": False, "discountAmount": Decimal(10)}]
    assert second["shipping"]["shippingTotalAmountBeforeTaxAndDiscounts"] == Decimal("5.95")


@pytest.mark.parametrize("composition", [[], [{"id": "gone", "discount": 4}], [{"id": "cart-2", "discount": 4}]])
def test_a_promotion_that_its_composition_cannot_place_is_divided_by_price(
    shopware: Followed, klar: Sandbox, composition: list[dict[str, Any]]
) -> None:
    cart = Cart(1)
    cart.add("9.00", 1, "19")
    cart.add("3.00", 1, "19")
    cart.reduce("4.00", 1, 2)
    cart.items[-1]["payload"]["composition"] = composition
    shopware.configure(klar)

    with admin_api([cart.order("4.90")]) as (url, _):
        ended = shopware.run(shopware.command(LOAD), **environment(url))

    assert ended.code == 0, ended.err
    lines = klar.orders[f"{1:032x}"]["lineItems"]
    assert [line["discounts"][0]["discountAmount"] for line in lines] == [3, 1]


def test_an_order_that_does_not_make_its_totals_is_named_and_holds_back_no_other(
    shopware: Followed, klar: Sandbox
) -> None:
    draw = random.Random(4)
    good, *bad = (drawn(number, draw) for number in range(1, 6))
    bad[0]["amountNet"] += cents(Decimal("0.01"))
    bad[1]["lineItems"][0]["price"]["totalPrice"] += 1
    del bad[2]["currency"]
    bad[3]["lineItems"] = None
    shopware.configure(klar)

    with admin_api([*bad[:2], good, *bad[2:]]) as (url, _):
        ended = shopware.run(shopware.command(LOAD), **environment(url))

    assert ended.code == 1
    assert [*klar.orders] == [good["id"]]
    named = [line.split(": ")[:2] for line in ended.err.splitlines() if line.startswith("Order ")]
    assert named == [
        ["Order 10002 is not sent", "ValueError"],
        ["Order 10003 is not sent", "ValueError"],
        ["Order 10004 is not sent", "KeyError"],
        ["Order 10005 is not sent", "TypeError"],
    ]


def test_a_dump_that_fails_sends_nothing_and_one_made_by_other_means_is_read(shopware: Followed, klar: Sandbox) -> None:
    shopware.configure(klar)
    order = drawn(1, random.Random(5))
    with admin_api([order]) as (url, _):
        denied = shopware.run(shopware.command(LOAD), **environment(url, SHOPWARE_CLIENT_SECRET="mistyped"))
    assert denied.code == 1
    assert "HTTP Error 401" in denied.err
    assert klar.posts() == []

    pretty = json.dumps(json.loads(written([order])), indent=2)
    (shopware.folder / "answer.json").write_text(pretty, encoding="utf-8")
    (read,) = re.findall(r"`(python3 -m json.tool .*?)`", (DOCUMENTS / "shopware.md").read_text(encoding="utf-8"))
    looked = shopware.run(f"set -o pipefail; {read}")
    assert (looked.code, json.loads(looked.out)["id"]) == (0, order["id"])


def test_what_arrives_is_seen_at_the_local_klar_first(shopware: Followed) -> None:
    draw = random.Random(6)
    orders = [drawn(number, draw) for number in range(1, 4)]
    with admin_api(orders) as (url, searches):
        ended = shopware.run(shopware.command("--export held.jsonl"), **environment(f"{url}/"))

    assert (ended.code, searches[0]["filter"]) == (0, []), ended.err
    exported = (shopware.folder / "held.jsonl").read_text(encoding="utf-8").splitlines()
    held = [json.loads(line, parse_float=Decimal)["object"] for line in exported]
    assert [totals(each) for each in held] == [(order["price"]["rawTotal"], order["amountNet"]) for order in orders]
