"""Numbers, over the whole program: each arrives with the decimal value, and the digits, that the tap wrote."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from forked import run
from messages import COSTS_SCHEMA, schema, state

if TYPE_CHECKING:
    from target_klar.sandbox import Sandbox


NUMBERS = ["1.10", "0.1", "2.675", "1e-7", "12345678901234567.89", "9223372036854775807", "18446744073709551616"]
NUMBERS += ["123456789012345678901234567890", "-0.00", "100", "-19.99", "0"]


@pytest.mark.parametrize("maps", [None, {"transaction_costs": {}}], ids=["unmapped", "mapped"])
def test_a_number_arrives_with_the_decimal_value_that_the_tap_wrote(klar: Sandbox, maps: Any) -> None:
    body = '{"type": "RECORD", "stream": "transaction_costs", "record": {"orderId": "%s", "transactionCosts": %s}}'
    as_text = [json.dumps(number) for number in NUMBERS]
    lines = [body % (index, number) for index, number in enumerate(NUMBERS + as_text)]
    ended = run(klar, [COSTS_SCHEMA, *lines], **({"stream_maps": maps} if maps else {}))
    assert ended.code == 0
    sent = json.loads(klar.bodies[0], parse_float=str, parse_int=str)["items"]
    assert [Decimal(each["transactionCosts"]) for each in sent] == [*map(Decimal, NUMBERS), *map(Decimal, NUMBERS)]
    for number in ("1.10", "2.675", "12345678901234567.89", "123456789012345678901234567890"):
        assert klar.bodies[0].replace(b" ", b"").count(f'"transactionCosts":{number}'.encode()) == 2


EXACT = "12345678901234568.99"
"""An amount that a float does not hold: it would be 12345678901234568."""
OWN_FORM = {
    "transaction_costs": '{"orderId": "A-1", "transactionCosts": %s}',
    "logistics_costs": '{"orderId": "A-1", "totalLogisticsCosts": %s}',
    "cogs": '{"orderId": "A-1", "sku": "S-1", "productCogs": %s}',
    "orders": '{"id": "A-1", "createdAt": 1704110400, "lineItems": [{"id": "L-1", "quantity": 1, '
    '"totalAmountBeforeTaxesAndDiscounts": %s}]}',
}
TAPS_FORM = {
    "transaction_costs": '{"order_id": 1, "transaction_costs": %s}',
    "logistics_costs": '{"order_id": 1, "total_logistics_costs": %s}',
    "cogs": '{"order_id": 1, "sku": "S-1", "product_cogs": %s}',
    "orders": '{"id": 1, "created_at": "2024-01-01T12:00:00Z", "line_items": [{"id": 1, "quantity": 1, '
    '"total_amount_before_taxes_and_discounts": %s}]}',
}


@pytest.mark.parametrize("written", [EXACT, f'"{EXACT}"'], ids=["number", "text"])
@pytest.mark.parametrize("form", [OWN_FORM, TAPS_FORM], ids=["Klar's form", "the tap's form"])
@pytest.mark.parametrize("stream", OWN_FORM)
def test_12345678901234568_99_of_a_plain_record_arrives_digit_for_digit(
    klar: Sandbox, stream: str, form: dict[str, str], written: str
) -> None:
    assert Decimal(float(EXACT)) != Decimal(EXACT)
    line = f'{{"type": "RECORD", "stream": "{stream}", "record": {form[stream] % written}}}'
    ended = run(klar, [schema(stream, "id" if stream == "orders" else "orderId"), line, state(1)])

    assert (ended.code, ended.states, ended.errors) == (0, [1], [])
    (body,) = klar.bodies
    assert re.findall(rb":\s*(1234567890[^,}}]*)", body) == [EXACT.encode()]
    (held,) = klar.held(stream).values()
    assert Decimal(EXACT) in (held["lineItems"][0] if stream == "orders" else held).values()
