"""docs/recipes/woocommerce.md in a MariaDB server: what Klar gets of a shop, with either order storage."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from followed import DOCUMENTS, Followed
from mariadb import Server, mariadb
from woocommerce_shop import HPOS, POSTS, RATE, Order, Refund, Shop, Storage, array

from target_klar.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("WooCommerce")]  # one server

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
        Refund(
            201,
            101,
            "2026-05-04 22:30:00",
            ((2011, "-2", 1011), (2012, "-1", 1012), (2013, "0", 1013)),
            beyond="8.9",
        ),
        Refund(202, 102, "2026-05-05 06:00:00", ((2021, "-0.25", 1021),)),
        Refund(203, 102, "2026-05-06 06:00:00", beyond="12.5"),
        Refund(204, 103, "2026-05-07 06:00:00", ((2041, "-0", 1031),), beyond="4"),
        Refund(206, 104, "2026-05-07 06:00:00", beyond="3"),
        Refund(205, 104, "2026-05-08 06:00:00", ((2051, "-1", 1041),), status="trash"),
    ),
)
GOOD = Shop(SHOP.orders[:2], SHOP.refunds[:2])
STORAGES = pytest.mark.parametrize("storage", [HPOS, POSTS], ids=["hpos", "posts"])


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
    """Make the shop's tables, and the views as the recipe says."""
    mariadb_server.execute(tables)
    done(woocommerce, woocommerce.command("cat shop.sql klar.sql").replace("shop.sql", views))


def done(woocommerce: Followed, command: str) -> str:
    """Run a command of the recipe that has to work without a word of complaint; return what it printed."""
    ended = woocommerce.run(command)
    assert (ended.code, ended.err) == (0, "")
    return ended.out


def told(woocommerce: Followed) -> None:
    """Say the rate and the key of the recipe's first look."""
    for words in ("INSERT INTO rates", "INSERT INTO fee_keys"):
        done(woocommerce, woocommerce.command(words))


def loaded(woocommerce: Followed, arguments: str = "") -> None:
    ended = woocommerce.run(f"bash load.sh {arguments}")
    warned = [said for said in ended.said("WARNING") if "The input has no record" not in said]
    assert (ended.code, ended.out, warned) == (0, "", []), ended.err


def refused(woocommerce: Followed, arguments: str = "") -> str:
    """Load, and return the last line of why that failed."""
    ended = woocommerce.run(f"bash load.sh {arguments}")
    assert (ended.code, ended.out) == (1, "")
    return ended.err.splitlines()[-1]


def costs(klar: Sandbox) -> dict[str, Decimal]:
    return {key: Decimal(held["transactionCosts"]) for key, held in klar.transaction_costs.items()}


def lines(klar: Sandbox) -> dict[str, list[dict[str, object]]]:
    return {key: held["lineItems"] for key, held in klar.refunds.items()}


def remembered(mariadb_server: Server) -> list[set[str]]:
    """Return the keys that the recipe's two tables remember as sent."""
    said = (mariadb_server.execute(f"SELECT {key} FROM klar.sent_{table};") for table, key in _KEYS.items())
    return [set(keys.split()) for keys in said]


_KEYS = {"refunds": "id", "transaction_costs": "order_id"}


def overview(woocommerce: Followed) -> dict[tuple[str, str], tuple[int, Decimal | None]]:
    """Return the number and the amount of each kind and currency that the recipe's first look shows."""
    cells = [
        [cell.strip() for cell in row.split("|")[1:-1]]
        for row in done(woocommerce, woocommerce.command("overview")).splitlines()
    ]
    return {
        (row[0], row[1]): (int(row[2]), None if row[3] == "NULL" else Decimal(row[3]))
        for row in cells
        if len(row) == 5 and row[0] != "what"
    }


@STORAGES
def test_refunds_and_fees_of_both_storages_arrive_to_the_last_digit(
    woocommerce: Followed, mariadb_server: Server, klar: Sandbox, storage: Storage
) -> None:
    opened(woocommerce, mariadb_server, storage.write(SHOP), storage.views)
    told(woocommerce)
    again = woocommerce.command("cat shop.sql klar.sql").replace("shop.sql", storage.views).replace("reader.sql", "")
    done(woocommerce, again)  # the views alone, which keep what was said
    woocommerce.configure(klar)

    shown = woocommerce.run(woocommerce.command("--trial ENV"))
    assert (shown.code, shown.said("WARNING")) == (0, []), shown.err
    total = "2 refunds, 3.25 pieces; 8 orders, costs 12345678901241.86180000"
    assert shown.out.splitlines()[-1] == f"equal: {total}"
    exported = [
        json.loads(line) for line in (woocommerce.folder / "held.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert remembered(mariadb_server) == [set(), set()]

    loaded(woocommerce)
    assert lines(klar) == SHOP.expected_refunds()
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
    assert {each["object"]["id"] for each in exported if each["stream"] == "refunds"} == {*klar.refunds}
    assert {each["object"]["orderId"] for each in exported if each["stream"] != "refunds"} == {*klar.transaction_costs}
    assert remembered(mariadb_server) == [{*klar.refunds}, {*klar.transaction_costs}]

    mariadb_server.execute("UPDATE klar.fee_keys SET sign = -1 WHERE meta_key = '_mollie_fee';")
    mariadb_server.execute(
        "UPDATE wordpress.wp_woocommerce_order_itemmeta SET meta_value = '-2' WHERE meta_value = '-1';"
    )
    changed = "2 refunds, 4.25 pieces; 7 orders, costs 12345678901241.57180000"
    differing = woocommerce.run("python3 compare.py held.jsonl")
    assert (differing.code, differing.err) == (1, "")
    assert [line.split(" is ")[0] for line in differing.out.splitlines()] == [
        "differs: order 110",
        "differs: refund 201",
        f"not equal: {changed} in the views, and at Klar {total}",
    ]


@STORAGES
def test_the_first_look_shows_the_money_that_is_sent_and_that_is_not_by_currency(
    woocommerce: Followed, mariadb_server: Server, storage: Storage
) -> None:
    opened(woocommerce, mariadb_server, storage.write(SHOP), storage.views)
    told(woocommerce)

    shown = overview(woocommerce)

    currencies = {str(order.id): order.currency for order in SHOP.orders}
    for currency in ("EUR", "CHF"):
        sent = [cost for order, cost in SHOP.expected_costs().items() if currencies[order] == currency]
        assert shown.pop(("sent: costs", currency)) == (len(sent), sum(sent))
    named = {
        "sent: refunds, what their pieces gave back": "pieces",
        "not sent: of these refunds, beyond their pieces": "beyond",
        "not sent: refunds of an amount without pieces": "no pieces",
    }
    assert shown.pop(("paid, without a fee: bacs", "EUR")) == (1, None)
    assert {(named[what], currency): number for (what, currency), number in shown.items()} == SHOP.sums_of_refunds()
    assert SHOP.sums_of_refunds() == {
        ("pieces", "EUR"): (2, Decimal("32.50")),
        ("beyond", "EUR"): (1, Decimal("8.9")),
        ("no pieces", "EUR"): (2, Decimal("16.5")),
        ("no pieces", "CHF"): (1, Decimal(3)),
    }


@STORAGES
def test_a_fee_that_disappears_in_the_shop_is_0_at_klar_and_comes_back_with_it(
    woocommerce: Followed, mariadb_server: Server, klar: Sandbox, storage: Storage
) -> None:
    sold = Shop(
        (*SHOP.orders[:2], *(Order(each, meta={"_wcpay_transaction_fee": "1.20"}) for each in range(301, 305))),
        SHOP.refunds[:1],
    )
    opened(woocommerce, mariadb_server, storage.write(sold), storage.views)
    woocommerce.configure(klar)
    loaded(woocommerce)
    assert costs(klar) == sold.expected_costs()

    mariadb_server.execute(
        storage.delete(301)
        + storage.remove(302, "_wcpay_transaction_fee")
        + storage.change(303, "_wcpay_transaction_fee", "")
        + storage.trash(304)
    )
    for _ in range(2):
        loaded(woocommerce)
        assert costs(klar) == Shop(sold.orders[:2], ()).expected_costs() | dict.fromkeys(
            ("301", "302", "303", "304"), Decimal(0)
        )

    mariadb_server.execute(storage.add(302, "_wcpay_transaction_fee", "1.30") + storage.restore(304))
    loaded(woocommerce)
    assert costs(klar) == Shop(sold.orders[:2], ()).expected_costs() | {
        "301": Decimal(0),
        "302": Decimal("1.30"),
        "303": Decimal(0),
        "304": Decimal("1.20"),
    }


@STORAGES
def test_refunds_that_go_or_whose_order_goes_are_cancelled_and_what_comes_back_is_sent_again(
    woocommerce: Followed, mariadb_server: Server, klar: Sandbox, storage: Storage
) -> None:
    orders = (SHOP.orders[0], *(replace(order, meta={}) for order in SHOP.orders[1:4]))
    refunds = (
        *SHOP.refunds[:2],
        Refund(211, 103, "2026-05-08 06:00:00", ((2111, "-1", 1031),)),
        Refund(212, 104, "2026-05-08 06:00:00", ((2121, "-1", 1041),)),
        Refund(213, 104, "2026-05-08 06:00:00", ((2131, "-1", 1041),)),
    )
    sold = Shop(orders, refunds)
    opened(woocommerce, mariadb_server, storage.write(sold), storage.views)
    woocommerce.configure(klar)
    loaded(woocommerce)
    whole = lines(klar)
    assert whole == sold.expected_refunds()

    mariadb_server.execute(storage.delete(202) + storage.trash(103) + storage.delete(104))
    for _ in range(2):
        loaded(woocommerce)
        assert lines(klar) == whole | {"202": [], "211": [], "212": [], "213": []}

    mariadb_server.execute(storage.restore(103))
    loaded(woocommerce)
    assert lines(klar) == whole | {"202": [], "212": [], "213": []}


def test_more_than_five_losses_stop_the_load_before_anything_is_sent_until_they_are_agreed_to(
    woocommerce: Followed, mariadb_server: Server, klar: Sandbox
) -> None:
    ids = range(301, 307)
    orders = tuple(Order(each, (each * 10,), meta={"_wcpay_transaction_fee": "1.20"}) for each in ids)
    refunds = tuple(
        Refund(each + 100, each, "2026-05-08 06:00:00", ((each * 10 + 1, "-1", each * 10),)) for each in ids
    )
    opened(woocommerce, mariadb_server, Shop((*orders, SHOP.orders[0]), refunds).hpos())
    woocommerce.configure(klar)
    loaded(woocommerce)
    (before, sent) = (dict(klar.refunds), costs(klar))

    mariadb_server.execute("".join(HPOS.delete(each) for each in ids))
    posts = len(klar.posts())
    ended = woocommerce.run("bash load.sh")
    assert (ended.code, len(klar.posts()), klar.refunds, costs(klar)) == (1, posts, before, sent)
    assert ended.err.splitlines() == [
        "Nothing is sent: 6 refunds are gone, or have no pieces any more, such as 401",
        "6 orders have no fee any more, such as 301. If it is meant: load.sh --agreed",
    ]

    loaded(woocommerce, "--agreed")
    assert costs(klar) == {"101": Decimal("1.35")} | {str(each): Decimal(0) for each in ids}
    assert lines(klar) == {str(each + 100): [] for each in ids}
    loaded(woocommerce)


PROBLEMS: list[tuple[Order | Refund, str]] = [
    (Refund(301, 101, "2026-05-09 06:00:00", ((3011, "2", 1011),)), "a quantity is not a negative number"),
    (Refund(302, 101, "2026-05-09 06:00:00", ((3021, "-2", None),)), "a line names no line item of its order"),
    (Refund(303, 101, "2026-05-09 06:00:00", ((3031, "-2", 1021),)), "a line names no line item of its order"),
    (Refund(304, 101, "2026-05-09 06:00:00", ((3041, "-2", 1011),), "draft"), "its status is draft"),
    (Refund(305, 101, "1970-01-01 00:00:00", ((3051, "-2", 1011),)), "it has no time"),
    (Order(109, meta={"_stripe_fee": "1,10", "_stripe_currency": "EUR"}), "_stripe_fee that is not an amount"),
    (Order(901, meta={"_stripe_fee": "1.10"}), "_stripe_fee without a currency"),
    (
        Order(902, meta={"_stripe_fee": "1.10", "_stripe_currency": "GBP"}),
        "no rate from GBP to EUR that is valid on its day",
    ),
    (Order(903, meta={"_ppcp_paypal_fees": "a:0:{}"}), "_ppcp_paypal_fees that is not an amount"),
    (
        Order(904, meta={"_ppcp_paypal_refund_fees": array(paypal_fee=("EUR", "0.00"))}),
        "_ppcp_paypal_refund_fees without the fee of a payment",
    ),
    (Order(905, meta={"PayPal Transaction Fee": "-1.10"}), "costs below zero"),
]


def test_what_is_not_known_to_be_right_is_said_and_holds_back_nothing_else(
    woocommerce: Followed, mariadb_server: Server, klar: Sandbox
) -> None:
    orders = tuple(each for each, _ in PROBLEMS if isinstance(each, Order))
    refunds = tuple(each for each, _ in PROBLEMS if isinstance(each, Refund))
    shop = Shop((*GOOD.orders, *orders), (*GOOD.refunds, *refunds))
    opened(woocommerce, mariadb_server, shop.hpos())
    woocommerce.configure(klar)

    ended = woocommerce.run("bash load.sh")

    assert (ended.code, ended.out) == (1, "")
    said = [line for line in ended.err.splitlines() if " sent: " in line]
    for each, problem in PROBLEMS:
        name = f"such as {each.id}, " if isinstance(each, Order) else f"Refund {each.id} "
        assert [line for line in said if name in line and line.endswith(f"sent: {problem}")] != [], (each, ended.err)
    assert len(said) == len(PROBLEMS)
    assert lines(klar) == GOOD.expected_refunds()
    assert costs(klar) == GOOD.expected_costs()


def test_what_paypal_gave_back_never_takes_the_place_of_its_fee(
    woocommerce: Followed, mariadb_server: Server, klar: Sandbox
) -> None:
    nothing = array(gross_amount=("", "0.00"), paypal_fee=("", "0.00"), net_amount=("", "0.00"))
    gave_back = array(paypal_fee=("EUR", "0.20"))
    number = array(paypal_fee=("JPY", "231")).replace('s:3:"231";', "d:231;")
    sold = Shop(
        (
            Order(401, meta={"_paypal_transaction_fee": "1.28", "_ppcp_paypal_refund_fees": nothing}),
            Order(402, meta={"PayPal Transaction Fee": "1.28", "_ppcp_paypal_refund_fees": gave_back}),
            Order(
                403, meta={"_ppcp_paypal_fees": array(paypal_fee=("EUR", "2.00")), "_ppcp_paypal_refund_fees": nothing}
            ),
            Order(404, currency="JPY", meta={"_ppcp_paypal_fees": array(paypal_fee=("JPY", "231"))}),
        ),
        (),
    )
    opened(woocommerce, mariadb_server, sold.hpos())
    mariadb_server.execute(HPOS.change(404, "_ppcp_paypal_fees", number))
    woocommerce.configure(klar)

    loaded(woocommerce)

    assert costs(klar) == sold.expected_costs()
    assert [*costs(klar).values()] == [Decimal("1.28"), Decimal("1.08"), Decimal(2), Decimal(231)]


@STORAGES
def test_a_new_rate_changes_no_order_that_was_placed_before_its_day(
    woocommerce: Followed, mariadb_server: Server, klar: Sandbox, storage: Storage
) -> None:
    meta = {"_stripe_fee": "10.00", "_stripe_currency": "USD"}
    days = ("2025-12-31 23:59:59", "2026-01-01 00:00:00", "2026-06-30 23:59:59", "2026-07-01 00:00:00")
    sold = Shop(tuple(Order(501 + place, meta=meta, created=day) for place, day in enumerate(days)), ())
    opened(woocommerce, mariadb_server, storage.write(sold), storage.views)
    done(woocommerce, woocommerce.command("INSERT INTO rates"))
    woocommerce.configure(klar)

    none = "The fees of 1 order(s) in EUR, such as 501, are not sent: no rate from USD to EUR that is valid on its day"
    assert refused(woocommerce) == none
    assert costs(klar) == dict.fromkeys(("502", "503", "504"), 10 * RATE)

    (added,) = re.findall(r"INSERT INTO rates [^;]*;", woocommerce.command("INSERT INTO rates"))
    mariadb_server.execute("USE klar; " + added.replace("2026-01-01", "2026-07-01").replace("0.8725", "0.91"))
    assert refused(woocommerce) == none
    assert costs(klar) == {"502": 10 * RATE, "503": 10 * RATE, "504": Decimal("9.1")}


def test_two_payout_currencies_of_orders_without_one_are_told_apart_or_a_problem(
    woocommerce: Followed, mariadb_server: Server, klar: Sandbox
) -> None:
    sold = Shop(
        (
            Order(601, meta={"Stripe Fee": "1.10"}),
            Order(602, currency="CHF", meta={"Stripe Fee": "3.90"}),
            Order(603, currency="CHF", meta={"_stripe_fee": "2.00", "_stripe_currency": "CHF"}),
            Order(604, currency="CHF", meta={"_stripe_fee": "2.00", "_stripe_currency": "EUR"}),
            Order(605, currency="USD", meta={"Stripe Fee": "4.00"}),
            Order(606, currency="USD", meta={"PayPal Transaction Fee": "4.00"}),
        ),
        (),
    )
    opened(woocommerce, mariadb_server, sold.hpos())
    mariadb_server.execute(
        "INSERT INTO klar.rates VALUES ('EUR', 'CHF', '2020-01-01', 0.97), ('EUR', 'USD', '2020-01-01', 1.09);"
    )
    woocommerce.configure(klar)
    unknown = {"603": Decimal(2), "604": Decimal("1.94"), "606": Decimal(4)}

    ended = woocommerce.run("bash load.sh")
    assert (ended.code, costs(klar)) == (1, unknown)
    assert [line for line in ended.err.splitlines() if "not sent" in line] == [
        f"The fees of 1 order(s) in {currency}, such as {order}, are not sent: Stripe Fee without a currency"
        for currency, order in (("CHF", 602), ("EUR", 601), ("USD", 605))
    ]

    done(woocommerce, woocommerce.command("INTO fee_currencies"))
    assert "in CHF, such as 602" in refused(woocommerce)
    assert costs(klar) == unknown | {"601": Decimal("1.1"), "605": Decimal("4.36")}

    page = (DOCUMENTS / "woocommerce.md").read_text(encoding="utf-8")
    (said,) = re.findall(r"`(INSERT INTO fee_currencies VALUES .*?)`", page)
    mariadb_server.execute(f"USE klar; {said.replace('5045', '602')};")
    loaded(woocommerce)
    assert costs(klar) == unknown | {"601": Decimal("1.1"), "602": Decimal("3.9"), "605": Decimal("4.36")}


@STORAGES
def test_rows_that_are_there_twice_count_once_and_those_that_differ_are_all_listed(
    woocommerce: Followed, mariadb_server: Server, klar: Sandbox, storage: Storage
) -> None:
    sold = Shop(SHOP.orders[:2], SHOP.refunds[:2])
    opened(woocommerce, mariadb_server, storage.write(sold), storage.views)
    twice = storage.add(101, "_stripe_fee", "1.35") + storage.add(101, "_stripe_currency", "EUR")
    mariadb_server.execute(twice + "INSERT INTO wordpress.wp_woocommerce_order_itemmeta VALUES (2011, '_qty', '-2');")
    woocommerce.configure(klar)
    loaded(woocommerce)
    assert (costs(klar), lines(klar)) == (sold.expected_costs(), sold.expected_refunds())

    mariadb_server.execute(
        storage.change(102, "_stripe_fee", "9")
        + storage.add(101, "_stripe_fee", "1.36")
        + "INSERT INTO wordpress.wp_woocommerce_order_itemmeta VALUES (2011, '_qty', '-1');"
    )
    ended = woocommerce.run("bash load.sh")
    assert (ended.code, ended.err.splitlines()[-2:]) == (
        1,
        [
            "Refund 201 of order 101 is not sent: a line has two quantities, or names two line items",
            "The fees of 1 order(s) in EUR, such as 101, are not sent: two values of _stripe_fee",
        ],
    )
    assert costs(klar) == sold.expected_costs() | {"102": Decimal(9)}
    assert lines(klar) == sold.expected_refunds()

    listed = [
        [cell.strip() for cell in row.split("|")[2:5]]
        for row in done(woocommerce, woocommerce.command("JOIN fees")).splitlines()
        if "two values" in row
    ]
    assert listed == [["101", "_stripe_fee", "1.35"], ["101", "_stripe_fee", "1.36"]]


def test_what_is_sent_is_what_is_remembered_also_of_rows_that_come_in_between(
    woocommerce: Followed, mariadb_server: Server, klar: Sandbox
) -> None:
    opened(woocommerce, mariadb_server, GOOD.hpos())
    woocommerce.configure(klar)
    # After each call of the client the shop has one more order, with a fee and a refund.
    come = """
        SELECT MAX(order_item_id) + 10000 INTO @id FROM wordpress.wp_woocommerce_order_items;
        INSERT INTO wordpress.wp_wc_orders (id, type, status, currency, parent_order_id, date_created_gmt) VALUES
          (@id, 'shop_order', 'wc-completed', 'EUR', 0, '2026-05-01'),
          (@id + 1, 'shop_order_refund', 'wc-completed', 'EUR', @id, '2026-05-02');
        INSERT INTO wordpress.wp_wc_orders_meta VALUES (@id, '_wcpay_transaction_fee', '0.50');
        INSERT INTO wordpress.wp_woocommerce_order_items VALUES
          (@id, 'line_item', @id), (@id + 1, 'line_item', @id + 1);
        INSERT INTO wordpress.wp_woocommerce_order_itemmeta VALUES
          (@id + 1, '_qty', '-1'), (@id + 1, '_refunded_item_id', @id);"""
    (woocommerce.folder / "come.sql").write_text(come, encoding="utf-8")
    (woocommerce.folder / "bin").mkdir()
    client = woocommerce.folder / "bin" / "mariadb"
    client.write_text(
        '#!/bin/bash\nPATH=${PATH#*:}\nmariadb "$@"\nended=$?\n'
        "mariadb --defaults-file=owner.cnf < come.sql\nexit $ended\n",
        encoding="utf-8",
    )
    client.chmod(0o755)

    loaded_between = woocommerce.run('PATH="$PWD/bin:$PATH" bash load.sh')

    assert loaded_between.code == 0, loaded_between.err
    assert (len(klar.refunds), len(klar.transaction_costs)) == (3, 4)
    assert remembered(mariadb_server) == [{*klar.refunds}, {*klar.transaction_costs}]

    mariadb_server.execute("".join(HPOS.delete(int(each)) for each in {*klar.transaction_costs} - {"101", "102"}))
    loaded(woocommerce)
    assert [len(sent) for sent in lines(klar).values()].count(0) == 1
    assert [*costs(klar).values()].count(Decimal(0)) == 2


def test_a_dry_run_remembers_nothing_and_has_to_be_called_a_trial(
    woocommerce: Followed, mariadb_server: Server, klar: Sandbox
) -> None:
    opened(woocommerce, mariadb_server, Shop(SHOP.orders[:2], SHOP.refunds[:2]).hpos())
    woocommerce.configure(klar, validate_only=True)
    (woocommerce.folder / "config.json").rename(woocommerce.folder / "dry-run.json")
    woocommerce.configure(klar)
    why = "Nothing is sent: where validate_only is set, it is load.sh --trial, which remembers nothing"

    assert refused(woocommerce, "dry-run.json") == why
    assert refused(woocommerce, "--agreed dry-run.json") == why
    ended = woocommerce.run("bash load.sh ENV", TARGET_KLAR_VALIDATE_ONLY="true", TARGET_KLAR_API_TOKEN=klar.token)
    assert (ended.code, ended.err.strip()) == (1, why)
    (woocommerce.folder / ".env").write_text("TARGET_KLAR_VALIDATE_ONLY=true\n", encoding="utf-8")
    assert refused(woocommerce, "ENV") == why
    (woocommerce.folder / ".env").unlink()
    assert refused(woocommerce, "--trail") == "Nothing is sent: --trail is unknown"
    assert klar.posts() == []

    done_dry = woocommerce.run(woocommerce.command("--trial dry-run.json"))
    assert (done_dry.code, done_dry.err.count("2 read, 2 valid")) == (0, 2), done_dry.err
    assert (klar.refunds, klar.transaction_costs, remembered(mariadb_server)) == ({}, {}, [set(), set()])


@STORAGES
def test_the_user_of_the_script_can_read_no_customer(
    woocommerce: Followed, mariadb_server: Server, klar: Sandbox, storage: Storage
) -> None:
    opened(woocommerce, mariadb_server, storage.write(SHOP), storage.views)
    woocommerce.configure(klar)
    assert "109" not in refused(woocommerce)

    def read(table: str, user: str) -> tuple[int, str]:
        ended = woocommerce.run(f"mariadb --defaults-file={user}.cnf --execute 'SELECT * FROM {table}'")
        return ended.code, ended.out + ended.err

    tables = mariadb_server.execute(
        "SELECT CONCAT(table_schema, '.', table_name) FROM information_schema.tables"
        " WHERE table_schema IN ('klar', 'wordpress');"
    ).split()
    assert sum("customer.example" in read(table, "owner")[1] for table in tables) >= 2
    readable = set()
    for table in tables:
        code, said = read(table, "reader")
        assert (code, "denied" in said) in ((0, False), (1, True))
        assert "customer.example" not in said
        if code == 0:
            readable.add(table.removeprefix("klar."))
    assert readable == {"overview", "problems", "losses", *_KEYS, *(f"sent_{table}" for table in _KEYS)}


def test_the_shop_may_have_another_database_and_prefix_and_the_script_runs_from_any_folder(
    woocommerce: Followed, mariadb_server: Server, klar: Sandbox
) -> None:
    mariadb_server.execute("DROP DATABASE IF EXISTS `your-database`;")
    done(woocommerce, woocommerce.command("shop*.sql"))
    tables = (
        SHOP.hpos()
        .replace("DATABASE wordpress", "DATABASE `your-database`")
        .replace("USE wordpress", "USE `your-database`")
    )
    opened(woocommerce, mariadb_server, tables.replace(" wp_", " your_prefix_"))
    told(woocommerce)
    woocommerce.configure(klar)

    ended = woocommerce.run('load="$PWD/load.sh"; cd / && bash "$load"')

    assert (ended.code, costs(klar)) == (0, SHOP.expected_costs()), ended.err


@STORAGES
def test_the_load_neither_waits_for_rows_that_the_shop_has_locked_nor_sees_what_is_not_committed(
    woocommerce: Followed, mariadb_server: Server, klar: Sandbox, storage: Storage
) -> None:
    opened(woocommerce, mariadb_server, storage.write(Shop(SHOP.orders[:2], SHOP.refunds[:2])), storage.views)
    woocommerce.configure(klar)
    mariadb_server.execute("SET GLOBAL innodb_lock_wait_timeout = 1;")
    writing = (
        f"BEGIN; {storage.change(101, '_stripe_fee', '9')} UPDATE {storage.orders} SET {storage.status} = 'trash';"
    )
    client = ["mariadb", f"--defaults-file={woocommerce.folder}/owner.cnf", "--unbuffered", "--skip-column-names"]
    with subprocess.Popen(client, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holding:
        assert holding.stdin is not None
        assert holding.stdout is not None
        holding.stdin.write(f"{writing} SELECT 'locked';\n")
        holding.stdin.flush()
        assert holding.stdout.readline() == "locked\n"
        ended = woocommerce.run("bash load.sh")
        holding.stdin.close()

    assert (ended.code, costs(klar)) == (0, Shop(SHOP.orders[:2], ()).expected_costs()), ended.err


def test_a_query_that_fails_makes_the_script_fail(woocommerce: Followed, mariadb_server: Server, klar: Sandbox) -> None:
    opened(woocommerce, mariadb_server, Shop(SHOP.orders[:1], ()).hpos())
    woocommerce.configure(klar)
    mariadb_server.execute("DROP VIEW klar.transaction_costs;")
    broken = woocommerce.run("bash load.sh")
    assert (broken.code, "klar.transaction_costs' doesn't exist" in broken.err, klar.posts()) == (1, True, [])

    (woocommerce.folder / "reader.cnf").write_text("[client]\nsocket = nowhere\n", encoding="utf-8")
    assert (woocommerce.run("bash load.sh").code, klar.posts()) == (1, [])


@pytest.mark.parametrize("line", ["TARGET_KLAR_API_URL=", "export TARGET_KLAR_API_URL = '", None])
def test_an_address_that_would_not_be_read_stops_the_load_wherever_it_stands(
    woocommerce: Followed, mariadb_server: Server, klar: Sandbox, line: str | None
) -> None:
    opened(woocommerce, mariadb_server, GOOD.hpos())
    woocommerce.configure(klar)
    why = (
        "Nothing is sent: the environment or .env names another address than config.json. "
        "For that one: load.sh ENV. For config.json: take it out"
    )
    with Sandbox() as local:
        variables = {"TARGET_KLAR_API_URL": local.url, "TARGET_KLAR_API_TOKEN": local.token}
        env = woocommerce.folder / ".env"
        if line:
            quote = "'" if line.endswith("'") else ""
            token = f"TARGET_KLAR_API_TOKEN={local.token}"
            env.write_text(f"{line}{local.url}{quote}\n{token}\n", encoding="utf-8")
            variables = {}

        for mode in ("", "--agreed", "--trial"):
            ended = woocommerce.run(f"bash load.sh {mode}", **variables)
            assert (ended.code, ended.err.splitlines()) == (
                1,
                [why],
            )
        assert (woocommerce.run("bash load.sh ENV config.json", **variables).code, local.posts(), klar.posts()) == (
            1,
            [],
            [],
        )
        assert remembered(mariadb_server) == [set(), set()]

        assert woocommerce.run("bash load.sh ENV", **variables).code == 0
        assert (costs(local), klar.posts()) == (GOOD.expected_costs(), [])

    env.write_text(f"#TARGET_KLAR_API_URL={klar.url}\nTARGET_KLAR_API_URL=\n", encoding="utf-8")
    loaded(woocommerce)
    assert costs(klar) == GOOD.expected_costs()


@pytest.mark.parametrize("said", ["TARGET_KLAR_VALIDATE_ONLY=false", "TARGET_KLAR_VALIDATE_ONLY='0'", "validate_only="])
def test_a_validate_only_that_asks_for_no_dry_run_does_not_stop_the_load(
    woocommerce: Followed, mariadb_server: Server, klar: Sandbox, said: str
) -> None:
    opened(woocommerce, mariadb_server, GOOD.hpos())
    woocommerce.configure(klar, validate_only=False)
    (woocommerce.folder / ".env").write_text(f"{said}\n", encoding="utf-8")
    loaded(woocommerce)
    assert costs(klar) == GOOD.expected_costs()

    (woocommerce.folder / "config.json").write_text('{"api_token": "x", "validate_only": true}', encoding="utf-8")
    assert "where validate_only is set" in refused(woocommerce)


@pytest.mark.parametrize(
    "config", [None, "{", '{"api_url": "http://127.0.0.1:1"}', '{"api_token": "x", "validate_ony": true}']
)
def test_a_configuration_that_cannot_be_used_is_found_before_anything_is_remembered(
    woocommerce: Followed, mariadb_server: Server, klar: Sandbox, config: str | None
) -> None:
    opened(woocommerce, mariadb_server, GOOD.hpos())
    woocommerce.configure(klar)
    if config is not None:
        (woocommerce.folder / "costs.json").write_text(config, encoding="utf-8")

    for arguments in ("costs.json", "config.json costs.json", "--agreed costs.json"):
        assert "Nothing is sent: " in refused(woocommerce, arguments)

    assert (remembered(mariadb_server), klar.posts()) == ([set(), set()], [])


def test_refunds_and_costs_go_to_two_data_sources(woocommerce: Followed, mariadb_server: Server, klar: Sandbox) -> None:
    opened(woocommerce, mariadb_server, GOOD.hpos())
    woocommerce.configure(klar)
    (woocommerce.folder / "config.json").rename(woocommerce.folder / "refunds.json")
    with Sandbox() as other:
        woocommerce.configure(other)
        (woocommerce.folder / "config.json").rename(woocommerce.folder / "costs.json")
        (said,) = re.findall(r"`bash load.sh (refunds.*?)`", (DOCUMENTS / "woocommerce.md").read_text(encoding="utf-8"))

        loaded(woocommerce, said)

        assert (lines(klar), costs(klar)) == (GOOD.expected_refunds(), {})
        assert (lines(other), costs(other)) == ({}, GOOD.expected_costs())


def test_a_fee_that_needs_no_rate_keeps_its_decimals_and_a_converted_one_has_four(
    woocommerce: Followed, mariadb_server: Server, klar: Sandbox
) -> None:
    fees = {"701": ("EUR", "0.12345678"), "702": ("EUR", "2.5500000000000003"), "703": ("USD", "0.123456")}
    sold = Shop(
        tuple(
            Order(
                int(key), meta={"_stripe_fee": fee, "_stripe_currency": currency, "_wcpay_transaction_fee": "0.00005"}
            )
            for key, (currency, fee) in fees.items()
        ),
        (),
    )
    opened(woocommerce, mariadb_server, sold.hpos())
    told(woocommerce)
    woocommerce.configure(klar)

    loaded(woocommerce)

    assert costs(klar) == {"701": Decimal("0.12350678"), "702": Decimal("2.55005"), "703": Decimal("0.10775")}
    assert overview(woocommerce)["sent: costs", "EUR"] == (3, sum(costs(klar).values()))


def test_a_problem_that_is_known_is_not_printed_until_it_is_another_one(
    woocommerce: Followed, mariadb_server: Server, klar: Sandbox
) -> None:
    bad = Shop(
        (*GOOD.orders, Order(109, meta={"_stripe_fee": "1,10", "_stripe_currency": "EUR"})),
        (
            *GOOD.refunds,
            Refund(301, 101, "2026-05-09 06:00:00", ((3011, "-2", None),)),
            Refund(302, 101, "2026-05-09 06:00:00", ((3021, "-2", 1011),), "draft"),
        ),
    )
    opened(woocommerce, mariadb_server, bad.hpos())
    woocommerce.configure(klar)
    listed = done(woocommerce, woocommerce.command("JOIN fees")).splitlines()
    rows = [[cell.strip() for cell in row.split("|")[2:-1]] for row in listed]
    assert ["301", "101", "3011", "NULL", "2"] in rows
    assert ["302", "101", "3021", "1011", "2"] in rows
    assert ["109", "_stripe_fee", "1,10", "EUR", "EUR"] in rows

    known = woocommerce.command("INTO known_problems")
    for _ in range(2):
        done(woocommerce, known)
        said = [line for line in woocommerce.run("bash load.sh").err.splitlines() if "not sent" in line]
        assert said == [
            "Refund 302 of order 101 is not sent: its status is draft",
            "The fees of 1 order(s) in EUR, such as 109, are not sent: _stripe_fee that is not an amount",
        ]
    done(woocommerce, known.replace("301", "302, 109"))
    loaded(woocommerce)
    assert (lines(klar), costs(klar)) == (GOOD.expected_refunds(), GOOD.expected_costs())
    shown = overview(woocommerce)
    assert shown["not sent: known problems, refund", "EUR"] == (2, None)
    assert shown["not sent: known problems, fees", "EUR"] == (1, None)

    mariadb_server.execute(HPOS.change(109, "_stripe_fee", "-1"))
    assert refused(woocommerce).endswith("such as 109, are not sent: costs below zero")
    mariadb_server.execute(HPOS.change(109, "_stripe_fee", "1.10"))
    loaded(woocommerce)
    assert costs(klar) == GOOD.expected_costs() | {"109": Decimal("1.1")}


def test_two_nights_are_rehearsed_compared_and_forgotten_before_the_first_real_load(
    woocommerce: Followed, mariadb_server: Server, klar: Sandbox
) -> None:
    opened(woocommerce, mariadb_server, GOOD.hpos())
    woocommerce.configure(klar)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    serve = woocommerce.command("--port 8010").strip().replace("8010", port)
    night = woocommerce.command("first.jsonl").replace("8010", port)
    forget = woocommerce.command("DELETE FROM sent_refunds; ")
    gone = HPOS.delete(202) + HPOS.remove(101, "_stripe_fee") + HPOS.remove(101, "Stripe Fee")
    (woocommerce.folder / "gone.sql").write_text(gone, encoding="utf-8")

    ended = woocommerce.run(
        f"{serve} > klar.log 2>&1 &\ntrap 'kill %1' EXIT\n"
        f"until curl -sf http://127.0.0.1:{port}/sandbox/export; do sleep 0.1; done\n{night}"
        f"bash load.sh\nmariadb --defaults-file=owner.cnf < gone.sql\n{night.replace('first.jsonl', 'second.jsonl')}"
    )

    assert (ended.code, ended.err.count("Nothing is sent: ")) == (0, 1), ended.err
    assert ended.out.splitlines() == [
        "equal: 2 refunds, 3.25 pieces; 2 orders, costs 3.90000000",
        "equal: 2 refunds, 3 pieces; 2 orders, costs 2.55000000",
    ]
    changed = woocommerce.run("diff first.jsonl second.jsonl").out
    assert [line[:1] for line in changed.splitlines()].count(">") == 2
    assert klar.posts() == []
    assert remembered(mariadb_server) == [{"201", "202"}, {"101", "102"}]

    done(woocommerce, forget)
    loaded(woocommerce)
    assert ({*lines(klar)}, costs(klar)) == ({"201"}, {"102": Decimal("2.55")})


def test_a_reader_on_another_machine_than_the_server(
    woocommerce: Followed, mariadb_server: Server, klar: Sandbox
) -> None:
    mariadb_server.execute("DROP USER IF EXISTS klar@'%';")
    (woocommerce.folder / "reader.cnf").write_text(
        f"[client]\nuser = klar\npassword = a-password-of-yours\nhost = 127.0.0.1\nport = {mariadb_server.port}\n",
        encoding="utf-8",
    )
    done(woocommerce, woocommerce.command("klar@'%'"))
    opened(woocommerce, mariadb_server, GOOD.hpos())
    woocommerce.configure(klar)

    loaded(woocommerce)

    assert costs(klar) == GOOD.expected_costs()
    mariadb_server.execute("DROP USER klar@'%';")


def test_what_is_purged_is_kept_at_klar_where_it_is_forgotten_here(
    woocommerce: Followed, mariadb_server: Server, klar: Sandbox
) -> None:
    opened(woocommerce, mariadb_server, POSTS.write(GOOD), POSTS.views)
    woocommerce.configure(klar)
    loaded(woocommerce)

    mariadb_server.execute(POSTS.delete(101))
    done(woocommerce, woocommerce.command("NOT IN (SELECT id FROM refund_states)"))
    loaded(woocommerce)

    assert (lines(klar), costs(klar)) == (GOOD.expected_refunds(), GOOD.expected_costs())
    assert remembered(mariadb_server) == [{"202"}, {"102"}]
