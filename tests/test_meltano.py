"""A clone of this repository loads its sample rows under the real Meltano, which keeps the state."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from pipelines import ROOT, Project

from target_klar.sandbox import Sandbox

pytestmark = pytest.mark.slow

STATE = "dev:tap-jsonfile-to-target-klar"
REFUNDS = {
    "880101": {
        "id": "880101",
        "createdAt": 1777887000,
        "updatedAt": 1777887000,
        "lineItems": [{"id": "1", "lineItemId": "4100201", "refundedQuantity": 1, "reasonDescriptor": "too small"}],
    },
    "880102": {
        "id": "880102",
        "createdAt": 1777889565,
        "lineItems": [
            {"id": "2", "lineItemId": "4100244", "refundedQuantity": 2},
            {"id": "3", "lineItemId": "4100245", "refundedQuantity": 1, "reasonDescriptor": "arrived damaged"},
        ],
    },
    "880103": {"id": "880103", "createdAt": 1777896069, "updatedAt": 1777965300, "lineItems": []},
    "880104": {
        "id": "880104",
        "createdAt": 1777998030,
        "updatedAt": 1777998030,
        "lineItems": [
            {"id": "4", "lineItemId": "4100290", "refundedQuantity": 1, "reasonDescriptor": "changed my mind"}
        ],
    },
}
COSTS = {"5300102": "1.1", "5300117": "2.675", "5300123": "0", "5300140": "0.35", "5300151": "12.9"}


def test_a_clone_loads_its_sample_rows_and_later_only_what_is_new(tmp_path: Path) -> None:
    leave = shutil.ignore_patterns(".*", "__pycache__", "output", "plugins", "build", "dist")
    shutil.copytree(ROOT, tmp_path / "clone", ignore=leave)
    with Sandbox() as klar:
        clone = Project(tmp_path / "clone", {"TARGET_KLAR_API_URL": klar.url, "TARGET_KLAR_API_TOKEN": klar.token})
        first = clone.meltano("run", "tap-jsonfile", "target-klar")
        kept = clone.state(STATE)
        posts = len(klar.posts())

        assert first.code == 0, first.log
        assert klar.refunds == REFUNDS
        assert {key: str(held["transactionCosts"]) for key, held in klar.transaction_costs.items()} == COSTS
        assert posts == 2
        assert [Path(name).name for name in hashes(kept)] == ["refunds.jsonl", "transaction_costs.jsonl"]
        assert klar.token not in first.log + first.output
        assert [line for line in first.lines("[warning") if "target-klar" in line] == [
            "[warning  ] target-klar  refunds: fields that Klar does not know were omitted: order_id, customer_email",
            "[warning  ] target-klar  transaction_costs: fields that Klar does not know were omitted: currency",
        ]
        assert first.lines("Warning") == [], "Python's own warnings, which Meltano turns on"

        second = clone.meltano("run", "tap-jsonfile", "target-klar")

        assert second.code == 0, second.log
        assert len(klar.posts()) == posts
        assert clone.state(STATE) == kept

        with (clone.folder / "tests/data/rows/transaction_costs.jsonl").open("a") as rows:
            rows.write('{"order_id": 5300160, "transaction_costs": 0.99}\n')
        third = clone.meltano("run", "tap-jsonfile", "target-klar")

        assert third.code == 0, third.log
        assert [(post.stream, post.count) for post in klar.posts()[posts:]] == [("transaction_costs", 6)]
        assert klar.transaction_costs["5300160"]["orderId"] == "5300160"
        assert clone.state(STATE) != kept


def hashes(state: dict[str, Any] | None) -> dict[str, str]:
    """Returns the hash of each file that the tap has read."""
    assert state is not None
    read: dict[str, str] = state["bookmarks"]["rows"]["file_hashes"]
    return read
