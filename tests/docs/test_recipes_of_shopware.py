"""docs/recipes/shopware.md: orders of an Admin API, whose sums at Klar are Shopware's own totals."""

from __future__ import annotations

import json
import random
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from followed import DOCUMENTS, Followed
from shopware_shop import KEY, Cart, admin_api, cents, drawn, with_voucher, written
from thoroughness import size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from target_klar.sandbox import Sandbox

pytestmark = pytest.mark.slow

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
    cart.items[0]["payload"]["purchasePrices"] = json.dumps({"net": 7.5, "gross": 8.93, "linked": True})
    cart.items[1]["payload"]["purchasePrices"] = json.dumps({"net": 0, "gross": 0, "linked": True})  # as it is made
    gross = cart.order(
        "0.00",
        currencyFactor=1.1,
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
                "productCogs": Decimal("8.25"),  # 7.5 * 1.1
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
        "optionalIdentifiers": {"orderChannelName": "Storefront"},
    }
    assert "customer" not in second
    assert second["shipping"]["countryCodeIso2Letter"] == "AT"  # of the billing address
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


@pytest.mark.parametrize("percent", [100, 99, 90, 20])
def test_an_order_is_sent_whatever_a_voucher_leaves_of_it(shopware: Followed, klar: Sandbox, percent: int) -> None:
    draw = random.Random(percent)
    orders = [with_voucher(number, percent, draw) for number in range(1, size(100, 4_000))]
    shopware.configure(klar)

    with admin_api(orders) as (url, _):
        ended = shopware.run(shopware.command(LOAD), **environment(url))

    assert (ended.code, ended.out, ended.said("WARNING")) == (0, "", []), ended.err
    assert {key: totals(held) for key, held in klar.orders.items()} == {
        order["id"]: (order["price"]["rawTotal"], order["amountNet"]) for order in orders
    }
    for order in orders:
        held = klar.orders[order["id"]]
        unit, is_net = order["itemRounding"]["interval"], order["taxStatus"] == "net"
        sold = {item["id"]: item["price"] for item in order["lineItems"]}
        for line in held["lineItems"]:
            price = sold[line["id"]]
            taxes = sum(tax["tax"] for tax in price["calculatedTaxes"]) if is_net else 0
            moved = abs(line["totalAmountBeforeTaxesAndDiscounts"] - price["totalPrice"] - taxes)
            assert moved <= (2 * unit if is_net else 0), line
            amounts = [line["totalAmountAfterTaxesAndDiscounts"]]
            amounts += [tax["taxAmount"] for tax in line["taxes"]]
            amounts += [discount["discountAmount"] for discount in line["discounts"]]
            assert min(amounts) >= 0, line
        # Only rounding, a part of a cent for each line, makes what the customer pays for the shipping negative.
        shipping = held["shipping"]
        least = min(
            shipping["shippingTotalAmountBeforeTaxAndDiscounts"], shipping["shippingTotalAmountAfterTaxAndDiscounts"]
        )
        assert least >= -unit * len(sold), held


def free_order(*, with_a_book: bool) -> dict[str, Any]:
    """Make an order of two pens at 0.91, each with a tax of 0.15, and a voucher of 1.82 with a tax of 0.29."""
    cart = Cart(1)
    cart.add("0.91", 1, "19")
    cart.add("0.91", 1, "19")
    if with_a_book:
        cart.add("10.70", 1, "7")
    cart.reduce("1.82", 1, 2)
    return cart.order("0.00")


@pytest.mark.parametrize("with_a_book", [False, True])
def test_a_cent_of_tax_that_a_voucher_leaves_goes_to_another_line_or_else_to_the_shipping(
    shopware: Followed, klar: Sandbox, *, with_a_book: bool
) -> None:
    shopware.configure(klar)

    with admin_api([free_order(with_a_book=with_a_book)]) as (url, _):
        ended = shopware.run(shopware.command(LOAD), **environment(url))

    assert ended.code == 0, ended.err
    (held,) = klar.orders.values()
    first, second, *book = held["lineItems"]
    for pen in (first, second):
        assert pen["totalAmountBeforeTaxesAndDiscounts"] == pen["discounts"][0]["discountAmount"] == Decimal("0.91")
        assert pen["totalAmountAfterTaxesAndDiscounts"] == pen["taxes"][0]["taxAmount"] == 0
    assert [line["totalAmountAfterTaxesAndDiscounts"] for line in book] == [Decimal("9.99")] * with_a_book  # not 10.00
    shipping = held["shipping"]
    assert shipping["shippingTotalAmountBeforeTaxAndDiscounts"] == 0
    assert shipping["shippingTotalAmountAfterTaxAndDiscounts"] == (0 if with_a_book else Decimal("-0.01"))


def test_a_credit_that_is_more_than_the_lines_comes_off_the_shipping(shopware: Followed, klar: Sandbox) -> None:
    cart = Cart(1)
    cart.add("11.90", 1, "19")
    cart.credit("14.28")
    shopware.configure(klar)

    with admin_api([cart.order("4.76")]) as (url, _):
        ended = shopware.run(shopware.command(LOAD), **environment(url))

    assert ended.code == 0, ended.err
    (held,) = klar.orders.values()
    (line,) = held["lineItems"]
    assert line["totalAmountBeforeTaxesAndDiscounts"] == line["discounts"][0]["discountAmount"] == Decimal("11.90")
    assert held["shipping"]["shippingTotalAmountBeforeTaxAndDiscounts"] == Decimal("2.38")
    assert held["shipping"]["shippingTotalAmountAfterTaxAndDiscounts"] == Decimal("2.00")


@pytest.mark.parametrize(("rate", "tax", "nets"), [("0", "0.00", [6, 3]), ("20", "-1.00", [7, 3])])
def test_a_voucher_at_another_rate_comes_off_the_lines_there_are(
    shopware: Followed, klar: Sandbox, rate: str, tax: str, nets: list[int]
) -> None:
    cart = Cart(1)
    cart.add("11.90", 1, "19")
    cart.add("5.95", 1, "19")
    cart.credit("6.00")
    cart.prices[-1]["calculatedTaxes"] = [{"taxRate": Decimal(rate), "price": Decimal(-6), "tax": Decimal(tax)}]
    shopware.configure(klar)

    with admin_api([cart.order("0.00")]) as (url, _):
        ended = shopware.run(shopware.command(LOAD), **environment(url))

    assert ended.code == 0, ended.err
    (held,) = klar.orders.values()
    assert [line["discounts"][0]["discountAmount"] for line in held["lineItems"]] == [4, 2]
    assert [line["totalAmountAfterTaxesAndDiscounts"] for line in held["lineItems"]] == nets


def test_an_order_that_is_not_sent_is_named_and_keeps_its_old_version_at_klar(
    shopware: Followed, klar: Sandbox
) -> None:
    draw = random.Random(4)
    changed, *bad, good = (drawn(number, draw) for number in range(1, 7))
    shopware.configure(klar)
    with admin_api([changed]) as (url, _):
        assert shopware.run(shopware.command(LOAD), **environment(url)).code == 0
    before = klar.orders[changed["id"]]

    cart = Cart(1)
    cart.add("10.00", 1, "19")
    cart.credit("31.36")
    changed = cart.order("0.00")
    bad[0]["amountNet"] += cents(Decimal("0.01"))
    bad[1]["lineItems"][0]["price"]["totalPrice"] += 1
    for order in bad[2:]:
        del order["taxStatus"]
    with admin_api([changed, *bad, good]) as (url, _):
        ended = shopware.run(shopware.command(LOAD), **environment(url))

    assert ended.code == 1
    assert klar.orders == {changed["id"]: before, good["id"]: klar.orders[good["id"]]}
    named = [line for line in ended.err.splitlines() if "Not sent" in line]
    assert [line.split(": ")[:2] for line in named] == [
        ["Not sent, so Klar keeps its old version if it has one", numbers]
        for numbers in ("10001", "10002", "10003", "10004, 10005")
    ]
    assert named[0].endswith(": its total of -21.36 is below zero, and Klar takes no line below zero")
    assert named[3].endswith(": not as Shopware writes orders, KeyError('taxStatus')")
    assert "Traceback" not in ended.err


def without(order: dict[str, Any], *path: str) -> dict[str, Any]:
    """Return an order as Shopware writes it if an association was not asked for: it is null."""
    copy: Any = json.loads(written([order]))["data"][0]
    inner = copy
    for name in path[:-1]:
        inner = inner[name][0] if isinstance(inner[name], list) else inner[name]
    inner[path[-1]] = None
    return dict(copy)


def paths(associations: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the names that lead to each association of a search."""
    for name, asked in associations.items():
        yield (name,)
        yield from ((name, *path) for path in paths(asked.get("associations", {})))


def test_a_missing_association_is_named(shopware: Followed) -> None:
    with admin_api([]) as (url, searches):
        assert shopware.run("python3 dump.py", **environment(url)).code == 0
    asked_for = [*paths(searches[0]["associations"])]
    asked_for.remove(("orderCustomer",))  # which an order may lack
    order = drawn(1, random.Random(7))

    assert len(asked_for) > 10
    for path in asked_for:
        asked = without(order | ({"deliveries": []} if path[0] == "billingAddress" else {}), *path)
        (shopware.folder / "dump.jsonl").write_text(json.dumps({"data": [asked]}), encoding="utf-8")
        ended = shopware.run("python3 orders.py < dump.jsonl")

        lacks = f'"{path[-1]}" is missing: ask for it in "associations", as dump.py does'
        told = f"Not sent, so Klar keeps its old version if it has one: 10001: {lacks}\n"
        assert (ended.code, ended.out, ended.err) == (1, "", told)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ('{\n  "data": []\n}', "Not an answer a line. Is one on several? python3 -m json.tool --compact "),
        ('{"errors": [{"title": "Expired"}]}', 'No orders, but: {"errors": [{"title": "Expired"}]}'),
        ("[]", "No orders, but: []"),
        ('{"data": [{"type": "order", "attributes": {"orderNumber": "1"}}]}', "JSON:API, which this does not read: "),
    ],
)
def test_an_answer_of_another_form_is_one_line_that_says_what_to_do(shopware: Followed, answer: str, told: str) -> None:
    (shopware.folder / "answer.json").write_text(answer, encoding="utf-8")

    ended = shopware.run("python3 orders.py < answer.json")

    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert ended.err.startswith(told)


def test_an_order_that_was_deleted_is_cancelled_by_its_line_of_an_older_file(shopware: Followed, klar: Sandbox) -> None:
    draw = random.Random(8)
    orders = [drawn(number, draw) for number in range(24, 27)]
    (shopware.folder / "dump.jsonl").write_text(written(orders), encoding="utf-8")
    shopware.configure(klar, hard_delete=True)
    load = "target-klar --stream orders --config config.json"
    assert shopware.run(f"python3 orders.py < dump.jsonl > orders.jsonl && {load} < orders.jsonl").code == 0

    ended = shopware.run(shopware.command("_sdc_deleted_at"))

    assert ended.code == 0, ended.err
    cancelled = {held["orderNumber"]: held.get("cancelledAt") for held in klar.orders.values()}
    assert cancelled == {"10024": None, "10025": 1780358400, "10026": None}


def test_a_dump_that_fails_sends_nothing_and_one_made_by_other_means_is_read(shopware: Followed, klar: Sandbox) -> None:
    shopware.configure(klar)
    order = drawn(1, random.Random(5))
    with admin_api([order]) as (url, _):
        denied = shopware.run(shopware.command(LOAD), **environment(url, SHOPWARE_CLIENT_SECRET="mistyped"))
    assert denied.code == 1
    assert denied.err.splitlines()[0] == f"{url}/api/oauth/token answers 401: {{}}"
    assert klar.posts() == []

    pretty = json.dumps(json.loads(written([order])), indent=2)
    (shopware.folder / "answer.json").write_text(pretty, encoding="utf-8")
    (read,) = re.findall(r"`(python3 -m json.tool .*?)`", (DOCUMENTS / "shopware.md").read_text(encoding="utf-8"))
    looked = shopware.run(f"set -o pipefail; {read}")
    assert (looked.code, json.loads(looked.out)["id"]) == (0, order["id"])


def test_what_arrives_is_compared_at_the_local_klar_first(shopware: Followed) -> None:
    draw = random.Random(6)
    orders = [with_voucher(number, 20, draw) for number in range(1, 51)]
    orders += [drawn(number, draw) for number in range(51, 101)]  # some of them rounded for payment in cash
    with admin_api(orders) as (url, searches):
        ended = shopware.run(shopware.command("--export held.jsonl"), **environment(f"{url}/"))

    assert (ended.code, searches[0]["filter"]) == (0, []), ended.err
    exported = (shopware.folder / "held.jsonl").read_text(encoding="utf-8").splitlines()
    held = [json.loads(line, parse_float=Decimal)["object"] for line in exported]
    assert {each["id"]: totals(each) for each in held} == {
        order["id"]: (order["price"]["rawTotal"], order["amountNet"]) for order in orders
    }
    compared = ended.out.splitlines()[-2:]
    assert compared == [
        f"{currency}: {len(of)} orders, {sum(order['price']['rawTotal'] for order in of):.2f} gross, "
        f"{sum(order['amountNet'] for order in of):.2f} net, equal"
        for currency in ("EUR", "JPY")
        if (of := [order for order in orders if order["currency"]["isoCode"] == currency])
    ]

    orders[0]["amountNet"] -= cents(Decimal("0.01"))
    (shopware.folder / "dump.jsonl").write_text(written(orders[:-1]), encoding="utf-8")
    differs = shopware.run("python3 compare.py")

    assert differs.code == 1
    named = [line.split()[1:] for line in differs.out.splitlines() if line.startswith("differs: ")]
    assert [[side.split("/")[0] for side in sides] for sides in named] == [["10001", "10001"], ["none", "10100"]]
    assert ", but at Klar " in differs.out
