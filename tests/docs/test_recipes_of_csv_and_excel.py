"""docs/recipes/csv-and-excel.md: refunds and purchase prices against what Python reads out of the same files."""

from __future__ import annotations

import csv
import re
import shutil
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import workbook
from followed import DOCUMENTS, Followed

if TYPE_CHECKING:
    from target_klar.sandbox import Sandbox

pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[1] / "data" / "tables"
REFUNDS_FILE = "refunds_with_a_total_row_and_german_times.csv"
PRICES = "prices_with_a_total_row_and_leading_zeros.csv"


@pytest.fixture
def tables(tmp_path: Path, klar: Sandbox) -> Followed:
    """A folder with the recipe's files, and one file of refunds and one of prices."""
    for name, file in (("refunds", REFUNDS_FILE), ("prices", PRICES)):
        (tmp_path / name).mkdir()
        shutil.copy(DATA / file, tmp_path / name)
    followed = Followed(tmp_path, "csv-and-excel.md", "compare.md")
    followed.configure(klar)
    return followed


def rows(file: str) -> list[dict[str, str]]:
    with (DATA / file).open(encoding="utf-8-sig", newline="") as opened:
        # `Summe` is the total that an export ends with: the recipe checks it, and does not send it.
        return [row for row in csv.DictReader(opened, delimiter=";") if "Summe" not in row.values()]


def number(text: str) -> Decimal:
    return Decimal(text.replace(".", "").replace(",", "."))


def refunds_at_klar() -> dict[str, Any]:
    """Return what Klar should hold, grouped and converted by Python; summer time ends at the end of October."""
    made: dict[str, Any] = {}
    for row in rows(REFUNDS_FILE):
        day, _, clock = row["Datum"].partition(" ")
        at = datetime.strptime(f"{day} {clock or '00:00'}", "%d.%m.%Y %H:%M").replace(tzinfo=UTC)
        summer = datetime(2026, 3, 29, 2, tzinfo=UTC) <= at < datetime(2026, 10, 25, 3, tzinfo=UTC)
        created = int((at - timedelta(hours=1 + summer)).timestamp())
        refund = made.setdefault(row["Gutschrift"], {"id": row["Gutschrift"], "createdAt": created, "lineItems": []})
        item = {"lineItemId": row["Bestellposition"], "refundedQuantity": number(row["Menge"])}
        refund["lineItems"].append(item)
    return made


def test_rows_of_refunded_lines_become_refunds_with_exact_quantities_and_times_in_utc(
    tables: Followed, klar: Sandbox
) -> None:
    ended = tables.run(tables.command("refunds --config config"))

    assert (ended.code, ended.said("WARNING")) == (0, []), ended.err
    assert klar.refunds == refunds_at_klar()
    assert [item["lineItemId"] for item in klar.refunds["00017"]["lineItems"]] == ["00101", "00103"]


def test_the_comparison_of_refunds_says_that_both_are_equal_or_each_difference_and_fails(tables: Followed) -> None:
    ended = tables.run(tables.command("-f compare-refunds.sql"))
    lines = [line for refund in refunds_at_klar().values() for line in refund["lineItems"]]
    pieces = sum(line["refundedQuantity"] for line in lines)
    assert ended.code == 0, ended.err
    assert ended.out.endswith(f"\nequal: {len(lines)} lines, {pieces:.4f} pieces\n")

    exported = (tables.folder / "held.jsonl").read_text()
    (tables.folder / "held.jsonl").write_text(exported.replace("1000.25", "1000.24"))
    different = tables.run("duckdb -noheader -list -f compare-refunds.sql")
    assert different.code == 1
    assert "not equal: 2 difference(s)" in different.err
    assert different.out.splitlines() == [
        "only at the local Klar|00019|1767481200|00104|1000.2400",
        "only in the source|00019|1767481200|00104|1000.2500",
    ]


def test_a_comparison_with_a_stream_map_never_reaches_the_klar_of_the_configuration(
    tables: Followed, klar: Sandbox
) -> None:
    both = "--config config.json --config=ENV"
    assert f"`{both}`" in (DOCUMENTS / "compare.md").read_text()
    tables.configure(klar, stream_maps={"refunds": {"id": "'R' + id"}})

    ended = tables.run(tables.command("-f compare-refunds.sql").replace("--config=ENV", both))

    assert ended.code == 1
    assert klar.posts() == []
    assert "only at the local Klar|R00017|1777879800|00101|2.0000" in ended.out


def test_purchase_prices_arrive_exactly_and_ids_keep_their_leading_zeros(tables: Followed, klar: Sandbox) -> None:
    ended = tables.run(tables.command("--stream cogs"))

    assert (ended.code, ended.said("WARNING")) == (0, []), ended.err
    sent = {(held["orderId"], held["sku"]): held["productCogs"] for held in klar.by_key("cogs")}
    expected = {(row["Bestellnummer"], row["Artikelnummer"]): number(row["Einkaufspreis"]) for row in rows(PRICES)}
    assert sent == expected
    assert sent["01001", "008"] == Decimal("0.105")


@pytest.mark.parametrize(
    ("file", "old", "new", "why"),
    [
        (REFUNDS_FILE, "1.003,75", "1.003,70", "the rows do not make the total of 1.003,70"),
        (REFUNDS_FILE, "Summe", "Total", "Not a time such as 04.05.2026 09:30: an empty cell, or no such column"),
        (REFUNDS_FILE, "04.01.2026", "04.01.26", "Not a time such as 04.05.2026 09:30: 04.01.26"),
        (REFUNDS_FILE, "04.01.2026", "01/04/2026", "Not a time such as 04.05.2026 09:30: 01/04/2026"),
        (REFUNDS_FILE, "1.000,25", "1.000", "total_row_and_german_times.csv: Menge can be read in two ways: 1.000"),
        (REFUNDS_FILE, "00103", "00101", "Refund 00017: line item 00101 comes twice"),
        (
            REFUNDS_FILE,
            "00018;25.10.2026 23:30",
            "00017;25.10.2026 23:30",
            "Refund 00017: its rows have different times",
        ),
        (REFUNDS_FILE, ";00103;", ";;", "a row without Bestellposition"),
        (PRICES, "19,90", "19,95", "Order 01002: product 007 has more than one price"),
        (PRICES, "01001;007", "01001;", "a row without Artikelnummer"),
        (PRICES, "Summe;;7", "Summe;;8", "the rows do not make the total of 8"),
    ],
)
def test_rows_that_can_be_read_in_two_ways_or_do_not_add_up_give_no_row(
    tables: Followed, file: str, old: str, new: str, why: str
) -> None:
    path = tables.folder / file.partition("_")[0] / file
    before = path.read_text(encoding="utf-8-sig")
    assert old in before
    path.write_text(before.replace(old, new), encoding="utf-8-sig")
    load = tables.command("refunds --config config" if file == REFUNDS_FILE else "--stream cogs")
    query = next(line.partition(" | ")[0] for line in load.splitlines() if " | " in line)

    ended = tables.run(query)

    assert (ended.code, ended.out) == (1, "")
    assert why in ended.err


@pytest.mark.parametrize(
    ("table", "heading", "line"),
    [
        ("refunds", "Gutschrift;Datum;Bestellposition;Menge", "1;04.05.2026;{number};1"),
        ("prices", "Bestellnummer;Artikelnummer;Menge;Einkaufspreis", "{number};1;1;{price}"),
    ],
)
def test_of_many_problems_in_rows_five_are_shown_and_all_are_counted(
    tables: Followed, table: str, heading: str, line: str
) -> None:
    (path,) = (tables.folder / table).iterdir()
    rows = [line.format(number=number, price=price) for number in range(7) for price in (1, 2)]
    path.write_text("\n".join([heading, *rows]))

    ended = tables.run(f'duckdb -jsonlines -f {table}.sql -c "SELECT 1"')

    assert (ended.code, ended.out) == (1, "")
    assert "7 problem(s): " in ended.err
    assert ended.err.count("; ") == 4


@pytest.mark.parametrize(("deleted", "written"), [((1, 2), "1,105"), ((1, 3), "1.105")], ids=["commas", "points"])
def test_three_decimals_arrive_where_the_other_ways_to_read_them_are_deleted(
    tables: Followed, klar: Sandbox, deleted: tuple[int, int], written: str
) -> None:
    cells = tables.folder / "cells.sql"
    text = cells.read_text()
    whens = re.findall(r"\n  WHEN .*?(?=\n  (?:WHEN|ELSE) )", text, re.DOTALL)
    for number in deleted:
        text = text.replace(whens[number - 1], "")
    cells.write_text(text)
    prices = tables.folder / "prices" / PRICES
    prices.write_text(f"Bestellnummer;Artikelnummer;Menge;Einkaufspreis\n1;2;3;{written}\n")

    assert tables.run(tables.command("--stream cogs")).code == 0
    assert [held["productCogs"] for held in klar.by_key("cogs")] == [Decimal("1.105")]


def test_a_sheet_of_excel_with_a_total_row_arrives_like_the_csv_file(tables: Followed, klar: Sandbox) -> None:
    """With what Excel stores: days since 1900, 17 digits, and numbers where the sheet shows numbers."""
    (tables.folder / "refunds" / REFUNDS_FILE).unlink()
    sheet = [
        ["Gutschrift", "Datum", "Bestellposition", "Menge"],
        ["00017", "@46146.395833333336", "00101", "=2"],
        ["00017", "@46146.395833333328", "=703073504", "=0.30000000000000004"],
        ["00018", "04.05.2026 09:30", "00103", "=1.125"],
        ["Summe", "", "", "=3.4249999999999998"],
    ]
    workbook.write(tables.folder / "refunds.xlsx", sheet)

    ended = tables.run(f"{tables.command('sheet.py')}\n{tables.command('refunds --config config')}")

    assert ended.code == 0, ended.err
    items = {key: [tuple(item.values()) for item in held["lineItems"]] for key, held in klar.refunds.items()}
    assert items == {
        "00017": [("00101", 2), ("703073504", Decimal("0.3"))],
        "00018": [("00103", Decimal("1.125"))],
    }
    assert {held["createdAt"] for held in klar.refunds.values()} == {1777879800}  # 2026-05-04T07:30:00Z


def test_an_id_that_excel_has_rounded_leaves_no_rows_behind(tables: Followed) -> None:
    (tables.folder / "refunds" / REFUNDS_FILE).unlink()
    workbook.write(tables.folder / "refunds.xlsx", [["Gutschrift"], ["00017"], ["=1234567890123456"]])

    ended = tables.run(tables.command("sheet.py"))

    assert ended.code == 1
    assert "1234567890123456: Excel keeps 15 digits of a number." in ended.err
    assert (tables.folder / "refunds" / "from-excel.csv").read_text() == ""


def test_both_recipes_read_amounts_in_the_same_way() -> None:
    texts = [(DOCUMENTS / name).read_text() for name in ("fees-from-files.md", "csv-and-excel.md")]
    macros = [text[text.index("CREATE MACRO amount") :].partition("\nEND;")[0] for text in texts]

    assert macros[0] == macros[1]
