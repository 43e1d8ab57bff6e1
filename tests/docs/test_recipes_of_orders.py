"""The recipes of a shop of one's own and of a platform shop: what arrives, digit for digit against the SQL."""

from __future__ import annotations

import re
from decimal import Decimal
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest
from mariadb import Server, mariadb
from pipelines import project, recipe
from test_recipes_of_postgresql_and_shopify import database, on_postgres, postgres_server

from target_klar.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postgres import Database

__all__ = ["database", "postgres_server"]  # fixtures
pytestmark = pytest.mark.slow

SHOP = dedent("""\
    CREATE SCHEMA shop;
    CREATE TABLE shop.sale (
      id bigint, created_at timestamptz, updated_at timestamptz, cancelled_at timestamptz, currency text, country text,
      freight numeric, customer_id bigint, email_hash text
    );
    CREATE TABLE shop.line (
      id bigint, order_id bigint, sku text, name text, quantity int, gross_price numeric, net_total numeric,
      purchase_price numeric, freight numeric
    );
    CREATE TABLE shop.line_tax (id bigint, line_id bigint, title text, rate numeric, amount numeric);
    CREATE TABLE shop.refunded (id bigint, line_id bigint, quantity int, created_at timestamptz);
    INSERT INTO shop.sale VALUES
      (1, '2026-05-04 09:30+00', '2026-05-04 09:30+00', NULL, 'EUR', 'DE', 4.90, 77, 'f00'),
      (2, '2026-05-05 10:00+00', '2026-05-06 10:00+00', '2026-05-06 10:00+00', 'EUR', 'AT', 0, 78, NULL);
    INSERT INTO shop.line VALUES
      (11, 1, 'A', 'A shirt', 2, 3.50, 4.710000000000000019, 0.10, 1.1),
      (12, 1, 'B', 'A bond', 1, 12345678901234567.89, 10374528488432409.99, 0.30000000000000004, NULL),
      (21, 2, 'A', 'A shirt', 1, 3.50, 3.27, 0.10, NULL);
    INSERT INTO shop.line_tax VALUES (1, 11, 'VAT', 0.07, 0.17), (2, 12, 'VAT', 0.19, 1971150412802157.90);
    INSERT INTO shop.refunded VALUES (5, 11, 1, '2026-05-06 09:00+00');
    """)

# In the dialect that PostgreSQL and MariaDB share; a schema of the one is a database of the other.
ERP = dedent("""\
    CREATE SCHEMA erp;
    CREATE TABLE erp.refund (id bigint PRIMARY KEY, created_at timestamp NOT NULL, updated_at timestamp NOT NULL);
    CREATE TABLE erp.refund_line (id bigint, refund_id bigint, order_line_id bigint, quantity int);
    CREATE TABLE erp.payment (order_id bigint, fee numeric(20, 2), updated_at timestamp);
    CREATE TABLE erp.shipment (order_id bigint, freight numeric(20, 3), updated_at timestamp);
    CREATE TABLE erp.delivery (
      order_id bigint, sku varchar(20), quantity int, purchase_price numeric(20, 4), updated_at timestamp
    );
    INSERT INTO erp.refund VALUES (1, '2026-05-04 09:30:00', '2026-05-04 09:30:00');
    INSERT INTO erp.refund_line VALUES (11, 1, 101, 2), (12, 1, 102, 1);
    INSERT INTO erp.payment VALUES
      (7, 1.10, '2026-05-04 09:00:00'), (7, 12345678901234567.89, '2026-05-04 09:00:01'),
      (8, 0.35, '2026-05-05 09:00:00');
    INSERT INTO erp.shipment VALUES (7, 4.905, '2026-05-04 09:00:00'), (7, 0.1, '2026-05-05 09:00:00');
    INSERT INTO erp.delivery VALUES
      (7, 'A', 1, 0.1000, '2026-05-04 09:00:00'), (7, 'A', 2, 0.2000, '2026-05-04 09:00:00'),
      (7, 'B', 3, 999999999999.1234, '2026-05-05 09:00:00');
    """)
COSTS_OF_ORDERS = {
    "transaction_costs": "SELECT order_id, sum(fee) FROM erp.payment GROUP BY order_id ORDER BY order_id",
    "logistics_costs": "SELECT order_id, sum(freight) FROM erp.shipment GROUP BY order_id ORDER BY order_id",
    "cogs": (
        "SELECT concat(order_id, ' sku=', sku), round(sum(purchase_price * quantity) / sum(quantity), 4) "
        "FROM erp.delivery GROUP BY order_id, sku ORDER BY sku"
    ),
}
AMOUNTS = {"transaction_costs": "transactionCosts", "logistics_costs": "totalLogisticsCosts", "cogs": "productCogs"}


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[Server]:
    with mariadb() as running:
        yield running


@on_postgres
def test_a_shop_of_ones_own_sends_orders_with_all_that_belongs_to_them(tmp_path: Path, database: Database) -> None:
    heading = "A shop of one's own"
    with Sandbox() as klar:
        database.execute(SHOP + recipe(heading, "sql"))
        settings = database.tap_settings | {"TARGET_KLAR_API_TOKEN": klar.token}
        shop = project(tmp_path, recipe(heading, "meltano"), {"target-klar": klar.url}, **settings)
        loaded = shop.run("tap-postgres", "target-klar")
        lines = rows(database.execute("SELECT id, purchase_price, quantity * gross_price, net_total FROM shop.line"))

        assert loaded.code == 0, loaded.log
        assert klar.orders["1"] == {
            "id": "1",
            "createdAt": 1777887000,
            "updatedAt": 1777887000,
            "currencyCodeIso3Letter": "EUR",
            "lineItems": [
                {
                    "id": "11",
                    "sku": "A",
                    "productName": "A shirt",
                    "quantity": 2,
                    "productCogs": Decimal("0.10"),
                    "totalAmountBeforeTaxesAndDiscounts": Decimal("7.00"),
                    "totalAmountAfterTaxesAndDiscounts": Decimal("4.710000000000000019"),
                    "totalLogisticsCosts": Decimal("1.1"),
                    "taxes": [{"title": "VAT", "taxRate": Decimal("0.07"), "taxAmount": Decimal("0.17")}],
                },
                {
                    "id": "12",
                    "sku": "B",
                    "productName": "A bond",
                    "quantity": 1,
                    "productCogs": Decimal("0.30000000000000004"),
                    "totalAmountBeforeTaxesAndDiscounts": Decimal("12345678901234567.89"),
                    "totalAmountAfterTaxesAndDiscounts": Decimal("10374528488432409.99"),
                    "taxes": [
                        {"title": "VAT", "taxRate": Decimal("0.19"), "taxAmount": Decimal("1971150412802157.90")}
                    ],
                },
            ],
            "refundedLineItems": [{"id": "5", "lineItemId": "11", "refundedQuantity": 1, "createdAt": 1778058000}],
            "shipping": {"countryCodeIso2Letter": "DE", "totalLogisticsCosts": Decimal("4.90")},
            "customer": {"id": "77", "emailHash": "f00"},
        }
        assert klar.orders["2"]["cancelledAt"] == 1778061600
        assert "refundedLineItems" not in klar.orders["2"]
        assert lines == {
            line["id"]: (
                line["productCogs"],
                line["totalAmountBeforeTaxesAndDiscounts"],
                line["totalAmountAfterTaxesAndDiscounts"],
            )
            for order in klar.orders.values()
            for line in order["lineItems"]
        }


@on_postgres
def test_a_platform_shop_gets_four_streams_from_postgresql(tmp_path: Path, database: Database) -> None:
    database.execute(ERP + recipe("Costs for a platform shop", "sql"))
    wanted = {stream: rows(database.execute(query)) for stream, query in COSTS_OF_ORDERS.items()}
    four_streams(tmp_path, "Costs for a platform shop", "tap-postgres", database.tap_settings, wanted)


@pytest.mark.xdist_group("Meltano")
def test_a_platform_shop_gets_four_streams_from_mariadb(tmp_path: Path, mariadb_server: Server) -> None:
    heading = "The same in MySQL or MariaDB"
    mariadb_server.execute(ERP + recipe(heading, "sql"))
    wanted = {stream: rows(mariadb_server.execute(f"{query};")) for stream, query in COSTS_OF_ORDERS.items()}
    four_streams(tmp_path, heading, "tap-mysql", mariadb_server.tap_settings, wanted)


def four_streams(
    folder: Path, heading: str, tap: str, settings: dict[str, str], wanted: dict[str, dict[str, tuple[Decimal, ...]]]
) -> None:
    """Load the ERP twice, and hold what arrives against the SQL of the costs, digit for digit."""
    with Sandbox() as klar:
        environment = settings | {"TARGET_KLAR_API_TOKEN": klar.token}
        shop = project(folder, recipe(heading, "meltano"), {"target-klar": klar.url}, **environment)
        first = shop.run(tap, "target-klar")

        assert first.code == 0, first.log
        (refund,) = klar.refunds.values()
        items = sorted(refund.pop("lineItems"), key=lambda item: str(item["id"]))
        assert refund == {"id": "1", "createdAt": 1777887000, "updatedAt": 1777887000}
        assert items == [
            {"id": "11", "lineItemId": "101", "refundedQuantity": 2},
            {"id": "12", "lineItemId": "102", "refundedQuantity": 1},
        ]
        assert {stream: amounts(klar, stream) for stream in AMOUNTS} == wanted
        assert wanted["transaction_costs"]["7"] == (Decimal("12345678901234568.99"),)
        assert wanted["cogs"] == {"7 sku=A": (Decimal("0.1667"),), "7 sku=B": (Decimal("999999999999.1234"),)}
        assert first.lines("[warning  ] target-klar") == []

        klar.clear()
        second = shop.run(tap, "target-klar")

        assert second.code == 0, second.log
        assert {stream: klar.count(stream) for stream in ("refunds", *AMOUNTS)} == {
            "refunds": 1,
            "transaction_costs": 1,
            "logistics_costs": 1,
            "cogs": 1,
        }, "the newest row of each is read again, and no other"


def amounts(klar: Sandbox, stream: str) -> dict[str, tuple[Decimal, ...]]:
    return {key: (Decimal(sent[AMOUNTS[stream]]),) for key, sent in klar.held(stream).items()}


def rows(printed: str) -> dict[str, tuple[Decimal, ...]]:
    """Read what a database's client prints: a key, and numbers."""
    split = [re.split(r"[|\t]", line) for line in printed.splitlines()]
    return {key: tuple(map(Decimal, numbers)) for key, *numbers in split}
