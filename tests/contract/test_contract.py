"""What Klar accepts, and the bytes that it is sent."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from conforming import sent
from klar_objects import COSTS, REFUNDS

from target_klar.contract.streams import CONTRACTS, Contract
from target_klar.records.json_codec import encode


def objects_of(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Return this schema and every one below it that describes an object."""
    below = [*schema.get("properties", {}).values(), schema.get("items", {})]
    here = [schema] if schema.get("type") == "object" else []
    return here + [node for child in below if child for node in objects_of(child)]


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS)
def test_each_contract_is_closed_at_every_level_and_requires_its_key(contract: Contract) -> None:
    objects = objects_of(contract.schema)
    assert len(objects) == {"refunds": 2, "orders": 13}.get(contract.stream, 1)
    assert all(node["additionalProperties"] is False for node in objects)
    assert contract.key in contract.schema["required"]
    key = contract.schema["properties"][contract.key]
    assert (key["type"], key["minLength"]) == ("string", 1)


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS)
def test_the_fields_a_contract_names_are_fields_of_its_schema(contract: Contract) -> None:
    fields = contract.schema["properties"]
    named = {contract.key, contract.unaggregated, contract.cancels_by} - {None}
    assert named <= set(fields)
    assert {contract.part_id} - {None} <= set(fields[contract.unaggregated].get("items", {}).get("properties", {}))
    assert bool(contract.part_id) == (fields[contract.unaggregated]["type"] == "array")


def test_refunds_are_sent_as_a_bare_array_in_order() -> None:
    records: list[dict[str, Any]] = [{"id": "b", "createdAt": 1700000000, "lineItems": []}, {"id": "a"}]
    assert REFUNDS.body(map(encode, records)) == b'[{"id":"b","createdAt":1700000000,"lineItems":[]},{"id":"a"}]'


def test_costs_are_sent_as_an_object_that_holds_the_array() -> None:
    records = ({"orderId": "1", "transactionCosts": 2},)
    assert COSTS.body(map(encode, records)) == b'{"items":[{"orderId":"1","transactionCosts":2}]}'


def test_a_body_can_carry_a_thousand_records() -> None:
    assert len(msgspec.json.decode(COSTS.body(encode({"orderId": str(n)}) for n in range(1000)))["items"]) == 1000


DIGITS = {
    # what the tap wrote: what Klar reads
    "1.10": "1.10",
    "0.1": "0.1",
    "2.675": "2.675",
    "19.99": "19.99",
    "1e-7": "1E-7",
    "12345678901234567.89": "12345678901234567.89",
    "9223372036854775807": "9223372036854775807",
    "9223372036854775808": "9223372036854775808",
    "18446744073709551616": "18446744073709551616",
    "123456789012345678901234567890": "123456789012345678901234567890",
    "-0.00": "-0.00",
    "0": "0",
}


@pytest.mark.parametrize("quote", ["", '"'], ids=["number", "text"])
@pytest.mark.parametrize(("written", "expected"), DIGITS.items(), ids=DIGITS)
def test_a_number_reaches_klar_with_the_digits_the_tap_wrote(written: object, expected: object, quote: str) -> None:
    line = f'{{"order_id": 7, "transaction_costs": {quote}{written}{quote}}}'
    record = msgspec.json.Decoder(float_hook=Decimal).decode(line)
    body = COSTS.body([encode(sent(record, COSTS))])
    assert body.decode() == f'{{"items":[{{"orderId":"7","transactionCosts":{expected}}}]}}'


def test_a_number_inside_json_text_keeps_its_digits() -> None:
    items = '[{"line_item_id": 1, "refunded_quantity": 1.10}]'
    record = {"id": "r", "createdAt": 1700000000, "line_items": items}
    body = REFUNDS.body([encode(sent(record, REFUNDS))])
    assert b'"refundedQuantity":1.10}' in body
