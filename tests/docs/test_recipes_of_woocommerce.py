"""docs/recipes/woocommerce.md in a MariaDB server: what Klar gets of a shop, with either order storage."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from followed import DOCUMENTS, Followed
from mariadb import Server, mariadb
from woocommerce_shop import Order, Refund, Shop, array

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from target_klar.sandbox import Sandbox

pytestmark = pytest.mark.slow

SHOP = Shop(
    orders=(
        Order(101, (1011, 1012, 1013), meta={"_stripe_fee": "1.35", "Stripe Fee": "1.30", "_stripe_currency": "EUR"}),
        Order(102, (1021,), meta={"_stripe_fee": "2.5500000000000003", "_stripe_currency": "eur"}),
        Order(103, (1031,), meta={"Stripe Fee": "0.30", "_stripe_currency": "USD"}),
        Order(
            104,
            (1041,),
            "CHF",
            "ppcp-gateway",
            meta={
                "_ppcp_paypal_fees": array(gross_amount=("CHF", "80.00"), paypal_fee=("CHF", "2.94")),
                "_ppcp_paypal_refund_fees": array(gross_amount=("CHF", "9.00"), paypal_fee=("CHF", "0.19")),
                "PayPal Transaction Fee": "2.94",
            },
        ),
        Order(105, (1051,), method="paypal", meta={"PayPal Transaction Fee": "0.1"}),
        Order(106, (1061,), method="ppec_paypal", meta={"_paypal_transaction_fee": "12345678901234.56"}),
        Order(107, (1071,), method="woocommerce_payments", meta={"_wcpay_transaction_fee": "0"}),
        Order(108, (1081,), method="bacs", meta={"_order_number": "2026-0108"}),
        Order(109, (1091,), method="mollie", paid=False, meta={"_stripe_fee": ""}),
        Order(110, (1101,), method="mollie", meta={"_mollie_fee": "0.29"}),
    ),
    refunds=(
        Refund(201, 101, "2026-05-04 22:30:00", ((2011, "-2", 1011), (2012, "-1", 1012), (2013, "0", 1013))),
        Refund(202, 102, "2026-05-05 06:00:00", ((2021, "-0.25", 1021),)),
        Refund(203, 102, "2026-05-06 06:00:00"),
        Refund(204, 103, "2026-05-07 06:00:00", ((2041, "-0", 1031),)),
        Refund(205, 104, "2026-05-08 06:00:00", ((2051, "-1", 1041),), status="trash"),
    ),
)
STORAGES = pytest.mark.parametrize(("written", "views"), [(Shop.hpos, "shop.sql"), (Shop.posts, "shop-posts.sql")])


@pytest.fixture(scope="module")
def mariadb_server() -> Iterator[Server]:
    with mariadb() as running:
        yield running


@pytest.fixture
def woocommerce(tmp_path: Path, mariadb_server: Server) -> Followed:
    """A folder with the recipe's files, in which the client finds the server, without a shop."""
    mariadb_server.execute(
        "DROP DATABASE IF EXISTS klar; DROP DATABASE IF EXISTS wordpress; DROP USER IF EXISTS klar@localhost;"
    )
    followed = Followed(tmp_path, "woocommerce.md")
    where = f"socket = {mariadb_server.folder}/socket\n"
    (tmp_path / "owner.cnf").write_text(f"[client]\nuser = root\n{where}", encoding="utf-8")
    (tmp_path / "reader.cnf").write_text(
        f"[client]\nuser = klar\npassword = a-password-of-yours\n{where}", encoding="utf-8"
    )
    return followed


def opened(woocommerce: Followed, mariadb_server: Server, tables: str, views: str = "shop.sql") -> None:
    """Make the shop's tables, and the views as the recipe says, twice."""
    mariadb_server.execute(tables)
    install = woocommerce.command("cat shop.sql klar.sql").replace("shop.sql", views)
    for _ in range(2):
        ended = woocommerce.run(install)
        assert (ended.code, ended.err) == (0, "")
    reader = woocommerce.run("mariadb --defaults-file=owner.cnf < reader.sql")
    assert (reader.code, reader.err) == (0, "")


def costs(klar: Sandbox) -> dict[str, Decimal]:
    return {key: Decimal(held["transactionCosts"]) for key, held in klar.transaction_costs.items()}


@STORAGES
def test_refunds_and_fees_of_both_storages_arrive_to_the_last_digit(
    woocommerce: Followed, mariadb_server: Server, klar: Sandbox, written: Callable[[Shop], str], views: str
) -> None:
    opened(woocommerce, mariadb_server, written(SHOP), views)
    added = woocommerce.run(woocommerce.command("INSERT INTO rates"))
    assert (added.code, added.err) == (0, "")
    woocommerce.configure(klar)

    ended = woocommerce.run("bash load.sh")

    assert (ended.code, ended.out, ended.said("WARNING")) == (0, "", []), ended.err
    assert {key: held["lineItems"] for key, held in klar.refunds.items()} == SHOP.expected_refunds()
    assert [held["createdAt"] for held in klar.refunds.values()] == [1777933800, 1777960800]
    assert costs(klar) == SHOP.expected_costs()
    assert costs(klar) == {
        "101": Decimal("1.35"),
        "102": Decimal("2.55"),
        "103": Decimal("0.2618"),  # 0.30 dollars at 0.8725: 0.26175
        "104": Decimal("2.75"),  # 2.94 less the 0.19 that a refund gave back
        "105": Decimal("0.1"),
        "106": Decimal("12345678901234.56"),
        "107": Decimal(0),
        "110": Decimal("0.29"),
    }

    shown = woocommerce.run(woocommerce.command("bash load.sh ENV"))
    assert (shown.code, shown.said("WARNING")) == (0, []), shown.err
    exported = [
        json.loads(line) for line in (woocommerce.folder / "held.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert {each["object"]["id"] for each in exported if each["stream"] == "refunds"} == {*klar.refunds}
    assert {each["object"]["orderId"] for each in exported if each["stream"] != "refunds"} == {*klar.transaction_costs}

    looked = woocommerce.run(woocommerce.command("GROUP BY payment_method"))
    assert looked.code == 0, looked.err
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in looked.out.splitlines() if "|" in line]
    assert cells == [
        ["reason", "refunds", "such_as"],
        ["an amount without pieces", "2", "103"],
        ["in the trash", "1", "104"],
        ["payment_method", "paid_orders", "such_as"],
        ["bacs", "1", "108"],
    ]


def test_a_refund_that_is_deleted_is_cancelled_and_one_that_comes_back_is_sent_again(
    woocommerce: Followed, mariadb_server: Server, klar: Sandbox
) -> None:
    woocommerce.configure(klar)
    opened(woocommerce, mariadb_server, Shop((SHOP.orders[0], SHOP.orders[1]), SHOP.refunds[:2]).hpos())
    assert woocommerce.run("bash load.sh").code == 0
    whole = dict(klar.refunds)

    mariadb_server.execute("UPDATE wordpress.wp_wc_orders SET status = 'trash' WHERE id = 201;")
    mariadb_server.execute("CREATE TABLE klar.kept SELECT * FROM wordpress.wp_wc_orders WHERE id = 202;")
    mariadb_server.execute("DELETE FROM wordpress.wp_wc_orders WHERE id = 202;")
    assert woocommerce.run("bash load.sh").code == 0
    assert klar.refunds == {key: held | {"lineItems": []} for key, held in whole.items()}

    mariadb_server.execute("INSERT INTO wordpress.wp_wc_orders SELECT * FROM klar.kept;")
    assert woocommerce.run("bash load.sh").code == 0
    assert klar.refunds == whole | {"201": whole["201"] | {"lineItems": []}}


@pytest.mark.parametrize(
    ("order", "refund", "problem"),
    [
        (None, Refund(301, 101, "2026-05-09 06:00:00", ((3011, "2", 1011),)), "a quantity is not a negative number"),
        (
            None,
            Refund(301, 101, "2026-05-09 06:00:00", ((3011, "-2", None),)),
            "a line names no line item of its order",
        ),
        (
            None,
            Refund(301, 101, "2026-05-09 06:00:00", ((3011, "-2", 1021),)),
            "a line names no line item of its order",
        ),
        (None, Refund(301, 101, "2026-05-09 06:00:00", ((3011, "-2", 1011),), "draft"), "its status is draft"),
        (None, Refund(301, 101, "1970-01-01 00:00:00", ((3011, "-2", 1011),)), "it has no time"),
        (
            Order(109, meta={"_stripe_fee": "1,10", "_stripe_currency": "EUR"}),
            None,
            "_stripe_fee that is not an amount",
        ),
        (Order(109, meta={"_stripe_fee": "1.10"}), None, "no rate from an unknown currency to EUR"),
        (Order(109, meta={"_stripe_fee": "1.10", "_stripe_currency": "GBP"}), None, "no rate from GBP to EUR"),
        (Order(109, meta={"_ppcp_paypal_fees": "a:0:{}"}), None, "_ppcp_paypal_fees that is not an amount"),
        (Order(109, meta={"PayPal Transaction Fee": "-1.10"}), None, "costs below zero"),
    ],
)
def test_what_is_not_known_to_be_right_is_said_and_holds_back_nothing_else(
    woocommerce: Followed,
    mariadb_server: Server,
    klar: Sandbox,
    order: Order | None,
    refund: Refund | None,
    problem: str,
) -> None:
    good = Shop(SHOP.orders[:2], SHOP.refunds[:2])
    bad = Shop((*good.orders, *([order] if order else [])), (*good.refunds, *([refund] if refund else [])))
    opened(woocommerce, mariadb_server, bad.hpos())
    woocommerce.configure(klar)

    ended = woocommerce.run("bash load.sh")

    assert ended.code == 1
    assert ended.err.splitlines()[-1].endswith(f"sent: {problem}")
    assert ("109" if order else "301") in ended.err.splitlines()[-1]
    assert {key: held["lineItems"] for key, held in klar.refunds.items()} == good.expected_refunds()
    assert costs(klar) == good.expected_costs()


def test_a_currency_that_stands_nowhere_is_said_in_the_table_of_keys(
    woocommerce: Followed, mariadb_server: Server, klar: Sandbox
) -> None:
    opened(woocommerce, mariadb_server, Shop((Order(109, meta={"_stripe_fee": "1.10"}),), ()).hpos())
    (said,) = re.findall(r"`(UPDATE fee_keys .*?;)`", (DOCUMENTS / "woocommerce.md").read_text(encoding="utf-8"))
    mariadb_server.execute(f"USE klar; {said}")
    woocommerce.configure(klar)

    assert woocommerce.run("bash load.sh").code == 0
    assert costs(klar) == {"109": Decimal("1.10")}


def test_two_rows_of_one_meta_key_are_not_added_up(
    woocommerce: Followed, mariadb_server: Server, klar: Sandbox
) -> None:
    opened(woocommerce, mariadb_server, Shop(SHOP.orders[:2], SHOP.refunds[:2]).hpos())
    mariadb_server.execute("INSERT INTO wordpress.wp_wc_orders_meta VALUES (101, '_stripe_fee', '1.35');")
    mariadb_server.execute("INSERT INTO wordpress.wp_woocommerce_order_itemmeta VALUES (2011, '_qty', '-2');")
    woocommerce.configure(klar)

    ended = woocommerce.run("bash load.sh")

    assert (ended.code, costs(klar), [*klar.refunds]) == (1, {"102": Decimal("2.55")}, ["202"])
    assert ended.err.splitlines()[-2:] == [
        "Refund 201 of order 101 is not sent: a line has two quantities, or names two line items",
        "The fees of 1 order(s), such as 101, are not sent: _stripe_fee twice",
    ]


def test_the_user_of_the_script_sees_no_customer_and_a_query_that_fails_makes_it_fail(
    woocommerce: Followed, mariadb_server: Server, klar: Sandbox
) -> None:
    opened(woocommerce, mariadb_server, Shop(SHOP.orders[:1], ()).hpos())
    denied = woocommerce.run("mariadb --defaults-file=reader.cnf -e 'SELECT billing_email FROM wordpress.wp_wc_orders'")
    assert (denied.code, "denied" in denied.err) == (1, True)

    woocommerce.configure(klar)
    mariadb_server.execute("DROP VIEW klar.transaction_costs;")
    broken = woocommerce.run("bash load.sh")
    assert (broken.code, "klar.transaction_costs' doesn't exist" in broken.err, klar.posts()) == (1, True, [])

    (woocommerce.folder / "reader.cnf").write_text("[client]\nsocket = nowhere\n", encoding="utf-8")
    assert (woocommerce.run("bash load.sh").code, klar.posts()) == (1, [])
