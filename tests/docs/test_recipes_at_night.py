"""docs/recipes/at-night.md: its script, as its lines for cron start it, over several nights and two brands."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from followed import DOCUMENTS, Followed
from pipelines import blocks

from target_klar.sandbox import Sandbox
from target_klar.settings.settings import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from program import Ended

pytestmark = pytest.mark.slow
TAP = Path(__file__).parents[1] / "support" / "tap_of_nights.py"


@pytest.fixture
def south() -> Iterator[Sandbox]:
    """The second brand's Klar, with a token of its own."""
    with Sandbox(token="of-the-south") as sandbox:
        yield sandbox


@pytest.fixture
def machine(tmp_path: Path, klar: Sandbox) -> Followed:
    """The folder of the script, with a brand in the north."""
    followed = Followed(tmp_path, "at-night.md", forks=False)
    add_brand(followed, "north", klar)
    (tmp_path / "tap-x").write_text(f'#!/bin/sh\nexec {sys.executable} {TAP} "$@"\n')
    (tmp_path / "tap-x").chmod(0o755)
    return followed


def add_brand(machine: Followed, brand: str, klar: Sandbox) -> None:
    (machine.folder / "brands" / brand).mkdir(parents=True)
    machine.configure(klar, f"brands/{brand}", rejects_path="rejects.jsonl")
    sell(machine, brand, {"order_id": brand, "fee": 1.10, "updated_at": "2026-05-04"})


def sell(machine: Followed, brand: str, *rows: dict[str, Any], fail: bool = False) -> None:
    tap = machine.folder / "brands" / brand / "tap.json"
    tap.write_text(json.dumps({"rows": rows, "fail": fail}))


def night(machine: Followed, day: str = "1-6", level: str | None = None) -> Ended:
    """Run what cron would on such days, with the variables of the crontab but PATH, which is this machine's."""
    text = (DOCUMENTS / "at-night.md").read_text()
    (crontab,) = (block for block in blocks(text, "crontab") if "night.sh" in block)
    written = re.search(r"^LOGLEVEL=(\w+)$", crontab, re.MULTILINE)
    line = re.search(rf"^30 3 \* \* {day} (.*)$", crontab, re.MULTILINE)
    assert written
    assert line
    command = line[1].replace("/srv/klar", str(machine.folder))
    return machine.run(f'PATH="{machine.folder}:$PATH"\n{command}', LOGLEVEL=level or written[1])


def kept_state(machine: Followed, brand: str) -> Any:
    return json.loads((machine.folder / "brands" / brand / "state.json").read_text())


def costs_at_klar(klar: Sandbox) -> dict[str, float]:
    return {key: float(held["transactionCosts"]) for key, held in klar.transaction_costs.items()}


def test_a_good_night_prints_nothing_and_each_brand_goes_to_its_own_klar(
    machine: Followed, klar: Sandbox, south: Sandbox
) -> None:
    add_brand(machine, "south", south)
    ended = night(machine)

    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert (costs_at_klar(klar), costs_at_klar(south)) == ({"north": 1.1}, {"south": 1.1})

    sell(machine, "north")  # nothing new: no STATE, and the one that is there stays
    sell(machine, "south", {"order_id": "late", "fee": 2, "updated_at": "2026-05-05"})
    assert night(machine).code == 0
    assert (kept_state(machine, "north"), kept_state(machine, "south")) == (
        {"updated_at": "2026-05-04"},
        {"updated_at": "2026-05-05"},
    )


def test_float_noise_in_one_of_a_hundred_records_is_said_at_info_and_hidden_by_the_crontab(machine: Followed) -> None:
    fees = [1.25] * 99 + [0.30000000000000004]
    many = [{"order_id": f"{number}", "fee": fee, "updated_at": "2026-05-05"} for number, fee in enumerate(fees)]
    sell(machine, "north", *many)

    assert night(machine).err == ""
    assert (
        "1 of 100 records (1 %) with an amount with the rounding error of a float" in night(machine, level="INFO").err
    )


def test_a_brand_that_fails_is_reported_keeps_its_state_and_does_not_hold_back_the_next(
    machine: Followed, klar: Sandbox, south: Sandbox
) -> None:
    add_brand(machine, "south", south)
    sell(machine, "north", {"order_id": "1", "fee": 1, "updated_at": "2026-05-04"}, fail=True)

    ended = night(machine)

    assert (ended.code, ended.out) == (1, "")
    assert "The shop does not answer.\n" in ended.err
    assert ended.err.endswith("brands/north/: this night's load failed\n")
    assert (costs_at_klar(klar), costs_at_klar(south)) == ({"1": 1}, {"south": 1.1})
    assert kept_state(machine, "north") == {"updated_at": "2026-05-04"}


def test_the_weekly_run_repairs_what_the_nightly_one_cannot_see(machine: Followed, klar: Sandbox) -> None:
    """Of the first order a fee is deleted, so that `max(updated_at)` falls; the second's changes without a new time."""
    sell(
        machine,
        "north",
        {"order_id": "1", "fee": 3, "updated_at": "2026-05-06"},
        {"order_id": "2", "fee": 2, "updated_at": "2026-05-04"},
    )
    assert night(machine).code == 0
    corrected = (
        {"order_id": "1", "fee": 1, "updated_at": "2026-05-04"},
        {"order_id": "2", "fee": 2.5, "updated_at": "2026-05-04"},
    )
    sell(machine, "north", *corrected)

    assert night(machine).code == 0
    assert costs_at_klar(klar) == {"1": 3, "2": 2}
    assert night(machine, day="0").code == 0
    assert costs_at_klar(klar) == {"1": 1, "2": 2.5}


def test_data_that_was_wrong_is_corrected_at_its_source_and_comes_again(machine: Followed, klar: Sandbox) -> None:
    sell(
        machine,
        "north",
        {"order_id": "1", "fee": "unknown", "updated_at": "2026-05-04"},
        {"order_id": "2", "fee": 2, "updated_at": "2026-05-05"},
    )
    ended = night(machine)
    rejects = machine.folder / "brands" / "north" / "rejects.jsonl"

    assert "(found text of 7 characters)" in ended.err
    assert (costs_at_klar(klar), kept_state(machine, "north")) == ({"2": 2}, {"updated_at": "2026-05-05"})
    assert '"unknown"' in rejects.read_text()

    rejects.unlink()
    sell(machine, "north", {"order_id": "1", "fee": 1.5, "updated_at": "2026-05-06"})
    assert night(machine).err == ""
    assert costs_at_klar(klar) == {"1": 1.5, "2": 2}


def test_rejects_of_a_wrong_mapping_are_sent_again_when_it_is_corrected(machine: Followed, klar: Sandbox) -> None:
    sell(machine, "north", {"order_id": "1", "fee": "1,50", "updated_at": "2026-05-04"})
    night(machine)
    assert costs_at_klar(klar) == {}

    maps = {"transaction_costs": {"transactionCosts": "transactionCosts.replace(',', '.')"}}
    send_again = f"cd brands/north\n{machine.command('--input again.jsonl')}"
    machine.configure(klar, "brands/north", rejects_path="rejects.jsonl", stream_maps=maps, api_token="expired")
    assert machine.run(send_again).code == 1
    assert costs_at_klar(klar) == {}

    machine.configure(klar, "brands/north", rejects_path="rejects.jsonl", stream_maps=maps)
    ended = machine.run(send_again)
    assert ended.code == 0, ended.err
    assert costs_at_klar(klar) == {"1": 1.5}
    assert not (machine.folder / "brands" / "north" / "again.jsonl").exists()


@pytest.mark.skipif("fail_on_rejects" not in SETTINGS["properties"], reason="this version has no such setting")
def test_with_the_recipes_configuration_a_night_with_rejects_fails_after_all_else_is_delivered(
    machine: Followed, klar: Sandbox, south: Sandbox
) -> None:
    add_brand(machine, "south", south)
    (block,) = blocks((DOCUMENTS / "at-night.md").read_text(), "json")
    machine.configure(klar, "brands/north", **{**json.loads(block), "api_token": klar.token})
    wrong = {"order_id": "1", "fee": "unknown", "updated_at": "2026-05-04"}
    sell(machine, "north", wrong, {"order_id": "2", "fee": 2, "updated_at": "2026-05-05"})

    ended = night(machine)

    assert ended.code == 1
    assert ended.err.endswith("brands/north/: this night's load failed\n")
    assert (costs_at_klar(klar), costs_at_klar(south)) == ({"2": 2}, {"south": 1.1})
    assert kept_state(machine, "north") == {"updated_at": "2026-05-05"}
