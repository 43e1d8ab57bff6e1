"""Numbers, over the whole program: each arrives with the decimal value, and the digits, that the tap wrote."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from forked import run
from messages import COSTS_SCHEMA

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
