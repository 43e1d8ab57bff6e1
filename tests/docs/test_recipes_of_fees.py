"""docs/recipes/fees-from-files.md and compare.md: each cost against a sum of Python's over the same files."""

from __future__ import annotations

import csv
import re
import shutil
from collections import defaultdict
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from followed import DOCUMENTS, Followed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from target_klar.sandbox import Sandbox

DATA = Path(__file__).parents[1] / "data" / "fees"
RATE = Decimal("1.0825")
LOAD = "target-klar --stream transaction_costs --config config.json"


@pytest.fixture
def shop(tmp_path: Path) -> Followed:
    """A folder with the recipes' files and with exports of three months."""
    for provider in ("paypal", "stripe"):
        shutil.copytree(DATA / provider, tmp_path / provider)
    followed = Followed(tmp_path, "fees-from-files.md", "compare.md")
    (rate,) = re.findall(r"`(INSERT INTO rates .*?;)`", (DOCUMENTS / "fees-from-files.md").read_text())
    change(tmp_path / "fees.sql", "rate DECIMAL(12, 8));", f"rate DECIMAL(12, 8));\n{rate}")
    return followed


def change(path: Path, old: str, new: str) -> None:
    """Replace a text in a file; it has to be there once at least."""
    before = path.read_text(encoding="utf-8")
    assert old in before
    path.write_text(before.replace(old, new), encoding="utf-8")


def rows(folder: Path) -> Iterator[tuple[dict[str, str], Callable[[str], Decimal]]]:
    """Yield each row of a folder's exports, with what reads its amounts."""
    for path in folder.iterdir():
        text = path.read_text(encoding="utf-8-sig")
        commas = "decimal_commas" in path.name or "german" in path.name
        for row in csv.DictReader(text.splitlines(), delimiter=";" if ";" in text.splitlines()[0] else ","):
            yield row, _with_comma if commas else _with_point


def _with_comma(text: str) -> Decimal:
    return Decimal(text.replace(".", "").replace(",", "."))


def _with_point(text: str) -> Decimal:
    return Decimal(text.replace(",", ""))


def sums(folder: Path) -> dict[str, Decimal]:
    """Add up the fees of each order, in another way than the recipe does: one dictionary for each provider."""
    total: dict[str, Decimal] = defaultdict(Decimal)
    paypal = {row["Transaction ID"]: (row, number(row["Fee"])) for row, number in rows(folder / "paypal")}
    for row, fee in paypal.values():
        if row["Balance Impact"] != "Memo":
            first = paypal.get(row["Reference Txn ID"], (row, fee))[0]
            total[row["Invoice Number"] or first["Invoice Number"]] -= fee
    stripe = {row["balance_transaction_id"]: (row, number(row["fee"])) for row, number in rows(folder / "stripe")}
    charges = {row["source_id"]: row for row, _ in stripe.values() if row["reporting_category"] == "charge"}
    for row, fee in stripe.values():
        charge = charges.get(row["charge_id"], row)
        foreign = charge["customer_facing_currency"] not in ("", charge["currency"])
        converted = (fee * RATE).quantize(Decimal("0.0001"), ROUND_HALF_UP) if foreign else fee
        total[charge["payment_metadata[order_id]"]] += converted
    del total[""]
    return dict(total)


def held(klar: Sandbox) -> dict[str, Decimal]:
    return {key: Decimal(cost["transactionCosts"]) for key, cost in klar.transaction_costs.items()}


def test_the_fees_of_three_months_and_two_providers_arrive_to_the_last_digit(shop: Followed, klar: Sandbox) -> None:
    shop.configure(klar)
    ended = shop.run(shop.command(LOAD))

    assert (ended.code, ended.out, ended.said("WARNING")) == (0, "", []), ended.err
    assert held(klar) == sums(shop.folder)
    assert held(klar) == {
        "1001": Decimal("16.30"),  # may and june, and in july a chargeback that names the payment alone
        "1002": Decimal("5.11"),  # 30.12, of which the refund gave 25.01 back
        "1003": Decimal("1.84"),  # in dollars, as the order
        "1004": Decimal("1234567890123.45"),
        "1005": Decimal(0),
        "2001": Decimal("15.55"),  # a charge that two files have, and a dispute that names no order
        "2002": Decimal("1.8835"),  # (1.81 and -0.07 euros) * 1.0825, each rounded to four decimals
    }
    without_order = shop.run(shop.command("order_id IS NULL"))
    assert "1AB00006" in without_order.out
    assert "txn_4" not in without_order.out


def test_exports_of_a_german_account_arrive_with_their_headings(shop: Followed, klar: Sandbox) -> None:
    shop.configure(klar)
    for provider in ("paypal", "stripe"):
        shutil.rmtree(shop.folder / provider)
    shutil.copytree(DATA / "paypal_german", shop.folder / "paypal")
    text = (shop.folder / "fees.sql").read_text()
    views = text.index("CREATE VIEW paypal"), text.index("CREATE TABLE exported")
    german = (shop.folder / "paypal-german.sql").read_text()
    text = text[: views[0]] + german + text[views[1] :].replace("\nUNION\nFROM stripe;", ";", 1)
    (shop.folder / "fees.sql").write_text(text)

    ended = shop.run(shop.command(LOAD))

    assert ended.code == 0, ended.err
    expected: dict[str, Decimal] = defaultdict(Decimal)
    exported = {row["Transaktionscode"]: (row, number(row["Gebühr"])) for row, number in rows(shop.folder / "paypal")}
    for row, fee in exported.values():
        first = exported.get(row["Zugehöriger Transaktionscode"], (row, fee))[0]
        expected[first["Rechnungsnummer"]] -= fee if row["Auswirkung auf Guthaben"] != "Memo" else 0
    assert held(klar) == expected == {"3001": Decimal("0.07"), "3002": Decimal("0.20")}


@pytest.mark.parametrize(
    ("file", "old", "new", "why"),
    [
        ("paypal/july", '"-16.00","-16.00"', '"-1.600","-1.600"', "Can be read in two ways: -1.600"),
        ("paypal/july", '"-16.00","-16.00"', '"-16.00001","-16.00"', "Not an amount of up to four decimals: -16.00001"),
        ("paypal/july", '"-16.00","-16.00"', '"","-16.00"', "Not an amount of up to four decimals: an empty cell"),
        ("paypal/july", '"-16.00","-16.00"', '"16.00","-16.00"', "gross and fee do not make the net amount"),
        ("paypal/july", '"Debit"', '"Soll"', "PayPal 3AB00001: the balance impact is not known"),
        ("paypal/july", '"3AB00001"', '""', "PayPal: 1 row(s) without an id"),
        ("paypal/july", '"3AB00001"', '"1AB00003"', "PayPal 1AB00003: two rows that differ; remove the older file"),
        ("paypal/july", '"1AB00001",""', '"1AB00001","1003"', "Order 1003: paid in two currencies"),
        ("paypal/july", "-16.00", "16.00", "Order 1001: its costs are below zero; add the month of its payment"),
        ("paypal/july", '"Fee"', '"Charge"', "Not an amount of up to four decimals: an empty cell, or no such column"),
        ("paypal/july", '"Invoice Number"', '"Order"', "PayPal 3AB00001: its file lacks a column"),
        ("stripe/may", '"usd"', '"gbp"', "Stripe txn_2: no rate from eur to gbp"),
    ],
)
def test_what_can_be_read_in_two_ways_or_does_not_add_up_gives_no_row(
    shop: Followed, file: str, old: str, new: str, why: str
) -> None:
    (path,) = shop.folder.glob(f"{file}*")
    change(path, old, new)

    ended = shop.run(shop.command("ORDER BY order_id"))

    assert (ended.code, ended.out) == (1, "")
    assert why in ended.err


def test_a_file_that_is_cut_off_stops_the_run_and_is_named(shop: Followed) -> None:
    (path,) = shop.folder.glob("paypal/june*")
    path.write_bytes(path.read_bytes()[:-40])

    assert shop.run(shop.command("ORDER BY order_id")).code == 1
    assert shop.run(shop.command('echo "$file"')).out == f"{path.relative_to(shop.folder)}\n"


def test_a_run_that_is_stopped_by_one_row_sends_nothing_and_fails(shop: Followed, klar: Sandbox) -> None:
    shop.configure(klar)
    (path,) = shop.folder.glob("paypal/july*")
    change(path, '"EUR"', '"CHF"')

    ended = shop.run(shop.command(LOAD))

    assert ended.code == 1
    assert "1 problem(s): Order 1001: paid in two currencies" in ended.err
    assert klar.posts() == []


def test_the_comparison_prints_nothing_where_both_are_equal_and_each_difference_otherwise(shop: Followed) -> None:
    ended = shop.run(shop.command("-f compare.sql"))
    _, shown = ended.out.split("At the local Klar:")
    assert ended.code == 0, ended.err
    assert [line for line in shown.splitlines() if line and not line.startswith("  ")] == []

    exported = (shop.folder / "held.jsonl").read_text()
    changed = exported.replace("1234567890123.45", "1234567890123.46").replace('"2001"', '"2009"')
    (shop.folder / "held.jsonl").write_text(changed)
    (compare,) = (line for line in shop.command("-f compare.sql").splitlines() if "compare.sql" in line)
    assert shop.run(compare).out.splitlines() == [
        "only at the local Klar,1004,1234567890123.4600",
        "only at the local Klar,2009,15.5500",
        "only in the source,1004,1234567890123.4500",
        "only in the source,2001,15.5500",
    ]
