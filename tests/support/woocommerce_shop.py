"""A WooCommerce shop for the tests: its rows once, as tables of either order storage, and what Klar should get of them.

The tables have the columns that the recipe reads, and other collations, as shops have after a move.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

RATE = Decimal("0.8725")  # of dollars in euros, as the recipe has it
PIECE = Decimal("10.00")  # what a refund gives back for each piece, in every currency
CUSTOMER = "Anna O'Neil Domstr. 1 Berlin anna@customer.example"


def array(**amounts: tuple[str, str]) -> str:
    """Write amounts with their currencies as PHP serializes an array of them."""
    parts = (
        f"{_text(name)}a:2:{{{_text('currency_code')}{_text(currency)}{_text('value')}{_text(value)}}}"
        for name, (currency, value) in amounts.items()
    )
    return f"a:{len(amounts)}:{{{''.join(parts)}}}"


def _text(text: str) -> str:
    return f's:{len(text)}:"{text}";'


@dataclass(frozen=True)
class Order:
    """An order, the ids of its line items, and its meta rows."""

    id: int
    items: tuple[int, ...] = ()
    currency: str = "EUR"
    method: str = "stripe"
    paid: bool = True
    meta: dict[str, str] = field(default_factory=dict)
    created: str = "2026-05-01 08:00:00"


@dataclass(frozen=True)
class Refund:
    """A refund, of each of its lines the id, the quantity and the line item, and what it gave back beyond them."""

    id: int
    order: int
    created: str
    lines: tuple[tuple[int, str, int | None], ...] = ()
    status: str = "wc-completed"
    beyond: str = "0"

    @property
    def of_pieces(self) -> Decimal:
        """Add up what was given back for pieces."""
        return sum((PIECE * abs(Decimal(quantity)) for _, quantity, _ in self.lines), Decimal(0))


@dataclass(frozen=True)
class Shop:
    """A shop's orders and refunds."""

    orders: tuple[Order, ...]
    refunds: tuple[Refund, ...]

    def hpos(self) -> str:
        """Return the tables and rows of High-Performance Order Storage."""
        sales: list[Any] = [
            (
                order.id,
                "wc-completed",
                order.currency,
                "shop_order",
                order.created,
                0,
                order.method,
                CUSTOMER,
            )
            for order in self.orders
        ]
        sales += [
            (each.id, each.status, "EUR", "shop_order_refund", each.created, each.order, None, None)
            for each in self.refunds
        ]
        more = [(order.id, "2026-05-01 08:01:00" if order.paid else None) for order in self.orders]
        meta = [(order.id, key, value) for order in self.orders for key, value in order.meta.items()]
        return (
            _HPOS
            + _insert("wp_wc_orders", sales)
            + _insert("wp_wc_order_operational_data", more)
            + (_insert("wp_wc_orders_meta", meta + self._said()) + self._items())
        )

    def _said(self) -> list[tuple[int, str, str]]:
        """Return the meta rows that either storage has: of customers, and what refunds gave back."""
        said = [(order.id, "_billing_address_index", CUSTOMER) for order in self.orders]
        return said + [(each.id, "_refund_amount", str(each.of_pieces + Decimal(each.beyond))) for each in self.refunds]

    def posts(self) -> str:
        """Return the tables and rows of WordPress posts storage, a post that is no order among them."""
        posts: list[Any] = [(1, "post", 0, "publish", "2026-04-01 08:00:00")]
        posts += [(order.id, "shop_order", 0, "wc-completed", order.created) for order in self.orders]
        posts += [(each.id, "shop_order_refund", each.order, each.status, each.created) for each in self.refunds]
        meta = [
            (order.id, key, value)
            for order in self.orders
            for key, value in {
                "_order_currency": order.currency,
                "_payment_method": order.method,
                "_date_paid": "1777622460" if order.paid else "",
                "_billing_email": CUSTOMER,
                **order.meta,
            }.items()
        ]
        return _POSTS + _insert("wp_posts", posts) + _insert("wp_postmeta", meta + self._said()) + self._items()

    def _items(self) -> str:
        items: list[Any] = [(item, "line_item", order.id) for order in self.orders for item in order.items]
        items += [(90_000 + order.id, "shipping", order.id) for order in self.orders]
        items += [(line[0], "line_item", refund.id) for refund in self.refunds for line in refund.lines]
        items += [(95_000 + refund.id, "shipping", refund.id) for refund in self.refunds]
        meta: list[Any] = [(item, "_qty", "3") for order in self.orders for item in order.items]
        for refund in self.refunds:
            meta.append((95_000 + refund.id, "_refunded_item_id", str(90_000 + refund.order)))
            for item, quantity, sold in refund.lines:
                given_back = PIECE * abs(Decimal(quantity)) or Decimal("4.00")  # a line without pieces: goodwill
                tax = (given_back * 19 / 119).quantize(Decimal("0.000001"))
                meta += [
                    (item, "_qty", quantity),
                    (item, "_line_total", str(tax - given_back)),
                    (item, "_line_tax", str(-tax)),
                ]
                if sold is not None:
                    meta.append((item, "_refunded_item_id", str(sold)))
        return _ITEMS + _insert("wp_woocommerce_order_items", items) + _insert("wp_woocommerce_order_itemmeta", meta)

    def expected_refunds(self) -> dict[str, list[dict[str, Any]]]:
        """Return the lines of each refund that Klar should hold."""
        found: dict[str, list[dict[str, Any]]] = {}
        for refund in self.refunds:
            pieces = [(item, -Decimal(quantity), sold) for item, quantity, sold in refund.lines if Decimal(quantity)]
            if pieces and refund.status != "trash":
                found[str(refund.id)] = [
                    {"id": str(item), "lineItemId": str(sold), "refundedQuantity": quantity}
                    for item, quantity, sold in sorted(pieces)
                ]
        return found

    def expected_costs(self) -> dict[str, Decimal]:
        """Add up the fees of each order, plugin by plugin."""
        costs: dict[str, Decimal] = defaultdict(Decimal)
        for order in self.orders:
            meta, key = order.meta, str(order.id)
            if stripe := meta.get("_stripe_fee") or meta.get("Stripe Fee"):
                rate = RATE if meta["_stripe_currency"] == "USD" and order.currency == "EUR" else 1
                costs[key] += (Decimal(stripe) * rate).quantize(Decimal("0.0001"), ROUND_HALF_UP)
            if "_ppcp_paypal_fees" in meta:
                costs[key] += _paypal_fee(meta["_ppcp_paypal_fees"])
            elif paypal := meta.get("_paypal_transaction_fee") or meta.get("PayPal Transaction Fee"):
                costs[key] += Decimal(paypal)
            if key in costs and "_ppcp_paypal_refund_fees" in meta:
                costs[key] -= _paypal_fee(meta["_ppcp_paypal_refund_fees"])
            for other in ("_wcpay_transaction_fee", "_mollie_fee"):
                if other in meta:
                    costs[key] += Decimal(meta[other])
        return dict(costs)

    def sums_of_refunds(self) -> dict[tuple[str, str], tuple[int, Decimal]]:
        """Count refunds and add up what they gave back: of pieces, beyond them, and without pieces, by currency."""
        currencies = {order.id: order.currency for order in self.orders}
        sums: dict[tuple[str, str], tuple[int, Decimal]] = defaultdict(lambda: (0, Decimal(0)))
        for refund in self.refunds:
            parts = {"pieces": refund.of_pieces, "beyond": Decimal(refund.beyond)}
            if not refund.of_pieces:
                parts = {"no pieces": Decimal(refund.beyond)}
            elif not parts["beyond"]:
                del parts["beyond"]
            for part, amount in parts.items() if refund.status != "trash" else ():
                number, before = sums[part, currencies[refund.order]]
                sums[part, currencies[refund.order]] = (number + 1, before + amount)
        return dict(sums)


@dataclass(frozen=True)
class Storage:
    """Where one of the two storages keeps orders and their meta rows, and what WooCommerce does there."""

    views: str
    write: Callable[[Shop], str]
    orders: str
    id: str
    status: str
    parent: str
    meta: str
    meta_order: str

    def trash(self, order: int) -> str:
        """Put an order into the trash; its refunds go with it in posts storage alone."""
        return f"UPDATE {self.orders} SET {self.status} = 'trash' WHERE {self._whole(order)};"

    def restore(self, order: int) -> str:
        """Take an order out of the trash."""
        return f"UPDATE {self.orders} SET {self.status} = 'wc-completed' WHERE {self._whole(order)};"

    def delete(self, order: int) -> str:
        """Delete an order or refund for good, its meta rows and its refunds."""
        return (
            f"DELETE FROM {self.meta} WHERE {self.meta_order} = {order};"
            f"DELETE FROM {self.orders} WHERE {order} IN ({self.id}, {self.parent});"
        )

    def add(self, order: int, key: str, value: str) -> str:
        """Write a meta row."""
        return f"INSERT INTO {self.meta} VALUES ({order}, {_literal(key)}, {_literal(value)});"

    def change(self, order: int, key: str, value: str) -> str:
        """Change a meta row."""
        return f"UPDATE {self.meta} SET meta_value = {_literal(value)} WHERE {self._row(order, key)};"

    def remove(self, order: int, key: str) -> str:
        """Delete a meta row."""
        return f"DELETE FROM {self.meta} WHERE {self._row(order, key)};"

    def _row(self, order: int, key: str) -> str:
        return f"{self.meta_order} = {order} AND meta_key = {_literal(key)}"

    def _whole(self, order: int) -> str:
        refunds = f" OR {self.parent} = {order}" if self.orders.endswith("posts") else ""
        return f"{self.id} = {order}{refunds}"


def _paypal_fee(serialized: str) -> Decimal:
    """Read the value of `paypal_fee`: the fourth text after its name."""
    texts = serialized.split('"')[1::2]
    return Decimal(texts[texts.index("paypal_fee") + 4])


def _insert(table: str, rows: list[Any]) -> str:
    if not rows:
        return ""
    values = ", ".join(f"({', '.join(map(_literal, row))})" for row in rows)
    columns = _COLUMNS[table]
    return f"INSERT INTO {table} ({columns}) VALUES {values};\n"


def _literal(value: object) -> str:
    return "NULL" if value is None else "'" + str(value).replace("\\", "\\\\").replace("'", "''") + "'"


_COLUMNS = {
    "wp_wc_orders": "id, status, currency, type, date_created_gmt, parent_order_id, payment_method, billing_email",
    "wp_wc_order_operational_data": "order_id, date_paid_gmt",
    "wp_wc_orders_meta": "order_id, meta_key, meta_value",
    "wp_posts": "ID, post_type, post_parent, post_status, post_date_gmt",
    "wp_postmeta": "post_id, meta_key, meta_value",
    "wp_woocommerce_order_items": "order_item_id, order_item_type, order_id",
    "wp_woocommerce_order_itemmeta": "order_item_id, meta_key, meta_value",
}
_HPOS = """\
CREATE DATABASE wordpress;
USE wordpress;
CREATE TABLE wp_wc_orders (
  id BIGINT UNSIGNED PRIMARY KEY, status VARCHAR(20), currency VARCHAR(10), type VARCHAR(20), date_created_gmt DATETIME,
  parent_order_id BIGINT UNSIGNED, payment_method VARCHAR(100), billing_email VARCHAR(320)
) COLLATE utf8mb4_unicode_520_ci;
CREATE TABLE wp_wc_order_operational_data (order_id BIGINT UNSIGNED UNIQUE, date_paid_gmt DATETIME);
CREATE TABLE wp_wc_orders_meta (
  order_id BIGINT UNSIGNED, meta_key VARCHAR(255), meta_value TEXT
) COLLATE utf8mb4_unicode_ci;
"""
_POSTS = """\
CREATE DATABASE wordpress;
USE wordpress;
SET SESSION sql_mode = '';
CREATE TABLE wp_posts (
  ID BIGINT UNSIGNED PRIMARY KEY, post_type VARCHAR(20), post_parent BIGINT UNSIGNED, post_status VARCHAR(20),
  post_date_gmt DATETIME DEFAULT '0000-00-00 00:00:00', post_content LONGTEXT
) CHARACTER SET utf8mb3 COLLATE utf8mb3_unicode_ci;
CREATE TABLE wp_postmeta (
  post_id BIGINT UNSIGNED, meta_key VARCHAR(255), meta_value LONGTEXT
) COLLATE utf8mb4_unicode_ci;
"""
_ITEMS = """\
CREATE TABLE wp_woocommerce_order_items (
  order_item_id BIGINT UNSIGNED PRIMARY KEY, order_item_type VARCHAR(200), order_id BIGINT UNSIGNED
) COLLATE utf8mb4_general_ci;
CREATE TABLE wp_woocommerce_order_itemmeta (
  order_item_id BIGINT UNSIGNED, meta_key VARCHAR(255), meta_value LONGTEXT
) COLLATE utf8mb4_unicode_520_ci;
"""

HPOS = Storage(
    "shop.sql",
    Shop.hpos,
    "wordpress.wp_wc_orders",
    "id",
    "status",
    "parent_order_id",
    "wordpress.wp_wc_orders_meta",
    "order_id",
)
POSTS = Storage(
    "shop-posts.sql",
    Shop.posts,
    "wordpress.wp_posts",
    "ID",
    "post_status",
    "post_parent",
    "wordpress.wp_postmeta",
    "post_id",
)
