"""The sample that the README's first command loads; `python tests/support/samples.py` writes `data/sample.jsonl` again.

A tap's output as a shop's own database gives it: snake_case names, ids as integers, times as ISO text, amounts
with two decimals, both streams interleaved, a STATE now and then. Plain arithmetic in place of chance, so that
every run and every Python writes the same bytes.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SAMPLE = Path(__file__).parents[1] / "data" / "sample.jsonl"
REFUND_COUNT = 2345
COST_COUNT = 1234
RECORDS_PER_STATE = 400

_START = datetime(2026, 1, 1, 6, tzinfo=UTC)
_REASONS = ("too small", "too large", "arrived damaged", "changed my mind", None)
_SCHEMAS = {
    "refunds": {
        "id": {"type": "integer"},
        "created_at": {"type": "string", "format": "date-time"},
        "line_items": {"type": "array"},
    },
    "transaction_costs": {
        "order_id": {"type": "integer"},
        "transaction_costs": {"type": ["number", "null"]},
    },
}
_KEYS = {"refunds": "id", "transaction_costs": "order_id"}


def sample_lines() -> Iterator[str]:
    """Writes 2,345 refunds and 1,234 costs as one Singer stream, a line at a time."""
    for stream, properties in _SCHEMAS.items():
        schema = {"type": "object", "properties": properties}
        yield _line(type="SCHEMA", stream=stream, schema=schema, key_properties=[_KEYS[stream]])
    refunds = costs = 0
    for number in range(1, REFUND_COUNT + COST_COUNT + 1):
        if costs * REFUND_COUNT < refunds * COST_COUNT:
            costs += 1
            yield _line(type="RECORD", stream="transaction_costs", record=_cost(costs))
        else:
            refunds += 1
            yield _line(type="RECORD", stream="refunds", record=_refund(refunds))
        if number % RECORDS_PER_STATE == 0:
            yield _state(refunds, costs)
    yield _state(refunds, costs)


def _refund(number: int) -> dict[str, object]:
    return {
        "id": 880_000 + number,
        "created_at": _time(number),
        "line_items": [
            {
                "line_item_id": 4_100_000 + number * 7 + item,
                "refunded_quantity": 1 + (number * 31 + item) % 3 // 2,
                **({"reason_descriptor": reason} if (reason := _REASONS[(number + item) % 5]) else {}),
            }
            for item in range(1 + number % 4 // 3)
        ],
    }


def _cost(number: int) -> dict[str, object]:
    cents = 35 + number * 7919 % 1200
    return {"order_id": 5_300_000 + number * 3, "transaction_costs": cents / 100}


def _state(refunds: int, costs: int) -> str:
    bookmarks = {
        "refunds": {"replication_key": "created_at", "replication_key_value": _time(refunds)},
        "transaction_costs": {"replication_key": "order_id", "replication_key_value": 5_300_000 + costs * 3},
    }
    return _line(type="STATE", value={"bookmarks": bookmarks})


def _time(number: int) -> str:
    return f"{_START + timedelta(seconds=number * 5477):%Y-%m-%dT%H:%M:%SZ}"


def _line(**message: object) -> str:
    return json.dumps(message, separators=(",", ":")) + "\n"


if __name__ == "__main__":
    SAMPLE.write_text("".join(sample_lines()), encoding="ascii")
