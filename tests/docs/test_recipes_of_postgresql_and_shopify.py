"""The recipes of PostgreSQL and Shopify in docs/recipes.md, under Meltano: run as they stand in the document."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest
import yaml
from pipelines import ROOT, Project, installation, project, recipe
from postgres import Database, postgres

from target_klar.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow
on_postgres = pytest.mark.xdist_group("PostgreSQL")
"""What needs a server runs in one worker, so that there is one server a session."""

SQL_STATE = "prod:tap-postgres-to-target-klar"
SHOP = dedent("""\
    CREATE SCHEMA shop;
    CREATE TABLE shop.refund (
      id bigint PRIMARY KEY,
      created_at timestamptz NOT NULL,
      updated_at timestamptz NOT NULL,
      cancelled_at timestamptz
    );
    CREATE TABLE shop.refund_line (
      id bigint PRIMARY KEY, refund_id bigint, order_line_id bigint, quantity int, reason text
    );
    CREATE TABLE shop.payment (order_id bigint, fee numeric(20, 2), updated_at timestamp);
    INSERT INTO shop.refund VALUES
      (1, '2026-05-04 09:30:00.5+02', '2026-05-04 09:30:00.5+02', NULL),
      (2, '2026-05-05 10:00:00+00', '2026-05-05 10:00:00+00', NULL),
      (3, '2026-05-06 10:00:00+00', '2026-05-06 10:00:00+00', NULL);
    INSERT INTO shop.refund_line VALUES
      (11, 1, 101, 2, 'too small'), (12, 1, 102, 1, NULL), (13, 2, 103, 1, 'arrived damaged');
    INSERT INTO shop.payment VALUES
      (7, 1.10, '2026-05-04 09:00:00'),
      (7, 12345678901234567.89, '2026-05-04 09:00:01'),
      (8, 0.35, '2026-05-05 09:00:00'),
      (8, -0.10, '2026-05-05 09:30:00');
    """)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Database]:
    with postgres() as first:
        yield first


@pytest.fixture
def database(postgres_server: Database, tmp_path: Path) -> Database:
    """A database of the test's own."""
    return postgres_server.another(tmp_path.name)


def sql_project(folder: Path, heading: str, addresses: dict[str, str], **environment: str) -> Project:
    return project(folder, recipe(heading, "meltano"), addresses, **environment)


def costs_at_klar(klar: Sandbox) -> dict[str, Decimal]:
    return {key: Decimal(held["transactionCosts"]) for key, held in klar.transaction_costs.items()}


@on_postgres
def test_views_over_a_database_are_loaded_once_and_later_only_what_changed(tmp_path: Path, database: Database) -> None:
    with Sandbox() as klar:
        database.execute(SHOP + recipe("Any SQL source", "sql"))
        shop = sql_project(
            tmp_path,
            "Any SQL source",
            {"target-klar": klar.url},
            TARGET_KLAR_API_TOKEN=klar.token,
            **database.tap_settings,
        )
        first = shop.run("tap-postgres", "target-klar")

        assert first.code == 0, first.log
        assert klar.refunds == {
            "1": {
                "id": "1",
                "createdAt": 1777879800,
                "updatedAt": 1777879800,
                "lineItems": [
                    {"id": "11", "lineItemId": "101", "refundedQuantity": 2, "reasonDescriptor": "too small"},
                    {"id": "12", "lineItemId": "102", "refundedQuantity": 1},
                ],
            },
            "2": {
                "id": "2",
                "createdAt": 1777975200,
                "updatedAt": 1777975200,
                "lineItems": [
                    {
                        "id": "13",
                        "lineItemId": "103",
                        "refundedQuantity": 1,
                        "reasonDescriptor": "arrived damaged",
                    }
                ],
            },
        }
        assert costs_at_klar(klar) == {"7": Decimal("12345678901234568.99"), "8": Decimal("0.25")}
        assert bookmarks(shop) == {
            "klar-refunds": "2026-05-05T10:00:00.000000+00:00",
            "klar-transaction_costs": "2026-05-05T09:30:00.000000+00:00",
        }

        database.execute("""
            UPDATE shop.refund SET cancelled_at = '2026-05-07', updated_at = '2026-05-07' WHERE id = 1;
            DELETE FROM shop.refund_line WHERE refund_id = 1;
            INSERT INTO shop.payment VALUES (7, 0.01, '2026-05-08 09:00:00');
            """)
        klar.clear()
        second = shop.run("tap-postgres", "target-klar")

        assert second.code == 0, second.log
        assert {key: held["lineItems"] == [] for key, held in klar.refunds.items()} == {"1": True, "2": False}
        assert costs_at_klar(klar) == {"7": Decimal("12345678901234569.00"), "8": Decimal("0.25")}
        assert bookmarks(shop) == {
            "klar-refunds": "2026-05-07T00:00:00.000000+00:00",
            "klar-transaction_costs": "2026-05-08T09:00:00.000000+00:00",
        }

        # Neither lets `updated_at` rise, so that an incremental run would not see them.
        database.execute("""
            DELETE FROM shop.payment WHERE fee = -0.10;
            UPDATE shop.payment SET fee = 0.30 WHERE order_id = 8;
            """)
        weekly = shop.run("--full-refresh", "tap-postgres", "target-klar")

        assert weekly.code == 0, weekly.log
        assert costs_at_klar(klar) == {"7": Decimal("12345678901234569.00"), "8": Decimal("0.30")}


def bookmarks(shop: Project) -> dict[str, str]:
    state = shop.state(SQL_STATE)
    assert state is not None
    return {stream: mark["replication_key_value"] for stream, mark in state["bookmarks"].items()}


PROVIDERS = dedent("""\
    CREATE SCHEMA shopify;
    CREATE TABLE shopify.transactions (
      id text, "order" jsonb, status text, test boolean, amount_set jsonb, fees jsonb,
      settlement_currency text, settlement_currency_rate numeric, _sdc_batched_at timestamp
    );
    INSERT INTO shopify.transactions VALUES
      ('t1', '{"id": "gid://shopify/Order/1001"}', 'SUCCESS', false, '{"presentmentMoney": {"currencyCode": "EUR"}}',
       '[{"amount": {"amount": "1.16", "currencyCode": "EUR"}}, {"amount": {"amount": "0.25", "currencyCode": "EUR"}}]',
       'EUR', 1, '2026-05-04'),
      ('t2', '{"id": "gid://shopify/Order/1001"}', 'SUCCESS', false, '{"presentmentMoney": {"currencyCode": "EUR"}}',
       '[{"amount": {"amount": "0.30", "currencyCode": "EUR"}}]', 'EUR', 1, '2026-05-06'),
      ('t3', '{"id": "gid://shopify/Order/1002"}', 'SUCCESS', false, '{"presentmentMoney": {"currencyCode": "USD"}}',
       '[{"amount": {"amount": "1.80", "currencyCode": "EUR"}}]', 'EUR', 0.9, '2026-05-04'),
      ('t4', '{"id": "gid://shopify/Order/1003"}', 'FAILURE', false, '{"presentmentMoney": {"currencyCode": "EUR"}}',
       '[{"amount": {"amount": "9.99", "currencyCode": "EUR"}}]', 'EUR', 1, '2026-05-04');
    CREATE SCHEMA stripe;
    CREATE TABLE stripe.balance_transactions (
      id text, fee bigint, currency text, exchange_rate numeric, _sdc_batched_at timestamp
    );
    CREATE TABLE stripe.charges (
      id text, metadata jsonb, balance_transaction text, refunds jsonb, _sdc_batched_at timestamp
    );
    INSERT INTO stripe.balance_transactions VALUES
      ('txn_1', 107, 'eur', NULL, '2026-05-04'), ('txn_2', 3, 'eur', NULL, '2026-05-05'),
      ('txn_3', 58, 'eur', 1.16, '2026-05-04'), ('txn_4', 360, 'jpy', NULL, '2026-05-04');
    INSERT INTO stripe.charges VALUES
      ('ch_1', '{"order_id": "2001"}', 'txn_1', '[{"id": "re_1", "balance_transaction": "txn_2"}]', '2026-05-04'),
      ('ch_2', '{"order_id": "2002"}', 'txn_3', '[]', '2026-05-04'),
      ('ch_3', '{"order_id": "2003"}', 'txn_4', '[]', '2026-05-04'),
      ('ch_4', '{}', 'txn_4', '[]', '2026-05-04');
    CREATE SCHEMA paypal;
    CREATE TABLE paypal.transactions (transaction_info jsonb, _sdc_batched_at timestamp);
    INSERT INTO paypal.transactions VALUES
      ('{"invoice_id": "3001", "fee_amount": {"currency_code": "EUR", "value": "-0.84"}}', '2026-05-04'),
      ('{"invoice_id": "3001", "fee_amount": {"currency_code": "EUR", "value": "0.10"}}', '2026-05-05'),
      ('{"invoice_id": "3002"}', '2026-05-04');
    """)


@on_postgres
def test_the_fees_of_three_providers_become_one_exact_cost_an_order(tmp_path: Path, database: Database) -> None:
    with Sandbox() as klar:
        database.execute(PROVIDERS + recipe("Payment fees", "sql"))
        shop = sql_project(
            tmp_path,
            "Payment fees",
            {"target-klar": klar.url},
            TARGET_KLAR_API_TOKEN=klar.token,
            **database.tap_settings,
        )
        loaded = shop.run("tap-postgres", "target-klar")

        assert loaded.code == 0, loaded.log
        assert costs_at_klar(klar) == {
            "1001": Decimal("1.71"),
            "1002": Decimal(2),
            "2001": Decimal("1.10"),
            "2002": Decimal("0.5"),
            "2003": Decimal(360),
            "3001": Decimal("0.74"),
        }


@on_postgres
def test_costs_and_refunds_go_to_two_data_sources_with_a_token_each(tmp_path: Path, database: Database) -> None:
    with Sandbox() as klar, Sandbox() as returns:
        database.execute(SHOP + recipe("Any SQL source", "sql"))
        shop = sql_project(
            tmp_path,
            "Two tokens",
            {"target-klar": klar.url, "target-klar-returns": returns.url},
            TARGET_KLAR_API_TOKEN=klar.token,
            **database.tap_settings,
        )
        blocks = ("tap-postgres-costs", "target-klar", "tap-postgres-refunds", "target-klar-returns")
        unset = shop.run(*blocks)

        assert unset.code == 1
        (told,) = unset.lines("[error    ] target-klar-returns")
        assert "`api_token` is not set. Meltano passes on TARGET_KLAR_RETURNS_API_TOKEN if " in told
        assert "--config=ENV" not in unset.log
        assert (list(klar.transaction_costs), list(klar.refunds), returns.requests) == (["7", "8"], [], [])

        loaded = shop.run(*blocks, TARGET_KLAR_RETURNS_API_TOKEN=returns.token)

        assert loaded.code == 0, loaded.log
        assert "are not read" not in loaded.log
        assert (list(klar.transaction_costs), list(klar.refunds)) == (["7", "8"], [])
        assert (list(returns.transaction_costs), list(returns.refunds)) == ([], ["1", "2"])
        assert shop.state("prod:tap-postgres-costs-to-target-klar") is not None
        assert shop.state("prod:tap-postgres-refunds-to-target-klar-returns") is not None


@pytest.mark.xdist_group("Meltano")
def test_shopify_refunds_arrive_with_the_ids_that_klar_knows(tmp_path: Path) -> None:
    with Sandbox() as klar:
        shop = sql_project(
            tmp_path,
            "Refunds from Shopify",
            {"target-klar": klar.url},
            TARGET_KLAR_API_TOKEN=klar.token,
            TAP_SHOPIFY_SHOP="a-shop",
            TAP_SHOPIFY_API_KEY="not-asked-for",
        )
        take_shopify_offline(shop)
        first = shop.run("tap-shopify", "target-klar")
        posts = len(klar.posts())

        assert first.code == 0, first.log
        assert klar.refunds == {
            "929361461": {
                "id": "929361461",
                "createdAt": 1777887000,
                "updatedAt": 1777887060,
                "lineItems": [
                    {"id": "104689539", "lineItemId": "703073504", "refundedQuantity": 2},
                    {"id": "104689540", "lineItemId": "703073505", "refundedQuantity": 1},
                ],
            },
            "929361463": {
                "id": "929361463",
                "createdAt": 1778006710,
                "updatedAt": 1778093110,
                "lineItems": [{"id": "104689541", "lineItemId": "703073601", "refundedQuantity": 1}],
            },
        }
        assert first.lines("[warning  ] target-klar") == []

        second = shop.run("tap-shopify", "target-klar")

        assert second.code == 0, second.log
        assert [post.count for post in klar.posts()[posts:]] == [1], "the newest refund alone is read again"


def take_shopify_offline(shop: Project) -> None:
    """Puts our script in place of the tap's own, under the tap's own interpreter."""
    python = installation() / "plugins/.meltano/extractors/tap-shopify/venv/bin/python"
    plugin = shop.folder / ".meltano/extractors/tap-shopify"
    plugin.unlink()
    executable = plugin / "venv/bin/tap-shopify"
    executable.parent.mkdir(parents=True)
    executable.write_text(f'#!/bin/sh\nexec "{python}" "{ROOT}/tests/support/tap_shopify_offline.py" "$@"\n')
    executable.chmod(0o755)


def test_a_source_with_one_row_an_order_needs_only_a_stream_map(tmp_path: Path) -> None:
    rows = [
        {"type": "SCHEMA", "stream": "order_fees", "key_properties": ["order_id"], "schema": {}},
        {
            "type": "RECORD",
            "stream": "order_fees",
            "record": {"order_id": 1001, "fee_total": "1.10", "customer_email": "erika@example.com"},
        },
    ]
    rows[0]["schema"] = {"properties": {"order_id": {"type": "integer"}, "fee_total": {"type": "string"}}}
    with Sandbox() as klar:
        config = tmp_path / "config.json"
        mapping = yaml.safe_load(recipe("Payment fees", "yaml"))
        config.write_text(json.dumps({"api_url": klar.url, "api_token": klar.token, **mapping}))
        loaded = subprocess.run(
            [sys.executable, "-m", "target_klar", "--config", config],
            input="".join(f"{json.dumps(row)}\n" for row in rows),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

        assert loaded.returncode == 0, loaded.stderr
        assert klar.transaction_costs == {"1001": {"orderId": "1001", "transactionCosts": Decimal("1.10")}}
