"""A Shopware 6 shop for the tests: orders whose amounts are made as Shopware makes them, and its Admin API.

A line's price and taxes are rounded to cents. The order's taxes are the sum of its lines' taxes (horizontal), or made
of the sum of their prices (vertical). A promotion is taxed in proportion to the prices that it reduces.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections import defaultdict
from contextlib import contextmanager
from decimal import ROUND_HALF_UP, Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Iterator

CENT = Decimal("0.01")
KEY = {"grant_type": "client_credentials", "client_id": "an-integration", "client_secret": "not-a-secret"}
Taxed = dict[Decimal, Decimal]
"""Amounts by tax rate."""


def cents(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, ROUND_HALF_UP)


class Cart:
    """One order in the making."""

    def __init__(self, number: int, tax_status: str = "gross", *, vertical: bool = False, unit: Decimal = CENT) -> None:
        """Begin with the order's number, whether prices are gross, how taxes add up, and the currency's least coin."""
        self.number = number
        self.tax_status = tax_status
        self.vertical = vertical
        self.unit = unit
        self.items: list[dict[str, Any]] = []
        self.prices: list[dict[str, Any]] = []
        self._goods: list[tuple[Decimal, Decimal]] = []

    def add(self, unit: str, quantity: int, rate: str, **fields: Any) -> None:
        """Add a product."""
        total = Decimal(unit) * quantity
        self._goods.append((Decimal(rate), total))
        self._item(self._price({Decimal(rate): total}, Decimal(unit), quantity), "product", **fields)

    def reduce(self, amount: str, *places: int) -> None:
        """Add a promotion on the products at these places, from 1 on, in proportion to what they cost."""
        parts = self._shares(amount, places)
        composition = [{"id": f"cart-{place}", "quantity": 1, "discount": part} for place, _, part in parts]
        self._reduce(amount, parts, "promotion", {"code": "MAY", "composition": composition})

    def credit(self, amount: str) -> None:
        """Add a credit, which names no product."""
        self._reduce(amount, self._shares(amount, range(1, len(self._goods) + 1)), "credit", None)

    def ship_free(self) -> None:
        """Add the line that a promotion on shipping leaves."""
        self._reduce("0.00", [], "promotion", {"code": "FREE"})

    def _shares(self, amount: str, places: Iterable[int]) -> list[tuple[int, Decimal, Decimal]]:
        reduced = [(place, *self._goods[place - 1]) for place in places]
        whole = sum(price for _, _, price in reduced)
        return [(place, rate, Decimal(amount) * price / whole) for place, rate, price in reduced]

    def _reduce(self, amount: str, parts: list[tuple[int, Decimal, Decimal]], kind: str, payload: object) -> None:
        taxed: Taxed = defaultdict(Decimal)
        for _, rate, part in parts:
            taxed[rate] -= part
        self._item(self._price(taxed, -Decimal(amount), 1), kind, payload=payload)

    def order(self, shipping: str, rate: str = "19", rounded_to: str = "0.01", **fields: Any) -> dict[str, Any]:
        """Return the order as the Admin API has it."""
        shipped = self._price({Decimal(rate): Decimal(shipping)}, Decimal(shipping), 1)
        prices = [*self.prices, shipped]
        taxes = self._taxes(prices)
        position = sum((price["totalPrice"] for price in self.prices), Decimal())
        shown = position + shipped["totalPrice"]
        tax = sum((tax["tax"] for tax in taxes), Decimal())
        net, raw = (shown, shown + tax) if self.tax_status == "net" else (shown - tax, shown)
        interval = Decimal(rounded_to)
        total = (raw / interval).quantize(Decimal(1), ROUND_HALF_UP) * interval
        price = {
            "netPrice": net,
            "totalPrice": total,
            "rawTotal": raw,
            "positionPrice": position,
            "taxStatus": self.tax_status,
            "calculatedTaxes": taxes,
        }
        return {
            "id": f"{self.number:032x}",
            "orderNumber": str(10_000 + self.number),
            "orderDateTime": "2026-05-04T09:30:00.000+00:00",
            "updatedAt": "2026-05-05T10:00:00.000+00:00",
            "price": price,
            "amountTotal": total,
            "amountNet": net,
            "positionPrice": position,
            "taxStatus": self.tax_status,
            "shippingTotal": shipped["totalPrice"],
            "shippingCosts": shipped,
            "itemRounding": {"decimals": 2 if self.unit == CENT else 0, "interval": self.unit, "roundForNet": True},
            "currency": {"isoCode": "EUR" if self.unit == CENT else "JPY"},
            "currencyFactor": 1 if self.unit == CENT else Decimal("162.4"),
            "salesChannel": {"name": "Storefront"},
            "billingAddress": {"country": {"iso": "AT"}, "city": "Linz"},
            "stateMachineState": {"technicalName": "open"},
            "orderCustomer": {"customerId": f"{7:032x}", "email": "ada@example.com"},
            "tags": [],
            "lineItems": self.items,
            "deliveries": [
                {
                    "shippingCosts": shipped,
                    "stateMachineState": {"technicalName": "shipped"},
                    "shippingOrderAddress": {"country": {"iso": "DE"}, "city": "Berlin"},
                }
            ],
            "transactions": [
                {
                    "createdAt": f"2026-05-04T09:3{minute}:00.000+00:00",
                    "stateMachineState": {"technicalName": state},
                    "paymentMethod": {"name": name},
                }
                for minute, state, name in ((2, "paid", "PayPal"), (1, "failed", "Card"))
            ],
        } | fields

    def _item(self, price: dict[str, Any], kind: str, **fields: Any) -> None:
        self.prices.append(price)
        place = len(self.items) + 1
        self.items.append(
            {
                "id": f"{self.number * 1000 + place:032x}",
                "identifier": f"cart-{place}",
                "parentId": None,
                "productId": f"{place:032x}" if kind == "product" else None,
                "type": kind,
                "label": f"{kind} {place}",
                "quantity": price["quantity"],
                "payload": {"productNumber": f"SW-{place}"},
                "price": price,
                "totalPrice": price["totalPrice"],
            }
            | fields
        )

    def _price(self, by_rate: Taxed, unit: Decimal, quantity: int) -> dict[str, Any]:
        taxes = [self._tax(rate, amount) for rate, amount in by_rate.items() if self.tax_status != "tax-free"]
        return {"unitPrice": unit, "quantity": quantity, "totalPrice": unit * quantity, "calculatedTaxes": taxes}

    def _tax(self, rate: Decimal, amount: Decimal) -> dict[str, Decimal]:
        base = 100 if self.tax_status == "net" else 100 + rate
        return {"taxRate": rate, "price": amount, "tax": (amount * rate / base).quantize(self.unit, ROUND_HALF_UP)}

    def _taxes(self, prices: list[dict[str, Any]]) -> list[dict[str, Decimal]]:
        found: dict[Decimal, dict[str, Decimal]] = {}
        for tax in itertools.chain.from_iterable(price["calculatedTaxes"] for price in prices):
            seen = found.setdefault(tax["taxRate"], {"taxRate": tax["taxRate"], "price": Decimal(), "tax": Decimal()})
            seen["price"] += tax["price"]
            seen["tax"] += tax["tax"]
        return [self._tax(tax["taxRate"], tax["price"]) if self.vertical else tax for tax in found.values()]


def drawn(number: int, draw: random.Random) -> dict[str, Any]:
    """Draw an order: any tax status, up to six lines of three rates, free ones too, two promotions on some of them."""
    cart = Cart(number, draw.choice(["gross", "gross", "net", "tax-free"]), vertical=draw.random() < 0.5)
    cart.add(f"{draw.randint(500, 9_999) / 100:.2f}", draw.randint(1, 7), "19")
    for _ in range(draw.randint(0, 5)):
        unit = "0.00" if draw.random() < 0.1 else f"{draw.randint(1, 9_999) / 100:.2f}"
        cart.add(unit, draw.randint(1, 7), draw.choice(["19", "7", "0"]))
    prices = [price["totalPrice"] for price in cart.prices]
    for _ in range(draw.randint(0, 2)):
        places = sorted({1, *draw.choices(range(1, len(prices) + 1), k=len(prices))})
        share = draw.randint(1, 49)  # two of them leave something
        cart.reduce(str(cents(sum(prices[place - 1] for place in places) * share / 100)), *places)
    return cart.order(f"{draw.choice([0, 490, 695]) / 100:.2f}", rounded_to=draw.choice(["0.01", "0.05"]))


def with_voucher(number: int, percent: int, draw: random.Random) -> dict[str, Any]:
    """Draw an order with a voucher of so many per cent on all of it, small prices among them, and at times a credit.

    The credit may be more than the voucher leaves of the products; a part of the shipping is left in any case.
    """
    unit = draw.choice([CENT, CENT, CENT, Decimal(1)])
    cart = Cart(number, draw.choice(["gross", "gross", "net", "tax-free"]), vertical=draw.random() < 0.3, unit=unit)
    for _ in range(draw.choice([1, 2, 2, 3, 5, 12])):
        price = unit * draw.choice([0, draw.randint(1, 120), draw.randint(1, 120), draw.randint(1, 9_999)])
        cart.add(str(price), draw.choice([1, 1, 2, 7]), draw.choice(["19", "19", "7", "8.1", "0"]))
    whole = sum((price["totalPrice"] for price in cart.prices), Decimal())
    off = (whole * percent / 100).quantize(unit, ROUND_HALF_UP)
    shipping = unit * draw.choice([0, 0, 490, 695])
    if off:
        cart.reduce(str(off), *range(1, len(cart.prices) + 1))
    if whole and draw.random() < 0.2:
        most = int((whole - off + shipping / 2) / unit)
        cart.credit(str(unit * draw.randint(min(1, most), most)))
    return cart.order(str(shipping), draw.choice(["19", "7"]), str(unit))


def written(orders: list[dict[str, Any]]) -> str:
    """Write an answer of the search, its amounts as PHP writes floats."""
    return json.dumps({"total": len(orders), "data": orders, "aggregations": []}, default=float)


@contextmanager
def admin_api(orders: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Serve the Admin API's token and search until the block ends; yield its address and the searches that came."""
    searches: list[dict[str, Any]] = []

    class Api(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/api/oauth/token" and body == KEY:
                return self._answer(200, json.dumps({"token_type": "Bearer", "expires_in": 600, "access_token": "t"}))
            wanted = ("/api/search/order", "Bearer t", "application/json")
            if (self.path, self.headers["Authorization"], self.headers["Accept"]) != wanted:
                return self._answer(401, "{}")
            searches.append(body)
            first = (body["page"] - 1) * body["limit"]
            return self._answer(200, written(orders[first : first + body["limit"]]))

        def _answer(self, status: int, text: str) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", searches
        server.shutdown()
