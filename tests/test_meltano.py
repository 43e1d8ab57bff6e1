"""Under the real Meltano: a clone loads its sample rows, the state is kept, and the loader's settings arrive."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pipelines import ROOT, Project, recipe

from target_klar.sandbox import Sandbox

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("Meltano")]  # one worker imports it, and forks it

STATE = "dev:tap-jsonfile-to-target-klar"
REFUNDS_OF_ROWS = {
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
OMITTED = ". Ignore this, map them to Klar's fields, or list them in `extra_fields`."
COSTS_OF_ROWS = {"5300102": "1.1", "5300117": "2.675", "5300123": "0", "5300140": "0.35", "5300151": "12.9"}


def test_a_clone_loads_its_sample_rows_and_later_only_what_is_new(tmp_path: Path) -> None:
    leave = shutil.ignore_patterns(".*", "__pycache__", "output", "plugins", "build", "dist")
    shutil.copytree(ROOT, tmp_path / "clone", ignore=leave)
    with Sandbox() as klar:
        clone = Project(tmp_path / "clone", {"TARGET_KLAR_API_URL": klar.url, "TARGET_KLAR_API_TOKEN": klar.token})
        maps = json.dumps({"refunds": {"__filter__": "bool(id)"}})  # which Meltano exports in several variables
        first = clone.meltano("run", "tap-jsonfile", "target-klar", TARGET_KLAR_STREAM_MAPS=maps)
        kept = clone.state(STATE)
        posts = len(klar.posts())

        assert first.code == 0, first.log
        assert klar.refunds == REFUNDS_OF_ROWS
        assert {key: str(held["transactionCosts"]) for key, held in klar.transaction_costs.items()} == COSTS_OF_ROWS
        assert posts == 2
        assert [Path(name).name for name in hashes(kept)] == ["refunds.jsonl", "transaction_costs.jsonl"]
        assert klar.token not in first.log + first.output
        assert [line for line in first.lines("[warning") if "target-klar" in line] == [
            (
                f"[warning  ] target-klar  refunds: fields that Klar does not know were omitted: order_id, "
                f"customer_email{OMITTED}"
            ),
            (
                f"[warning  ] target-klar  transaction_costs: fields that Klar does not know were omitted: "
                f"currency{OMITTED}"
            ),
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


def test_the_loader_is_added_from_its_definition_as_often_as_one_likes_and_its_settings_arrive(tmp_path: Path) -> None:
    leave = shutil.ignore_patterns(".*", "__pycache__", "output", "plugins", "build", "dist")
    shutil.copytree(ROOT, tmp_path / "target-klar", ignore=leave)
    (tmp_path / "meltano.yml").write_text("project_id: a-shop\n", encoding="ascii")
    first, _ = recipe("The loader in a Meltano project", "console").splitlines()
    maps = {"rows": {"__alias__": "refunds", "__filter__": "bool(id)"}}
    lines = [
        {"type": "SCHEMA", "stream": "rows", "schema": {"properties": {"id": {}}}, "key_properties": ["id"]},
        {"type": "RECORD", "stream": "rows", "record": REFUNDS_OF_ROWS["880101"]},
    ]
    (tmp_path / "tap.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="ascii")
    with Sandbox() as klar:
        shop = Project(tmp_path, {"TARGET_KLAR_API_TOKEN": klar.token, "TARGET_KLAR_API_URL": klar.url})
        added = [shop.meltano(*first.removeprefix("$ meltano ").split()) for _ in range(2)]

        assert [one.code for one in added] == [0, 0], added[-1].log

        checked = shop.meltano("invoke", "target-klar", "--check")

        assert checked.code == 0, checked.log
        assert checked.output.count("accepted") == 5

        load = ("invoke", "target-klar", "--input", "tap.jsonl")
        settings = {"TARGET_KLAR_STREAM_MAPS": json.dumps(maps), "TARGET_KLAR_EXTRA_FIELDS": '["note"]'}
        dry = shop.meltano(*load, TARGET_KLAR_VALIDATE_ONLY="True", **settings)

        assert (dry.code, klar.refunds) == (0, {}), dry.log

        loaded = shop.meltano(*load, **settings, TARGET_KLAR_BATCH_SIZE_ROWS="60")

        assert (loaded.code, klar.refunds) == (0, {"880101": REFUNDS_OF_ROWS["880101"]}), loaded.log
        assert loaded.lines("[warning") == []
