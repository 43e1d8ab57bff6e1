"""The sample files are what they are said to be."""

from __future__ import annotations

import json
from collections import Counter

from samples import COST_COUNT, REFUND_COUNT, SAMPLE, sample_lines


def test_the_sample_is_what_its_generator_writes() -> None:
    assert SAMPLE.read_text(encoding="ascii") == "".join(sample_lines())


def test_the_sample_holds_2345_refunds_and_1234_costs_each_with_a_key_of_its_own() -> None:
    messages = [json.loads(line) for line in sample_lines()]
    records = [(one["stream"], one["record"]) for one in messages if one["type"] == "RECORD"]
    keys = {(stream, record.get("id") or record.get("order_id")) for stream, record in records}

    assert Counter(stream for stream, _ in records) == {"refunds": 2345, "transaction_costs": 1234}
    assert len(keys) == REFUND_COUNT + COST_COUNT
    assert messages[-1]["type"] == "STATE"
