"""docs/recipes/fees-from-files.md: each row of an export is in an order's cost or in the list, or the run stops."""

from __future__ import annotations

import csv
import json
import random
import re
from collections import Counter, defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from exports import Row, change, not_sent, write
from followed import DOCUMENTS, Followed
from pipelines import blocks

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from program import Ended

    from target_klar.sandbox import Sandbox

pytestmark = pytest.mark.slow

PAGE = (DOCUMENTS / "fees-from-files.md").read_text(encoding="utf-8")
LOAD = '-f load.sql -c "FROM sending" | target-klar --stream transaction_costs --config config.json'
ORDERS = [f"{number:07}" for number in range(50001, 50041)]
GERMAN = {
    "Date": "Datum",
    "Type": "Typ",
    "Currency": "Währung",
    "Gross": "Brutto",
    "Fee": "Gebühr",
    "Net": "Netto",
    "Transaction ID": "Transaktionscode",
    "Reference Txn ID": "Zugehöriger Transaktionscode",
    "Invoice Number": "Rechnungsnummer",
    "Status": "Status",
    "Completed": "Abgeschlossen",
    "Balance Impact": "Auswirkung auf Guthaben",
    "Credit": "Haben",
    "Debit": "Soll",
    "Memo": "Memo",
    "Express Checkout Payment": "PayPal Express-Zahlung",
    "Mobile Payment": "Handyzahlung",
    "Payment Refund": "Rückzahlung",
    "Chargeback": "Rückbuchung",
    "Chargeback Fee": "Rückbuchungsgebühr",
    "User Initiated Withdrawal": "Von Nutzer eingeleitete Abbuchung",
}


@pytest.fixture
def shop(tmp_path: Path) -> Followed:
    return Followed(tmp_path, "fees-from-files.md", "compare.md")


def reads(shop: Followed, *providers: str) -> None:
    """Keep the `.read` lines of these providers alone."""
    lines = "".join(f".read {provider}.sql\n" for provider in providers)
    change(shop.folder / "fees.sql", ".read paypal.sql\n.read stripe.sql\n", lines)


def add_rates(shop: Followed, sql: str) -> None:
    change(shop.folder / "fees.sql", ".read reading.sql\n", f".read reading.sql\n{sql}\n")


def run(shop: Followed, wanted: str = "FROM costs") -> Ended:
    return shop.run(f'duckdb -jsonlines -f fees.sql -c "{wanted}"')


def costs(ended: Ended) -> dict[str, Decimal]:
    assert ended.code == 0, ended.err
    sent = [json.loads(line) for line in ended.out.splitlines() if line]
    return {row["order_id"]: Decimal(row["transaction_costs"]) for row in sent}


def paypal(id: str, type: str, gross: str, fee: str, **other: str) -> Row:  # noqa: A002
    net = Decimal(gross) + Decimal(fee)
    row = {
        "Date": "13/05/2026",
        "Type": type,
        "Currency": "EUR",
        "Gross": gross,
        "Fee": fee,
        "Net": f"{net:.2f}",
        "Transaction ID": id,
        "Reference Txn ID": "",
        "Invoice Number": "",
        "Status": "Completed",
        "Balance Impact": "Credit" if net >= 0 else "Debit",
    }
    names = {"order": "Invoice Number", "of": "Reference Txn ID", "impact": "Balance Impact"}
    return row | {names.get(name, name.capitalize()): value for name, value in other.items()}


def in_german(row: Row) -> Row:
    german = {GERMAN[name]: GERMAN.get(value, value) for name, value in row.items()}
    day, month, year = row["Date"].split("/")
    commas = {GERMAN[name]: f"{Decimal(row[name]):,.2f}" for name in ("Gross", "Fee", "Net")}
    for name, value in commas.items():
        german[name] = value.replace(",", "_").replace(".", ",").replace("_", ".")
    return german | {"Datum": f"{day}.{month}.{year}"}


def write_paypal(shop: Followed, folder: str, name: str, rows: Iterable[Row]) -> None:
    """Write an export of PayPal's, in the language of its folder."""
    german = folder == "paypal-german"
    write(shop.folder / folder / name, map(in_german, rows) if german else rows, ";" if german else ",")


def stripe(id: str, category: str, gross: str, fee: str, **other: str) -> Row:  # noqa: A002
    row = {
        "balance_transaction_id": id,
        "created_utc": "2026-05-13 10:00:00",
        "created": "2026-05-13 12:00:00",
        "currency": "eur",
        "gross": gross,
        "fee": fee,
        "net": f"{Decimal(gross) - Decimal(fee):.2f}",
        "reporting_category": category,
        "source_id": f"of_{id}",
        "charge_id": "",
        "customer_facing_currency": "eur" if category in ("charge", "refund") else "",
        "payment_metadata[order_id]": "",
    }
    return row | {{"order": "payment_metadata[order_id]"}.get(name, name): value for name, value in other.items()}


def adyen(type: str, reference: str, order: str, net: str, *fees: str) -> Row:  # noqa: A002
    amounts = dict(zip(("Commission (NC)", "Markup (NC)", "Scheme Fees (NC)", "Interchange (NC)"), fees, strict=False))
    return {
        "Psp Reference": reference,
        "Merchant Reference": order,
        "Creation Date": "2026-05-13 10:00:00",
        "Type": type,
        "Modification Reference": "",
        "Net Currency": "EUR",
        "Net Debit (NC)": net.removeprefix("-") if net.startswith("-") else "",
        "Net Credit (NC)": "" if net.startswith("-") else net,
        **{name: amounts.get(name, "") for name in ("Commission (NC)", "Markup (NC)", "Scheme Fees (NC)")},
        "Interchange (NC)": amounts.get("Interchange (NC)", ""),
        "Batch Number": "20",
    }


def provider(id: str, order: str, fee: str, **other: str) -> Row:  # noqa: A002
    row = {"Bestellnummer": order, "Buchungsdatum": "13.05.2026", "Vorgang": "Zahlung", "Gebühr": fee}
    return {**row, "Währung": "EUR", "Transaktionscode": id, **other}


def without_totals(shop: Followed, name: str = "provider") -> None:
    """Delete the line of `is_total`, as the page says for files without one."""
    change(shop.folder / f"{name}.sql", ",\n  \"Buchungsdatum\" = 'Summe' AS is_total", "")


def held(klar: Sandbox) -> dict[str, Decimal]:
    return {key: Decimal(cost["transactionCosts"]) for key, cost in klar.transaction_costs.items()}


def listed(ended: Ended) -> dict[tuple[str, str], str]:
    return {(type_, why): row["example"] for (_, type_, why), row in not_sent(ended).items()}


def test_a_fee_that_is_booked_as_an_amount_of_its_own_costs_its_order(shop: Followed) -> None:
    reads(shop, "paypal", "paypal-german", "stripe", "adyen")
    may = [
        paypal("P1", "Express Checkout Payment", "100.00", "-3.38", order="1"),
        paypal("P2", "Chargeback", "-100.00", "0.00", of="P1"),
        paypal("P3", "Chargeback Fee", "-16.00", "0.00", of="P2"),
        paypal("P4", "Chargeback Fee", "-1016.00", "0.00", order="9"),
        paypal("P5", "Chargeback Fee", "0.00", "-7.00", order="9"),
    ]
    write(shop.folder / "paypal" / "may.csv", may[:3])
    write(shop.folder / "paypal-german" / "may.csv", map(in_german, may[3:]), ";")
    charge = stripe("txn_1", "charge", "100.00", "1.75", order="2")
    write(shop.folder / "stripe" / "may.csv", [charge, stripe("txn_2", "fee", "-12.40", "0.00")])
    paid = adyen("Settled", "8526", "3", "4.88", "", "0.04", "0.01", "0.07")
    write(shop.folder / "adyen" / "may.csv", [paid, adyen("Fee", "", "", "-9.90")])

    ended = run(shop)

    fees = {
        "1": -Decimal(may[0]["Fee"]) - Decimal(may[2]["Net"]),
        "9": -Decimal(may[3]["Net"]) - Decimal(may[4]["Net"]),
        "2": Decimal(charge["fee"]),
        "3": Decimal("0.04") + Decimal("0.01") + Decimal("0.07"),
    }
    assert costs(ended) == fees
    assert {key: (row["gross"], row["fee"], row["cost"]) for key, row in not_sent(ended).items()} == {
        ("Stripe", "fee", "no order"): ("-12.4000", "0.0000", "12.4000"),
        ("Adyen", "Fee", "no order"): ("-9.9000", "0.0000", "9.9000"),
    }


def test_each_row_of_all_exports_is_in_an_orders_cost_or_in_the_list(shop: Followed) -> None:
    reads(shop, "paypal", "paypal-german", "stripe", "adyen")
    chance = random.Random(4711)
    total: dict[str, Decimal] = defaultdict(Decimal)
    number: Counter[str] = Counter()
    for month in range(1, 7):
        rows: dict[str, list[Row]] = {"paypal": [], "paypal-german": [], "stripe": [], "adyen": []}
        for each in range(60):
            name, order = f"{month}X{each}", chance.choice([*ORDERS, "", "#1003", "Gift card"])
            gross, fee = f"{chance.randint(-9999, 999999) / 100:.2f}", f"{chance.randint(-99, 999) / 100:.2f}"
            type_ = chance.choice(["Express Checkout Payment", "Payment Refund", "Chargeback Fee"])
            impact = chance.choice(["Credit", "Debit", "Memo"])
            row = paypal(name, type_, gross, f"{-Decimal(fee):.2f}", order=order, impact=impact)
            row["Date"] = f"{chance.randint(1, 28):02}/{month:02}/2026"
            rows[chance.choice(["paypal", "paypal-german"])].append(row)
            whole = type_ == "Chargeback Fee"
            total["PayPal"] += 0 if impact == "Memo" else -Decimal(row["Net"]) if whole else Decimal(fee)
            category = chance.choice(["charge", "refund", "dispute", "fee", "payout"])
            rows["stripe"].append(stripe(name, category, gross, fee, order=order))
            total["Stripe"] += -Decimal(rows["stripe"][-1]["net"]) if category == "fee" else Decimal(fee)
            kind = chance.choice(["Settled", "Refunded", "Fee"])
            rows["adyen"].append(adyen(kind, name, order, gross, fee, "", "1.2345"))
            total["Adyen"] += -Decimal(gross) if kind == "Fee" else Decimal(fee) + Decimal("1.2345")
            number.update(["PayPal", "Stripe", "Adyen"])
        rows["paypal-german"] = list(map(in_german, rows["paypal-german"]))
        for folder, exported in rows.items():
            write(shop.folder / folder / f"{month}.csv", exported, ";" if "german" in folder else ",")

    change(shop.folder / "stripe.sql", "customer_facing_currency AS", "'eur' AS")
    ended = run(shop)
    sent = run(shop, "SELECT provider, sum(cost) AS cost, count(*) AS bookings FROM fees WHERE is_sent GROUP BY ALL")

    per_provider: dict[str, Decimal] = defaultdict(Decimal)
    bookings: Counter[str] = Counter()
    for row in [*not_sent(ended).values(), *map(json.loads, sent.out.splitlines())]:
        per_provider[row["provider"]] += Decimal(row["cost"])
        bookings[row["provider"]] += int(row["bookings"])
    assert per_provider == total
    assert bookings == number
    unsent = sum(Decimal(row["cost"]) for row in not_sent(ended).values())
    assert sum(costs(ended).values()) + unsent == sum(total.values())
    assert set(costs(ended)) <= set(ORDERS)
    assert {why for _, _, why in not_sent(ended)} == {"no order", "not the id of an order", "no cost"}


def test_a_type_of_which_nothing_is_said_stops_the_run_with_its_amounts(shop: Followed, klar: Sandbox) -> None:
    shop.configure(klar)
    reads(shop, "paypal")
    fees = [paypal(f"P{each}", "Dispute Fee", "-14.00", "0.00", order="1") for each in range(3)]
    paid = paypal("P8", "Express Checkout Payment", "9.00", "-1.00", order="2")
    write(shop.folder / "paypal" / "may.csv", [*fees, paid, paypal("P9", "Bonus", "5.00", "0.00")])

    ended = shop.run(shop.command(LOAD))

    assert ended.code == 1
    why = 'PayPal: not in types: "Bonus" (1 bookings, gross 5.0000, fee 0.0000), '
    assert f'{why}"Dispute Fee" (3 bookings, gross -42.0000, fee 0.0000)\n' in ended.err
    assert klar.posts() == []
    types = "('PayPal', 'Dispute Fee', 'net'),\n  ('PayPal', 'Bonus', 'none'),\n"
    change(
        shop.folder / "paypal.sql", "('PayPal', 'Chargeback', 'fee'),\n", f"('PayPal', 'Chargeback', 'fee'),\n{types}"
    )
    assert costs(run(shop)) == {"1": -sum(Decimal(row["Net"]) for row in fees), "2": Decimal(1)}


@pytest.mark.parametrize(
    "content",
    ["", "Access denied\n", '{"error": "report expired"}', "<html><body>Please log in</body></html>", "heading"],
)
@pytest.mark.parametrize("name", ["december.csv", "2026/12/december.csv"])
def test_a_file_without_rows_stops_the_load_and_is_named(
    shop: Followed, klar: Sandbox, content: str, name: str
) -> None:
    shop.configure(klar)
    reads(shop, "stripe")
    november = shop.folder / "stripe" / "november.csv"
    write(november, [stripe("txn_1", "charge", "100.00", "1.75", order="1")])
    heading = november.read_text(encoding="utf-8").splitlines()[0]
    path = shop.folder / "stripe" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content.replace("heading", heading), encoding="utf-8")

    ended = shop.run(shop.command(LOAD))

    assert ended.code == 1
    assert f"1 problem(s): stripe/{name}: no row was read from it\n" in ended.err
    assert klar.posts() == []


def test_the_file_of_a_subfolder_is_read_and_a_hidden_one_is_not(shop: Followed) -> None:
    reads(shop, "stripe")
    rows = [stripe(f"txn_{each}", "charge", "100.00", f"1.7{each}", order="1") for each in range(3)]
    for row, name in zip(rows, ("may.csv", "2026/june.csv", "2026/07/july.csv"), strict=True):
        write(shop.folder / "stripe" / name, [row])
    (shop.folder / "stripe" / ".DS_Store").write_bytes(b"\0\1\2Bud1")

    assert costs(run(shop)) == {"1": sum(Decimal(row["fee"]) for row in rows)}


@pytest.mark.parametrize("numbers", [[7], [3, 6, 9], [*range(1, 11)]])
def test_rows_that_begin_with_a_hash_are_no_comments(shop: Followed, numbers: list[int]) -> None:
    reads(shop, "provider")
    without_totals(shop)
    rows = [provider(f"T{each}", f"{'#' * (each in numbers)}{1000 + each}", f"-1.{each:02}") for each in range(1, 11)]
    write(shop.folder / "provider" / "may.csv", rows, ";")
    add_rates(shop, "INSERT INTO without_orders VALUES ('Provider', '2026');")

    ended = run(shop)

    assert costs(ended) == {
        row["Bestellnummer"]: -Decimal(row["Gebühr"]) for row in rows if not row["Bestellnummer"].startswith("#")
    }
    (left,) = not_sent(ended).values()
    assert (left["bookings"], left["why"], left["example"]) == (
        len(numbers),
        "not the id of an order",
        min(f"#{1000 + each}" for each in numbers),
    )
    assert Decimal(left["cost"]) == sum(-Decimal(rows[each - 1]["Gebühr"]) for each in numbers)


def test_a_cell_with_quotes_after_many_rows_without_one_loses_them(shop: Followed) -> None:
    reads(shop, "provider")
    without_totals(shop)
    path = shop.folder / "provider" / "may.csv"
    write(path, [provider(f"T{each}", f"{each + 10}", "-1,10") for each in range(21_000)], ";")
    with path.open("a", encoding="utf-8", newline="") as file:
        file.write('"0012";13.05.2026;"Zahlung";-1,10;EUR;TX\r\n')

    sent = costs(run(shop))

    assert len(sent) == 21_001
    assert sum(sent.values()) == 21_001 * Decimal("1.10")
    assert sent["0012"] == Decimal("1.10")


def test_lines_that_a_stray_quote_swallowed_are_listed(shop: Followed) -> None:
    reads(shop, "provider")
    without_totals(shop)
    path = shop.folder / "provider" / "may.csv"
    write(path, [provider(f"T{each}", f"{each}", "-1,10", Name="Anna") for each in range(10)], ";")
    change(path, "T4;Anna", 'T4;"Tante Emma')
    change(path, "T7;Anna", 'T7;Onkel"')

    ended = run(shop)

    why = "not one row for each line below the heading"
    assert len(costs(ended)) + not_sent(ended)["no provider", "lines of provider/may.csv", why]["bookings"] == 10


def test_a_note_with_line_breaks_is_read_and_listed(shop: Followed) -> None:
    reads(shop, "provider")
    without_totals(shop)
    rows = [provider(f"T{each}", f"{each}", "-1,10", Name='Bitte\n"klingeln"; danke\n\n') for each in range(10)]
    write(shop.folder / "provider" / "may.csv", rows, ";")

    ended = run(shop)

    assert costs(ended) == {f"{each}": Decimal("1.10") for each in range(10)}
    (left,) = not_sent(ended).values()
    assert left["type"] == "lines of provider/may.csv"


def test_one_file_that_is_not_utf_8_is_named_and_can_be_converted(shop: Followed) -> None:
    reads(shop, "provider")
    without_totals(shop)
    folder = shop.folder / "provider"
    for each, name in enumerate(("old.csv", "may.csv")):
        write(folder / name, [provider(f"T{each}", f"{each}", "-1,10")], ";")
    (folder / "old.csv").write_text((folder / "old.csv").read_text(encoding="utf-8"), encoding="latin-1")
    assert "provider/old.csv" in run(shop).err
    (convert,) = re.findall(r"`(iconv .*?)`", PAGE)

    converted = shop.run(f"mv provider/old.csv old.csv && {convert} && mv new.csv provider/old.csv")

    assert converted.code == 0, converted.err
    assert costs(run(shop)) == {"0": Decimal("1.10"), "1": Decimal("1.10")}


def test_a_file_that_cannot_be_read_is_found_by_name(shop: Followed) -> None:
    reads(shop, "provider")
    for name in ("may.csv", "june.csv"):
        write(shop.folder / "provider" / "2026" / name, [provider(name, "1", "-1,10", Name="Anna")] * 2, ";")
    change(shop.folder / "provider" / "2026" / "june.csv", "Anna", '"Tante" Emma')

    assert run(shop).code == 1
    assert shop.run(shop.command('echo "$file"')).out == "provider/2026/june.csv\n"


def test_what_is_no_orders_id_is_listed_and_blanks_around_one_do_no_harm(shop: Followed) -> None:
    reads(shop, "paypal")
    odd = ["#1003", "5,00E+04", "0050001, 0050002", "Gift card"]
    rows = [paypal(f"P{each}", "Payment Refund", "9.00", "-1.10", order=order) for each, order in enumerate(odd)]
    blanks = [
        paypal("X1", "Chargeback", "9.00", "-1.20", order=" 005003 "),
        paypal("X2", "Chargeback", "9.00", "-2.40"),
    ]
    write(shop.folder / "paypal" / "may.csv", [*rows, blanks[0], blanks[1] | {"Invoice Number": "005003"}])

    ended = run(shop)

    assert costs(ended) == {"005003": -sum(Decimal(row["Fee"]) for row in blanks)}
    (left,) = not_sent(ended).values()
    assert (left["bookings"], left["why"], left["example"]) == (4, "not the id of an order", "#1003")
    assert Decimal(left["cost"]) == -sum(Decimal(row["Fee"]) for row in rows)


@pytest.mark.parametrize(
    ("total", "why"),
    [
        (["100,00", "-3,38", "96,62"], None),
        (["100,00", "-3,48", "96,52"], "the rows do not make the total, a fee of 3.4800 and gross 100.0000"),
        (["110,00", "-3,38", "106,62"], "the rows do not make the total, a fee of 3.3800 and gross 110.0000"),
        (None, "no total, or several"),
    ],
)
def test_a_total_of_paypals_is_not_sent_and_has_to_be_right(
    shop: Followed, total: list[str] | None, why: str | None
) -> None:
    reads(shop, "paypal-german")
    row = in_german(paypal("P1", "Express Checkout Payment", "100.00", "-3.38", order="1"))
    summed = dict.fromkeys(row, "") | {"Datum": "Summe"}
    path = shop.folder / "paypal-german" / "may.csv"
    write(path, [row, summed | dict(zip(("Brutto", "Gebühr", "Netto"), total or ["0,00"] * 3, strict=True))], ";")
    said = run(shop).err
    assert "a row without an id in paypal-german/may.csv; if it is the total, say so in is_total" in said
    if total is None:
        write(path, [row], ";")
    (line,) = re.findall(r'`("Datum" = \'Summe\' AS is_total)`', PAGE)
    change(shop.folder / "paypal-german.sql", "'Netto', filename) AS net\n", f"'Netto', filename) AS net,\n  {line}\n")

    ended = run(shop)

    if why is None:
        assert (costs(ended), not_sent(ended)) == ({"1": Decimal("3.38")}, {})
    else:
        assert (ended.code, ended.out) == (1, "")
        assert f"1 problem(s): paypal-german/may.csv: {why}\n" in ended.err


def test_a_booking_of_a_booking_of_a_payment_belongs_to_the_order(shop: Followed) -> None:
    reads(shop, "paypal")
    rows = [
        paypal("P1", "Express Checkout Payment", "100.00", "-3.38", order="1"),
        paypal("P2", "Payment Refund", "-100.00", "2.99", of="P1"),
        paypal("P3", "Payment Refund", "100.00", "-2.98", of="P2"),
        paypal("P4", "Payment Refund", "-100.00", "2.97", of="P3"),
        paypal("C1", "Chargeback", "-1.00", "-0.50", of="C2"),
        paypal("C2", "Chargeback", "1.00", "-0.60", of="C1"),
        paypal("P9", "Chargeback", "1.00", "-0.70", of="B-2XY"),
    ]
    write(shop.folder / "paypal" / "may.csv", reversed(rows))

    ended = run(shop)

    assert costs(ended) == {"1": -sum(Decimal(row["Fee"]) for row in rows[:4])}
    assert [row["cost"] for row in not_sent(ended).values()] == ["1.8000"]
    assert listed(ended) == {("Chargeback", "no order, nor has its payment one"): "C1"}


def test_a_late_booking_whose_payment_is_in_no_file_does_not_replace_what_its_order_has_cost(shop: Followed) -> None:
    """As in the first month of files: it names its order, and alone it would be all that the order costs."""
    reads(shop, "stripe")
    late = [
        stripe("txn_1", "refund", "-9.00", "-0.20", order="1", source_id="re_1", charge_id="ch_1"),
        stripe("txn_2", "dispute", "-9.00", "15.00", order="2", source_id="dp_2", charge_id="ch_2"),
        stripe("txn_3", "charge", "9.00", "1.00", order="3", source_id="ch_3", charge_id="ch_3"),
    ]
    write(shop.folder / "stripe" / "may.csv", late)
    ended = run(shop)
    assert costs(ended) == {"3": Decimal("1.00")}
    why = "its payment is in no file"
    assert listed(ended) == {("refund", why): "1", ("dispute", why): "2"}

    paid = [stripe("txn_0", "charge", "9.00", "1.00", order="1", source_id="ch_1", charge_id="ch_1")]
    write(shop.folder / "stripe" / "april.csv", paid)
    assert costs(run(shop)) == {"1": Decimal("0.80"), "3": Decimal("1.00")}


def test_a_booking_that_belongs_to_two_orders_stops_the_run(shop: Followed) -> None:
    reads(shop, "stripe")
    rows = [stripe(f"txn_{each}", "charge", "9.00", "1.00", order=f"{each}", source_id="ch_1") for each in (1, 2)]
    write(shop.folder / "stripe" / "may.csv", [*rows, stripe("txn_3", "dispute", "-9.00", "15.00", charge_id="ch_1")])

    assert "1 problem(s): Stripe txn_3: belongs to several orders\n" in run(shop).err


def test_a_booking_has_the_same_day_in_downloads_of_two_zones(shop: Followed) -> None:
    reads(shop, "stripe")
    change(shop.folder / "stripe.sql", "customer_facing_currency AS", "'eur' AS")
    late = {"created_utc": "2026-09-30 22:32:00", "currency": "usd"}
    zones = [stripe("txn_1", "charge", "100.00", "2.00", order="1", **late) for _ in range(2)]
    zones[0]["created"] = "2026-10-01 00:32:00"
    zones[1]["created"] = "2026-09-30 18:32:00"
    for each, row in enumerate(zones):
        write(shop.folder / "stripe" / f"{each}.csv", [row])
    rates = "INSERT INTO rates VALUES ('2026-09', 'usd', 'eur', 0.5), ('2026-10', 'usd', 'eur', 0.25);"
    add_rates(shop, rates)

    assert costs(run(shop)) == {"1": Decimal("2.00") * Decimal("0.5")}


def test_rates_come_by_day_and_a_weekend_takes_fridays(shop: Followed) -> None:
    reads(shop, "provider")
    without_totals(shop)
    (block,) = re.findall(r"^```sql\n(INSERT OR IGNORE INTO rates.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    month = "INSERT INTO rates VALUES ('2026-05', 'chf', 'eur', 9), ('2026-06', 'chf', 'eur', 2);"
    add_rates(shop, f"{block}\n{month}")
    units = {"2026-05-07": "0.9388", "2026-05-08": "0.9412", "2026-05-11": "0.9377"}
    text = "".join(f"{day},CHF,{rate}\n" for day, rate in units.items())
    (shop.folder / "rates.csv").write_text(f"date,currency,units_per_eur\n{text}", encoding="utf-8")
    used = {"07": "2026-05-07", "08": "2026-05-08", "09": "2026-05-08", "10": "2026-05-08", "11": "2026-05-11"}
    rows = [provider(f"T{day}", day, "-123,45", Währung="CHF", Buchungsdatum=f"{day}.05.2026") for day in used]
    june = provider("T6", "6", "-1,00", Währung="CHF", Buchungsdatum="08.06.2026")
    write(shop.folder / "provider" / "may.csv", [*rows, june], ";")

    expected = {}
    for day, of in used.items():
        rate = (1 / Decimal(units[of])).quantize(Decimal("1e-8"))
        expected[day] = (Decimal("123.45") * rate).quantize(Decimal("0.0001"))
    assert costs(run(shop)) == expected | {"6": Decimal(2)}

    change(shop.folder / "provider" / "may.csv", "11.05.2026", "18.07.2026")
    assert "1 problem(s): Provider T11: no rate from chf to eur in 2026-07, the first on 2026-07-18\n" in run(shop).err


def test_a_booking_that_is_exported_in_german_and_english_counts_once(shop: Followed) -> None:
    reads(shop, "paypal", "paypal-german")
    rows = [
        paypal("P1", "Express Checkout Payment", "1234.56", "-3.38", order="1"),
        paypal("P2", "Payment Refund", "-100.00", "2.99", of="P1"),
        paypal("P3", "Chargeback Fee", "-16.00", "0.00", of="P1"),
        paypal("P4", "Express Checkout Payment", "10.00", "-0.20", order="2"),
        paypal("P5", "User Initiated Withdrawal", "-500.00", "0.00"),
    ]
    write(shop.folder / "paypal" / "may.csv", rows[:3])
    write(shop.folder / "paypal-german" / "may.csv", map(in_german, rows), ";")

    ended = run(shop)

    assert costs(ended) == {"1": Decimal("3.38") - Decimal("2.99") + Decimal("16.00"), "2": Decimal("0.20")}
    assert listed(ended) == {("Von Nutzer eingeleitete Abbuchung", "no order"): "P5"}


def test_adyens_columns_of_fees_are_added_up_and_three_decimals_have_one_meaning(shop: Followed) -> None:
    reads(shop, "adyen")
    rows = [
        adyen("Settled", "8501", "1", "95.00", "", "0.04", "0.0131", "1.234"),
        adyen("Settled", "8502", "2", "95.00", "0.67"),
        adyen("Chargeback", "8501", "1", "-107.75", "7.50", "0.25"),
        adyen("Refunded", "8502", "2", "-95.00", "0.11", "", "", "-0.0947"),
        adyen("MerchantPayout", "", "", "-900.00"),
    ]
    write(shop.folder / "adyen" / "may.csv", rows)

    ended = run(shop)

    fees: dict[str, Decimal] = defaultdict(Decimal)
    with (shop.folder / "adyen" / "may.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            columns = [name for name in row if name.endswith("(NC)") and not name.startswith("Net")]
            assert len(columns) == 4
            fees[row["Merchant Reference"]] += sum(Decimal(row[name] or 0) for name in columns)
    assert fees.pop("") == 0
    assert costs(ended) == fees
    assert listed(ended) == {("MerchantPayout", "no order"): "MerchantPayout   20"}


def test_a_second_provider_is_a_copy_with_another_folder_and_name(shop: Followed) -> None:
    text = (shop.folder / "provider.sql").read_text(encoding="utf-8")
    mollie = text.replace("'Provider'", "'Mollie'").replace("'provider'", "'mollie'")
    (shop.folder / "mollie.sql").write_text(mollie.replace("provider.sql", "mollie.sql"), encoding="utf-8")
    reads(shop, "provider", "mollie")
    for folder, fees in (("provider", ["-1,10", "-2,20"]), ("mollie", ["-4,40", "-8,80"])):
        rows = [provider(f"T{each}", f"{each}", fee) for each, fee in enumerate(fees)]
        total = provider("", "", {"provider": "-3,30", "mollie": "-13,20"}[folder], Buchungsdatum="Summe")
        write(shop.folder / folder / "may.csv", [*rows, total], ";")

    assert costs(run(shop)) == {"0": Decimal("1.10") + Decimal("4.40"), "1": Decimal("2.20") + Decimal("8.80")}


def test_a_chargeback_fee_in_the_accounts_currency_is_converted_into_the_orders(shop: Followed) -> None:
    reads(shop, "paypal")
    rows = [
        paypal("P1", "Express Checkout Payment", "100.00", "-3.38", order="1", currency="USD"),
        paypal("P2", "General Currency Conversion", "-100.00", "0.00", of="P1", currency="USD"),
        paypal("P3", "General Currency Conversion", "88.00", "0.00", of="P1"),
        paypal("P4", "Chargeback Fee", "-16.00", "0.00", order="1"),
    ]
    write(shop.folder / "paypal" / "may.csv", rows)
    assert "1 problem(s): PayPal P4: no rate from eur to usd in 2026-05, the first on 2026-05-13\n" in run(shop).err
    rate = "INSERT INTO rates VALUES ('2026-05', 'eur', 'usd', 1.125);"
    add_rates(shop, rate)

    assert costs(run(shop)) == {"1": Decimal("3.38") + 16 * Decimal("1.125")}


def test_days_that_can_be_read_in_two_ways_stop_where_a_rate_depends_on_them(shop: Followed) -> None:
    reads(shop, "paypal")
    rows = [
        paypal(f"P{month}", "Express Checkout Payment", "9.00", "-1.00", order=f"{month}", date=f"05/{month:02}/2026")
        for month in (6, 7)
    ]
    write(shop.folder / "paypal" / "may.csv", rows)
    assert costs(run(shop)) == {"6": Decimal(1), "7": Decimal(1)}

    change(shop.folder / "paypal.sql", 'lower("Currency") AS order_currency', "'usd' AS order_currency")
    rates = "('2026-05', 'eur', 'usd', 2), ('2026-06', 'eur', 'usd', 3), ('2026-07', 'eur', 'usd', 5)"
    add_rates(shop, f"INSERT INTO rates VALUES {rates};")
    why = "PayPal: no day above 12 shows whether the day or the month comes first in 05/06/2026"
    assert f"1 problem(s): {why}\n" in run(shop).err

    american = paypal("P8", "Express Checkout Payment", "9.00", "-1.00", order="8", date="05/28/2026")
    write(shop.folder / "paypal" / "may.csv", [*rows, american])
    assert "PayPal P8: no day such as 31.05.2026: 05/28/2026, in paypal/may.csv" in run(shop).err
    assert "Of an American account write '%m/%d/%Y'" in PAGE
    change(shop.folder / "fees.sql", "'%d/%m/%Y'", "'%m/%d/%Y'")
    assert costs(run(shop)) == {"6": Decimal(2), "7": Decimal(2), "8": Decimal(2)}


def test_the_months_are_what_the_providers_report_says(shop: Followed) -> None:
    reads(shop, "paypal")
    chance = random.Random(7)
    report: dict[str, Decimal] = defaultdict(Decimal)
    rows = []
    for each in range(90):
        month = f"{chance.randint(3, 5):02}"
        type_ = chance.choice(["Express Checkout Payment", "Chargeback Fee"])
        gross = "0.00" if type_ == "Express Checkout Payment" else f"-{chance.randint(1, 16)}.00"
        row = paypal(f"P{each}", type_, gross, f"-{each}.07", order=chance.choice(["1", ""]), date=f"20/{month}/2026")
        rows.append(row)
        report[f"2026-{month}"] -= Decimal(row["Net"])
    write(shop.folder / "paypal" / "spring.csv", rows)
    months = shop.command('"FROM months"').replace("duckdb", "duckdb -jsonlines")

    said = [json.loads(line) for line in shop.run(months).out.splitlines()]

    assert {row["month"]: Decimal(row["fees"]) for row in said} == report
    assert sum(Decimal(row["in_orders"]) for row in said) == sum(costs(run(shop)).values())


def test_after_a_stop_the_line_of_duckdb_comes_first_and_the_warning_only_follows(
    shop: Followed, klar: Sandbox
) -> None:
    shop.configure(klar)
    reads(shop, "stripe")
    write(
        shop.folder / "stripe" / "may.csv", [stripe("txn_1", "charge", "100.00", "1.75", order="1") | {"fee": "1,7x"}]
    )

    ended = shop.run(shop.command(LOAD), LOGLEVEL="WARNING")

    reason, warning = ended.err.splitlines()
    assert reason == "Invalid Input Error: stripe/may.csv: fee is not an amount of up to four decimals: 1,7x"
    assert "The input has no record" in warning
    assert "begins with `Invalid Input Error`" in PAGE


def test_a_good_night_is_silent_and_keeps_the_list_and_a_bad_one_says_why(tmp_path: Path, klar: Sandbox) -> None:
    shop = Followed(tmp_path, "fees-from-files.md", "at-night.md")
    shop.configure(klar)
    reads(shop, "stripe")
    crontabs = blocks((DOCUMENTS / "at-night.md").read_text(encoding="utf-8"), "crontab")
    (crontab,) = (block for block in crontabs if "fees.sh" in block)
    night = crontab.splitlines()[-1].removeprefix("30 4 * * * ").replace("/srv/klar/fees", str(shop.folder))
    assert str(shop.folder) in night
    rows = [stripe("txn_1", "fee", "-12.40", "0.00"), stripe("txn_2", "charge", "9.00", "1.00", order="1")]
    write(shop.folder / "stripe" / "may.csv", rows)

    good = shop.run(night)
    kept = (shop.folder / "night.log").read_text(encoding="utf-8")
    (shop.folder / "stripe" / "june.csv").touch()
    bad = shop.run(night)

    assert (good.code, good.out, good.err) == (0, "", "")
    assert held(klar) == {"1": Decimal(1)}
    assert '"gross":"-12.4000","fee":"0.0000","cost":"12.4000"' in kept
    assert "stripe/june.csv: no row was read from it" in bad.out


def test_the_comparison_says_at_its_top_that_equal_is_not_right() -> None:
    top = (DOCUMENTS / "compare.md").read_text(encoding="utf-8").partition("```")[0]

    assert "`equal` means that everything was transported, not that it is right." in top
    assert "the provider's own monthly total of fees" in top


@pytest.mark.parametrize("name", ["fees-from-files.md", "csv-and-excel.md"])
def test_nothing_about_a_file_of_cells_is_guessed_from_its_first_rows(name: str) -> None:
    text = (DOCUMENTS / name).read_text(encoding="utf-8")
    readers = [found for found in re.findall(r"read_csv\((.*?)\n\)", text, re.DOTALL) if "all_varchar" in found]

    assert len(readers) == text.count("all_varchar = true, header = true, union_by_name")
    assert all("comment = '', quote = '\"', escape = '\"'" in found for found in readers)


def test_the_currency_of_an_order_whose_payment_is_in_no_file_is_that_of_all_orders_or_not_known(
    shop: Followed,
) -> None:
    reads(shop, "paypal")
    rows = [
        paypal("P1", "Express Checkout Payment", "100.00", "-3.38", order="1", currency="USD"),
        paypal("P2", "Chargeback Fee", "-16.00", "0.00", order="2"),
    ]
    write(shop.folder / "paypal" / "may.csv", rows)
    rate = "INSERT INTO rates VALUES ('2026-05', 'eur', 'usd', 1.125);"
    add_rates(shop, rate)
    assert costs(run(shop)) == {"1": Decimal("3.38"), "2": 16 * Decimal("1.125")}

    write(shop.folder / "paypal" / "june.csv", [paypal("P3", "Express Checkout Payment", "9.00", "-1.00", order="3")])
    assert "PayPal P2: no rate from eur to an unknown currency in 2026-05, the first on 2026-05-13\n" in run(shop).err


@pytest.mark.parametrize(("folder", "currency"), [("paypal", "EUR"), ("paypal-german", "USD")])
def test_a_month_whose_orders_are_numbered_in_a_new_way_stops_the_load(
    shop: Followed, klar: Sandbox, folder: str, currency: str
) -> None:
    shop.configure(klar)
    reads(shop, folder)
    column = "Rechnungsnummer" if folder == "paypal-german" else "Invoice Number"
    (form,) = re.findall(r"`(replace\(.*? AS order_id)`", PAGE)
    change(shop.folder / f"{folder}.sql", f'"{column}" AS order_id', form.replace("Invoice Number", column))
    for month, prefix in (("03", "WC-"), ("04", "Order ")):
        paid = [
            paypal(
                f"P{month}{each}",
                "Express Checkout Payment",
                "9.00",
                "-1.00",
                order=f"{prefix}{month}{each}",
                date=f"20/{month}/2026",
                currency=currency,
            )
            for each in range(6)
        ]
        withdrawn = paypal(f"W{month}", "User Initiated Withdrawal", "-900.00", "-99.00", currency=currency)
        write_paypal(shop, folder, f"{month}.csv", [*paid, withdrawn])
        if prefix == "WC-":
            assert shop.run(shop.command(LOAD)).code == 0
    march = {f"03{each}": Decimal(1) for each in range(6)}
    assert held(klar) == march

    ended = shop.run(shop.command(LOAD))

    assert (ended.code, held(klar)) == (1, march)
    why = '2026-04: most of what payments of PayPal cost is in no order, such as that of "Order 040"'
    assert f"1 problem(s): {why}; correct order_id or is_order, or see without_orders\n" in ended.err

    (agreed,) = re.findall(r"`(INSERT INTO without_orders .*?;)`", PAGE)
    fees = shop.folder / "fees.sql"
    before = fees.read_text(encoding="utf-8")
    add_rates(shop, agreed.replace("2026-04", "2026-03"))
    assert shop.run(shop.command(LOAD)).code == 1
    for period in ("2026-04", "2026"):
        fees.write_text(before, encoding="utf-8")
        add_rates(shop, agreed.replace("2026-04", period))
        assert shop.run(shop.command(LOAD)).code == 0
    assert held(klar) == march


def test_without_the_replacement_of_a_prefix_nothing_is_compared(shop: Followed) -> None:
    reads(shop, "paypal")
    rows = [paypal(f"P{each}", "Mobile Payment", "9.00", "-1.00", order=f"WC-{each}") for each in range(3)]
    write(shop.folder / "paypal" / "may.csv", rows)
    (shop.folder / "held.jsonl").touch()

    ended = shop.run("duckdb -noheader -list -f compare.sql")

    assert (ended.code, ended.out) == (1, "")
    assert '2026-05: most of what payments of PayPal cost is in no order, such as that of "WC-0"' in ended.err


@pytest.mark.parametrize(
    ("orders", "code"),
    [
        (["1"] * 6 + [""] * 6, 0),  # half of it
        (["1"] * 5 + [""] * 6, 1),
        (["1"] + [""] * 5, 0),  # five alone
        ([""] * 2, 0),
        ([""] * 3, 1),
    ],
)
def test_a_few_payments_without_an_order_do_not_stop_a_run(shop: Followed, orders: list[str], code: int) -> None:
    reads(shop, "stripe")
    rows = [stripe(f"txn_{each}", "charge", "9.00", "1.00", order=order) for each, order in enumerate(orders)]
    others = [stripe(f"po_{each}", "payout", "-90.00", "5.00") for each in range(9)]
    fees = [stripe(f"fee_{each}", "fee", "-9.00", "0.00") for each in range(9)]
    write(shop.folder / "stripe" / "may.csv", [*rows, *others, *fees])

    ended = run(shop)

    assert ended.code == code, ended.err
    why = '2026-05: most of what payments of Stripe cost is in no order, such as that of "an empty cell, of txn_'
    assert (why in ended.err) is bool(code)


@pytest.mark.parametrize("folder", ["paypal", "paypal-german"])
def test_a_payment_that_is_not_completed_stops_the_run_and_is_not_sent(shop: Followed, folder: str) -> None:
    reads(shop, folder)
    rows = [
        paypal("P1", "Mobile Payment", "100.00", "-3.38", order="1"),
        paypal("P2", "Mobile Payment", "100.00", "-3.50", order="2", status="Denied"),
        paypal("P3", "General Authorization", "100.00", "-3.60", order="3", status="Pending", impact="Memo"),
    ]
    write_paypal(shop, folder, "may.csv", rows)
    said = 'PayPal: not in types: "Status Denied" (1 bookings, gross 100.0000, fee 3.5000)\n'
    assert said in run(shop).err
    last = "('PayPal', 'without effect on the balance', 'none');"
    change(
        shop.folder / f"{folder}.sql", last, f"{last}\nINSERT INTO types VALUES ('PayPal', 'Status Denied', 'none');"
    )

    ended = run(shop)

    assert costs(ended) == {"1": Decimal("3.38")}
    assert not_sent(ended)["PayPal", "Status Denied", "no cost"]["example"] == "2"


@pytest.mark.parametrize("folder", ["paypal", "paypal-german"])
@pytest.mark.parametrize("fee", ["", "0.00"])
def test_the_items_of_a_cart_are_left_out_and_counted(shop: Followed, folder: str, fee: str) -> None:
    reads(shop, folder)
    rows = [
        paypal("P1", "Express Checkout Payment", "100.00", "-3.38", order="1"),
        paypal("P2", "Payment Refund", "-30.00", "0.88", of="P1"),
    ]
    write_paypal(shop, folder, "may.csv", rows)
    path = shop.folder / folder / "may.csv"
    heading, payment, refund = path.read_text(encoding="utf-8").splitlines()
    amounts = ("100,00", "-3,38", "96,62") if folder == "paypal-german" else ("100.00", "-3.38", "96.62")
    types = {"Express Checkout Payment": "Shopping Cart Item", "PayPal Express-Zahlung": "Warenkorbartikel"}
    booked = re.sub("|".join(types), lambda found: types[found[0]], payment)
    item = booked
    for old, new in zip(amounts, ("50.00", fee, fee), strict=True):
        item = item.replace(old, new)
    items = [re.sub("Credit|Haben", impact, item) for impact in ("", "Memo", "")]
    for name in ("may.csv", "may (1).csv"):
        (shop.folder / folder / name).write_text("\n".join([heading, payment, *items, refund]), encoding="utf-8")

    ended = run(shop)

    assert costs(ended) == {"1": Decimal("3.38") - Decimal("0.88")}
    ((_, type_, why),) = not_sent(ended)
    assert (type_, why) in {
        ("Shopping Cart Item", "an item of a payment"),
        ("Warenkorbartikel", "an item of a payment"),
    }
    assert [row["bookings"] for row in not_sent(ended).values()] == [6]

    # One with an effect on the balance is a booking.
    path.write_text(f"{heading}\n{payment}\n{booked}\n{refund}", encoding="utf-8")
    assert f"PayPal P1: twice in {folder}/may.csv" in run(shop).err


def test_the_list_of_what_is_not_sent_can_be_seen_whole(shop: Followed) -> None:
    reads(shop, "stripe")
    rows = [
        stripe("txn_1", "charge", "9.00", "1.00", order="1"),
        stripe("txn_2", "charge", "9.00", "1.00", source_id="ch_2", charge_id="ch_2"),
        stripe("txn_3", "charge", "9.00", "2.00", source_id="ch_3", charge_id="ch_3"),
        stripe("txn_4", "dispute", "-9.00", "15.00", charge_id="ch_3"),
        stripe("txn_5", "fee", "-9.00", "0.00"),
    ]
    write(shop.folder / "stripe" / "may.csv", rows)

    ended = shop.run(shop.command("> not_sent.csv"))

    assert ended.code == 0, ended.err
    with (shop.folder / "not_sent.csv").open(encoding="utf-8") as file:
        assert sorted(row["id"] for row in csv.DictReader(file)) == ["txn_2", "txn_3", "txn_4", "txn_5"]
    assert listed(run(shop)) == {
        ("charge", "no order"): "txn_2",
        ("dispute", "no order, nor has its payment one"): "txn_4",
        ("fee", "no order"): "txn_5",
    }


def test_a_rate_that_is_missing_names_its_months(shop: Followed) -> None:
    reads(shop, "stripe")
    for month in ("07", "05", "06", "05"):
        row = stripe(f"txn_{month}", "charge", "9.00", "1.00", order=month, customer_facing_currency="usd")
        write(shop.folder / "stripe" / f"{month}.csv", [row | {"created_utc": f"2026-{month}-13 10:00:00"}])
    add_rates(shop, "INSERT INTO rates VALUES ('2026-06', 'eur', 'usd', 1.125);")

    why = "Stripe txn_05 and 1 more: no rate from eur to usd in 2026-05, 2026-07, the first on 2026-05-13\n"
    assert f"2 problem(s): {why}" in run(shop).err


def test_a_pending_payment_that_is_complete_later_is_named_and_its_older_file_is_not_missing(
    shop: Followed, klar: Sandbox
) -> None:
    shop.configure(klar)
    reads(shop, "paypal")
    first = paypal("P1", "Mobile Payment", "9.00", "-1.00", order="1")
    pending = paypal("P2", "Mobile Payment", "9.00", "0.00", order="2", status="Pending", impact="Memo")
    write(shop.folder / "paypal" / "old.csv", [first, pending])
    assert shop.run(shop.command(LOAD)).code == 0
    complete = paypal("P2", "Mobile Payment", "9.00", "-1.50", order="2")
    write(shop.folder / "paypal" / "new.csv", [first, complete])
    said = "PayPal P2: not the same in paypal/new.csv and paypal/old.csv; remove the older file (a pending payment"
    assert said in shop.run(shop.command(LOAD)).err
    (shop.folder / "paypal" / "old.csv").unlink()

    ended = shop.run(shop.command(LOAD))

    assert ended.code == 0, ended.err
    assert held(klar) == {"1": Decimal(1), "2": Decimal("1.5")}


def test_a_german_file_in_the_english_folder_is_named_as_one_of_the_wrong_folder(shop: Followed) -> None:
    reads(shop, "paypal")
    row = paypal("P1", "Mobile Payment", "9.00", "-1.00", order="1")
    write(shop.folder / "paypal" / "may.csv", [row])
    write(shop.folder / "paypal" / "juni.csv", [in_german(row)], ";")

    why = "no such column; other headings: the wrong folder?\n"
    assert f"paypal/juni.csv: Gross is not an amount of up to four decimals: {why}" in run(shop).err


def test_newer_headings_beside_older_ones_are_read_as_the_page_says(shop: Followed) -> None:
    reads(shop, "paypal-german")
    row = in_german(paypal("P1", "Mobile Payment", "9.00", "-1.00", order="1"))
    newer = in_german(paypal("P2", "Mobile Payment", "9.00", "-1.50", order="1"))
    newer = {name.replace("Gebühr", "Entgelt"): value for name, value in newer.items()}
    write(shop.folder / "paypal-german" / "may.csv", [row], ";")
    write(shop.folder / "paypal-german" / "june.csv", [newer], ";")
    assert "Gebühr is not an amount" in run(shop).err
    assert shop.run(shop.command('echo "$file"')).out == ""
    (both,) = re.findall(r'`(coalesce\("Entgelt", "Gebühr"\))`', PAGE)

    change(shop.folder / "paypal-german.sql", '-amount("Gebühr"', f"-amount({both}")

    assert costs(run(shop)) == {"1": Decimal("2.50")}


def test_the_tree_at_the_top_names_each_file_of_the_page_and_each_folder_of_exports() -> None:
    (tree,) = blocks(PAGE, "text")[:1]
    named = set(re.findall(r"[\w-]+\.sql", tree))
    written = set(re.findall(r"^-- ([\w-]+\.sql)$", PAGE, re.MULTILINE))

    assert named == written | {"compare.sql"}
    assert set(re.findall(r" ([\w-]+)/ ", tree.replace("\n", " "))) == set(re.findall(r"export\('([\w-]+)'\)", PAGE))


def test_payments_without_a_gross_and_in_a_currency_of_large_numbers_are_missed_too(shop: Followed) -> None:
    reads(shop, "paypal", "provider")
    without_totals(shop)
    write(shop.folder / "provider" / "may.csv", [provider(f"T{each}", f"#{each}", "-1,10") for each in range(3)], ";")
    forints = [
        paypal(f"H{each}", "Mobile Payment", "9000.00", "-500.00", order=f"{each}", currency="HUF") for each in range(6)
    ]
    euros = [paypal(f"E{each}", "Mobile Payment", "9.00", "-1.00", order=f"#{each}") for each in range(6)]
    write(shop.folder / "paypal" / "may.csv", [*forints, *euros])

    said = run(shop).err

    for name in ("PayPal", "Provider"):
        assert f'2026-05: most of what payments of {name} cost is in no order, such as that of "#0"' in said


def test_one_environment_holds_both_programs_and_the_nightly_script_is_the_load(shop: Followed) -> None:
    install = shop.command("duckdb-cli").splitlines()
    night = (DOCUMENTS / "at-night.md").read_text(encoding="utf-8")
    (crontab,) = (block for block in blocks(night, "crontab") if "fees.sh" in block)
    (script,) = (block for block in blocks(night, "bash") if "# fees.sh" in block)

    (folder,) = re.findall(r"^PATH=(.*?):", crontab, re.MULTILINE)
    assert install[1].startswith(f"{folder}/pip install ./target-klar ")
    assert install[0] == f"python3 -m venv {folder.removesuffix('/bin')}"
    assert install[2] == f'export PATH="{folder}:$PATH"'
    assert script.endswith(shop.command(LOAD))
