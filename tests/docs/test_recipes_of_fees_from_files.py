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
from exports import change, not_sent
from followed import DOCUMENTS, Followed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from program import Ended

    from target_klar.sandbox import Sandbox

pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[1] / "data" / "fees"
RATE = Decimal("1.0825")
LOAD = '-f load.sql -c "FROM sending" | target-klar --stream transaction_costs --config config.json'
HEADINGS = "Buchungsdatum;Bestellnummer;Vorgang;Gebühr;Währung;Transaktionscode"
AGREED = "SET VARIABLE agreed"
COMPARE = '"FROM costs" | target-klar'


@pytest.fixture
def fees(tmp_path: Path) -> Followed:
    """A folder with the recipes' files and with exports of three months."""
    for provider in ("paypal", "stripe"):
        shutil.copytree(DATA / provider, tmp_path / provider)
    followed = Followed(tmp_path, "fees-from-files.md", "compare.md")
    (rate,) = re.findall(r"`(INSERT INTO rates .*?;)`", (DOCUMENTS / "fees-from-files.md").read_text())
    add_rate(followed, rate)
    return followed


@pytest.fixture
def any_provider(tmp_path: Path) -> Followed:
    """The same with a provider that is neither PayPal nor Stripe, and two months of its files, one of them twice."""
    shutil.copytree(DATA / "provider", tmp_path / "provider")
    followed = Followed(tmp_path, "fees-from-files.md", "compare.md")
    change(tmp_path / "fees.sql", ".read paypal.sql\n.read stripe.sql\n", ".read provider.sql\n")
    add_rate(followed, "INSERT INTO rates VALUES ('2026-08', 'chf', 'eur', 1.05), ('2026-09', 'chf', 'eur', 1.1);")
    return followed


def add_rate(followed: Followed, rate: str) -> None:
    first = ".read reading.sql\n"
    change(followed.folder / "fees.sql", first, f"{first}{rate}\n")


def rows(folder: Path, *, commas: bool = False) -> Iterator[tuple[dict[str, str], Callable[[str], Decimal]]]:
    """Yield each row of a folder's exports, with what reads its amounts."""
    for path in folder.iterdir():
        text = path.read_text(encoding="utf-8-sig")
        has_commas = commas or "decimal_commas" in path.name or "german" in path.name
        for row in csv.DictReader(text.splitlines(), delimiter=";" if ";" in text.splitlines()[0] else ","):
            yield row, _with_comma if has_commas else _with_point


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


def amounts(ended: Ended, *names: str) -> dict[tuple[str, str, str], tuple[str, ...]]:
    """Return amounts of the list that a run prints, by provider, type and reason."""
    return {key: tuple(row[name] for name in names) for key, row in not_sent(ended).items()}


def held(klar: Sandbox) -> dict[str, Decimal]:
    return {key: Decimal(cost["transactionCosts"]) for key, cost in klar.transaction_costs.items()}


def test_the_fees_of_three_months_and_two_providers_arrive_to_the_last_digit(fees: Followed, klar: Sandbox) -> None:
    fees.configure(klar)
    ended = fees.run(fees.command(LOAD))

    assert (ended.code, ended.out, ended.said("WARNING")) == (0, "", []), ended.err
    assert held(klar) == sums(fees.folder)
    assert held(klar) == {
        "1001": Decimal("16.30"),  # may and june, and in july a chargeback that names the payment alone
        "1002": Decimal("5.11"),  # 30.12, of which the refund gave 25.01 back
        "1003": Decimal("1.84"),  # in dollars, as the order
        "1004": Decimal("1234567890123.45"),
        "1005": Decimal(0),
        "2001": Decimal("15.55"),  # a charge that two files have, and a dispute that names no order
        "2002": Decimal("1.8835"),  # (1.81 and -0.07 euros) * 1.0825, each rounded to four decimals
    }
    assert amounts(ended, "gross", "fee", "cost") == {
        ("PayPal", "General Withdrawal", "no order"): ("-500.0000", "0.2500", "0.2500"),
        ("PayPal", "without effect on the balance", "no cost"): ("19.9000", "0.9900", "0.0000"),
        ("Stripe", "fee", "no order"): ("-2.0000", "0.0000", "2.0000"),
    }


def test_exports_of_a_german_account_arrive_with_their_headings(fees: Followed, klar: Sandbox) -> None:
    fees.configure(klar)
    for provider in ("paypal", "stripe"):
        shutil.rmtree(fees.folder / provider)
    shutil.copytree(DATA / "paypal_german", fees.folder / "paypal-german")
    change(fees.folder / "fees.sql", ".read paypal.sql\n.read stripe.sql", ".read paypal-german.sql")

    ended = fees.run(fees.command(LOAD))

    assert ended.code == 0, ended.err
    expected: dict[str, Decimal] = defaultdict(Decimal)
    exported = {
        row["Transaktionscode"]: (row, number(row["Gebühr"])) for row, number in rows(fees.folder / "paypal-german")
    }
    for row, fee in exported.values():
        first = exported.get(row["Zugehöriger Transaktionscode"], (row, fee))[0]
        expected[first["Rechnungsnummer"]] -= fee if row["Auswirkung auf Guthaben"] != "Memo" else 0
    assert held(klar) == expected == {"3001": Decimal("0.07"), "3002": Decimal("0.20")}


@pytest.mark.parametrize(
    ("file", "old", "new", "why"),
    [
        ("paypal/july", '"-16.00","-16.00"', '"-1.600","-1.600"', "csv: Fee can be read in two ways: -1.600"),
        (
            "paypal/july",
            '"-16.00","-16.00"',
            '"-16.00001","-16.00"',
            "csv: Fee is not an amount of up to four decimals: -16.00001",
        ),
        (
            "paypal/july",
            '"-16.00","-16.00"',
            '"","-16.00"',
            "csv: Fee is not an amount of up to four decimals: an empty cell",
        ),
        ("paypal/july", '"-16.00","-16.00"', '"16.00","-16.00"', "gross and fee do not make the net amount"),
        (
            "paypal/july",
            '"Debit"',
            '"Soll"',
            'PayPal: not in types: "Balance Impact Soll" (1 bookings, gross 0.0000, fee 16.0000)',
        ),
        (
            "paypal/july",
            '"3AB00001"',
            '""',
            "PayPal: a row without an id in paypal/july_late_fee_for_an_order_of_may.csv",
        ),
        (
            "paypal/july",
            '"1AB00001",""',
            '"1AB00001","1003"',
            "Order 1003 (PayPal 3AB00001 in eur, PayPal 1AB00003 in usd): paid in two currencies; look at ",
        ),
        (
            "paypal/july",
            '"Fee"',
            '"Charge"',
            "csv: Fee is not an amount of up to four decimals: no such column; other headings: the wrong folder?",
        ),
        (
            "paypal/july",
            '"Invoice Number"',
            '"Order"',
            "PayPal 3AB00001: paypal/july_late_fee_for_an_order_of_may.csv lacks a column",
        ),
        (
            "stripe/may",
            "2026-05-06",
            "2026-06-06",
            "1 problem(s): Stripe txn_3: no rate from eur to usd in 2026-06, the first on 2026-06-06",
        ),
        (
            "stripe/may",
            '"usd"',
            '"gbp"',
            "Stripe txn_2 and 1 more: no rate from eur to gbp in 2026-05, the first on 2026-05-05",
        ),
    ],
)
def test_fees_that_can_be_read_in_two_ways_or_do_not_add_up_give_no_row(
    fees: Followed, file: str, old: str, new: str, why: str
) -> None:
    (path,) = fees.folder.glob(f"{file}*")
    change(path, old, new)

    ended = fees.run(fees.command("ORDER BY order_id"))

    assert (ended.code, ended.out) == (1, "")
    assert why in ended.err


def test_a_file_that_is_cut_off_stops_the_run_and_is_named(fees: Followed) -> None:
    (path,) = fees.folder.glob("paypal/june*")
    path.write_bytes(path.read_bytes()[:-40])

    assert fees.run(fees.command("ORDER BY order_id")).code == 1
    assert fees.run(fees.command('echo "$file"')).out == f"{path.relative_to(fees.folder)}\n"


def test_a_run_that_is_stopped_by_one_row_sends_nothing_and_fails(fees: Followed, klar: Sandbox) -> None:
    fees.configure(klar)
    (path,) = fees.folder.glob("paypal/july*")
    change(path, '"EUR"', '"CHF"')

    ended = fees.run(fees.command(LOAD))

    assert ended.code == 1
    assert "1 problem(s): PayPal 3AB00001: no rate from chf to eur in 2026-07, the first on 2026-07-01" in ended.err
    assert klar.posts() == []


@pytest.mark.parametrize("provider", ["paypal", "stripe"])
def test_with_one_provider_alone_a_file_that_is_there_twice_counts_once(
    fees: Followed, klar: Sandbox, provider: str
) -> None:
    fees.configure(klar)
    (left_out,) = {"paypal", "stripe"} - {provider}
    shutil.rmtree(fees.folder / left_out)
    change(fees.folder / "fees.sql", f".read {left_out}.sql\n", "")
    (fees.folder / left_out).mkdir()
    expected = sums(fees.folder)
    for path in list((fees.folder / provider).iterdir()):
        shutil.copy(path, path.with_name(f"twice {path.name}"))

    ended = fees.run(fees.command(LOAD))

    assert ended.code == 0, ended.err
    assert held(klar) == expected


def test_fees_of_any_provider_arrive_with_its_totals_credits_and_currencies(
    any_provider: Followed, klar: Sandbox
) -> None:
    any_provider.configure(klar)
    ended = any_provider.run(any_provider.command(LOAD))

    assert (ended.code, ended.out, ended.said("WARNING")) == (0, "", []), ended.err
    read = {
        row["Transaktionscode"]: (row, number) for row, number in rows(any_provider.folder / "provider", commas=True)
    }
    francs = {"08": Decimal("1.05"), "09": Decimal("1.1")}
    expected: dict[str, Decimal] = defaultdict(Decimal)
    for row, number in read.values():
        if row["Bestellnummer"]:
            rate = francs[row["Buchungsdatum"][3:5]] if row["Währung"] == "CHF" else 1
            expected[row["Bestellnummer"]] -= number(row["Gebühr"]) * rate
    assert held(klar) == expected
    assert held(klar) == {"6001": Decimal("-2.25"), "6002": Decimal("1249.56"), "6003": Decimal("5.4")}
    assert amounts(ended, "fee", "cost") == {
        ("Provider", "Auszahlung", "no cost"): ("40.1500", "0.0000"),
        ("Provider", "Monatsgebühr", "no order"): ("5.0000", "5.0000"),
    }


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("-15,00;EUR;T8", "-15,01;EUR;T8", "gebuehren_2026-09.csv: the rows do not make the total, a fee of 18.0000"),
        ("Summe;;;-18,00;EUR;\n", "", "gebuehren_2026-09.csv: no total, or several"),
        ("01.09.2026", "01.10.2026", "Provider T7: no rate from chf to eur in 2026-10, the first on 2026-10-01"),
        (
            "01.09.2026",
            "01-09-2026",
            "1 problem(s): Provider T7: no day such as 31.05.2026: 01-09-2026, in provider/gebuehren_2026-09.csv",
        ),
        ("Vorgang", "Art", "2 problem(s): Provider T7 and 1 more: provider/gebuehren_2026-09.csv lacks a column\n"),
        ("EUR;T8", "CHF;T7", "Provider T7: twice in provider/gebuehren_2026-09.csv"),
    ],
)
def test_a_file_of_any_provider_that_does_not_add_up_gives_no_row(
    any_provider: Followed, old: str, new: str, why: str
) -> None:
    change(any_provider.folder / "provider" / "gebuehren_2026-09.csv", old, new)

    ended = any_provider.run(any_provider.command("ORDER BY order_id"))

    assert (ended.code, ended.out) == (1, "")
    assert why in ended.err


def test_fees_of_paypal_are_converted_by_month_where_all_orders_are_in_one_currency(
    fees: Followed, klar: Sandbox
) -> None:
    fees.configure(klar)
    change(fees.folder / "fees.sql", ".read stripe.sql\n", "")
    change(fees.folder / "paypal.sql", 'lower("Currency") AS order_currency,', "'eur' AS order_currency,")
    for path in [*fees.folder.glob("paypal/june*"), *fees.folder.glob("paypal/july*")]:
        path.unlink()
    assert (
        "1 problem(s): PayPal 1AB00003: no rate from usd to eur in 2026-05, the first on 2026-05-05"
        in fees.run(fees.command(LOAD)).err
    )
    add_rate(fees, "INSERT INTO rates VALUES ('2026-05', 'usd', 'eur', 0.925);")

    ended = fees.run(fees.command(LOAD))

    assert ended.code == 0, ended.err
    assert held(klar)["1003"] == Decimal("1.702")


def test_two_files_that_differ_are_named_once_however_many_rows_it_is(fees: Followed) -> None:
    head, *lines = (fees.folder / "stripe" / "may_in_two_currencies.csv").read_text().splitlines()
    many = [lines[0].replace("txn_1", f"txn_9{number:03}").replace("ch_1", f"ch_9{number:03}") for number in range(370)]
    for name, order in (("old", '"2001"'), ("new", '"2003"')):
        (fees.folder / "stripe" / f"{name}.csv").write_text("\n".join([head, *many]).replace('"2001"', order))

    ended = fees.run(fees.command("ORDER BY order_id"))

    assert (ended.code, ended.out) == (1, "")
    assert ended.err.strip() == (
        "Invalid Input Error: 370 problem(s): Stripe txn_9000 and 369 more: "
        "not the same in stripe/new.csv and stripe/old.csv; remove the older file "
        "(a pending payment is complete in the newer one), or take more columns as the id"
    )


def test_of_many_problems_in_fees_five_are_shown_and_all_are_counted(any_provider: Followed) -> None:
    for day in range(1, 8):
        line = f"0{day}.09.2026;6001;Zahlung;-1,00;GBP;G{day}\n"
        (any_provider.folder / "provider" / f"{day}.csv").write_text(f"{HEADINGS}\n{line}Summe;;;-1,0{day};GBP;\n")

    ended = any_provider.run(any_provider.command("ORDER BY order_id"))

    assert (ended.code, ended.out) == (1, "")
    why = "no rate from gbp to eur in 2026-09, the first on 2026-09-01"
    assert f"14 problem(s): Provider G1 and 6 more: {why}; provider/1.csv: " in ended.err
    assert ended.err.count("; ") == 4


def test_a_booking_that_moves_or_is_deleted_is_taken_back_from_its_order(any_provider: Followed, klar: Sandbox) -> None:
    any_provider.configure(klar)
    assert any_provider.run(any_provider.command(LOAD)).code == 0
    for path in any_provider.folder.glob("provider/*08*"):
        change(path, "6002;Zahlung", "6009;Zahlung")
        change(path, "05.08.2026;6003;Zahlung;-2,00;CHF;T3\n", "")
        change(path, "-1277.46", "-1277,46")
    september = any_provider.folder / "provider" / "gebuehren_2026-09.csv"
    change(september, "01.09.2026;6003;Zahlung;-3,00;CHF;T7\n", "")
    change(september, "-18,00", "-15,00")

    ended = any_provider.run(any_provider.command(LOAD))

    assert ended.code == 0, ended.err
    second = {"6001": Decimal("-2.25"), "6002": Decimal(15), "6003": Decimal(0), "6009": Decimal("1234.56")}
    assert held(klar) == second
    assert any_provider.run(any_provider.command(LOAD)).code == 0
    assert held(klar) == second


def test_what_a_load_sent_that_failed_in_its_middle_is_taken_back_the_next_night(
    any_provider: Followed, klar: Sandbox
) -> None:
    any_provider.configure(klar, batch_size_rows=1)
    klar.refuse = lambda sent: sent["orderId"] == "6003"
    assert any_provider.run(any_provider.command(LOAD)).code == 1
    (stored, *_) = held(klar)
    for path in any_provider.folder.glob("provider/*"):
        path.write_text(path.read_text(encoding="utf-8").replace(f"{stored};", "6009;"), encoding="utf-8")
    klar.refuse = lambda _: False

    assert any_provider.run(any_provider.command(LOAD)).code == 0
    assert held(klar)[stored] == 0


def test_what_a_load_could_not_take_back_is_taken_back_the_next_night(any_provider: Followed, klar: Sandbox) -> None:
    any_provider.configure(klar)
    assert any_provider.run(any_provider.command(LOAD)).code == 0
    for path in any_provider.folder.glob("provider/*08*"):
        change(path, "6001;", "6009;")
    any_provider.configure(klar, api_token="wrong")
    assert any_provider.run(any_provider.command(LOAD)).code == 1
    assert held(klar)["6001"] != 0

    any_provider.configure(klar)
    assert any_provider.run(any_provider.command(LOAD)).code == 0
    assert held(klar)["6001"] == 0


def test_a_folder_that_lost_a_file_sends_nothing_until_it_is_agreed(any_provider: Followed, klar: Sandbox) -> None:
    any_provider.configure(klar)
    assert any_provider.run(any_provider.command(LOAD)).code == 0
    before = held(klar)
    (any_provider.folder / "provider" / "gebuehren_2026-08 (1).csv").unlink()
    (any_provider.folder / "provider" / "gebuehren_2026-08.csv").rename(any_provider.folder / "provider" / "august.csv")
    assert any_provider.run(any_provider.command(LOAD)).code == 0
    (any_provider.folder / "provider" / "gebuehren_2026-09.csv").unlink()

    ended = any_provider.run(any_provider.command(LOAD))

    assert ended.code == 1
    assert "Nothing is sent: provider/gebuehren_2026-09.csv is missing, with 2 booking(s)" in ended.err
    assert held(klar) == before
    assert any_provider.run(any_provider.command(AGREED)).code == 0
    assert held(klar) == {"6001": Decimal("-2.25"), "6002": Decimal("1234.56"), "6003": Decimal("2.1")}
    assert any_provider.run(any_provider.command(LOAD)).code == 0


@pytest.mark.parametrize(("bookings", "code"), [(5, 0), (6, 1)])
def test_a_file_that_lost_more_than_five_of_its_bookings_stops_the_load(
    any_provider: Followed, klar: Sandbox, bookings: int, code: int
) -> None:
    any_provider.configure(klar)
    september = any_provider.folder / "provider" / "gebuehren_2026-09.csv"
    before = september.read_text(encoding="utf-8")
    many = "".join(f"03.09.2026;6001;Zahlung;-1,00;EUR;M{number}\n" for number in range(bookings))
    change(september, "Summe;;;-18,00", f"{many}Summe;;;-{18 + bookings},00")
    assert any_provider.run(any_provider.command(LOAD)).code == 0
    september.write_text(before, encoding="utf-8")

    ended = any_provider.run(any_provider.command(LOAD))

    assert ended.code == code, ended.err
    assert ("provider/gebuehren_2026-09.csv has lost 6 booking(s)" in ended.err) is bool(code)


@pytest.mark.parametrize(("orders", "code"), [(5, 0), (6, 1)])
def test_more_than_five_orders_that_vanish_stop_the_load(
    any_provider: Followed, klar: Sandbox, orders: int, code: int
) -> None:
    any_provider.configure(klar)
    september = any_provider.folder / "provider" / "gebuehren_2026-09.csv"
    many = "".join(f"03.09.2026;7{number};Zahlung;-1,00;EUR;M{number}\n" for number in range(orders))
    change(september, "Summe;;;-18,00", f"{many}Summe;;;-{18 + orders},00")
    assert any_provider.run(any_provider.command(LOAD)).code == 0
    change(september, ";7", ";8")

    ended = any_provider.run(any_provider.command(LOAD))

    assert ended.code == code, ended.err
    assert ("6 orders have no fee any more, such as 70" in ended.err) is bool(code)
    assert held(klar)["70"] == code


def test_the_comparison_says_that_both_are_equal_or_each_difference_and_fails(fees: Followed) -> None:
    total = f"{sum(sums(fees.folder).values()):.4f}"
    assert "prints `equal: 900 orders, 4093.4226`" in (DOCUMENTS / "compare.md").read_text()
    ended = fees.run(fees.command(COMPARE))
    assert ended.code == 0, ended.err
    assert ended.out.endswith(f"\nequal: 7 orders, {total}\n")

    exported = (fees.folder / "held.jsonl").read_text()
    changed = exported.replace("1234567890123.45", "1234567890123.46").replace('"2001"', '"2009"')
    (fees.folder / "held.jsonl").write_text(changed)
    (compare,) = (line for line in fees.command(COMPARE).splitlines() if "compare.sql" in line)
    different = fees.run(compare)
    assert different.code == 1
    assert "not equal: 4 difference(s)" in different.err
    assert different.out.splitlines() == [
        "only at the local Klar|1004|1234567890123.4600",
        "only at the local Klar|2009|15.5500",
        "only in the source|1004|1234567890123.4500",
        "only in the source|2001|15.5500",
    ]


def test_the_comparison_fails_where_nothing_arrived(fees: Followed) -> None:
    ended = fees.run(fees.command(COMPARE).replace("--config=ENV", "--config=missing.json"))

    assert ended.code == 1
    assert "not equal: 7 difference(s)" in ended.err
    assert "equal: 7 orders" not in ended.out


def test_a_second_night_is_equal_with_what_was_sent_and_shows_a_stale_order_without(
    any_provider: Followed, klar: Sandbox
) -> None:
    night = any_provider.command("/sandbox/export")
    for of_the_document, here in (("http://127.0.0.1:8123", klar.url), ("_TOKEN=local", f"_TOKEN={klar.token}")):
        assert of_the_document in night
        night = night.replace(of_the_document, here)
    assert any_provider.run(night).out == "equal: 3 orders, 1252.7100\n"

    for path in any_provider.folder.glob("provider/*08*"):
        change(path, "6001;", "6009;")
    ended = any_provider.run(night)
    assert (ended.code, ended.out) == (0, "equal: 3 orders, 1252.7100\n"), ended.err

    (any_provider.folder / "sent.db").unlink()
    for path in any_provider.folder.glob("provider/*08*"):
        change(path, "6009;", "6010;")
    ended = any_provider.run(night)
    assert (ended.code, ended.out) == (1, "only at the local Klar|6009|-2.2500\n")
