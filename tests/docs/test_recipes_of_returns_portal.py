"""docs/recipes/returns-portal.md over two nights of a portal, against sums that Python makes of the same returns."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from followed import DOCUMENTS, Followed
from messages import record, schema, state
from pipelines import blocks

if TYPE_CHECKING:
    from pathlib import Path

    from target_klar.sandbox import Sandbox

pytestmark = pytest.mark.slow

SHOP = {"71": "TEE-M", "72": "TEE-L", "73": "CAP", "74": "CAP", "75": "MUG"}
"""The lines of each order, with their SKUs: two have the same one."""
MAP = "tap-x | target-klar"
BY_SKU = "order_lines.py"
COMPARED = "gone.py <"


@dataclass(frozen=True)
class Return:
    """A return at the portal; of each item the order's line, the pieces, and what was paid back for them."""

    number: int
    status: str
    items: tuple[tuple[str, int, str | None], ...] = (("71", 1, "9.90"),)
    refunded: str | None = "2026-05-04T09:30:00+02:00"
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"RT-{self.number}"

    def item(self, at: int) -> int:
        """Return the portal's own id of an item."""
        return self.number * 10 + at

    def written(self, *, knows_line: bool = True) -> dict[str, Any]:
        """Return the record as the tap writes it; without the line's id the SKU alone tells which it is."""
        items = [
            {"item_id": self.item(at), "sku": SHOP[line], "quantity": pieces}
            | ({"order_line_id": int(line)} if knows_line else {})
            | {"refund": amount and {"amount": amount, "currency": "EUR"}}
            for at, (line, pieces, amount) in enumerate(self.items)
        ]
        times = {"requested_at": "2026-05-01T18:00:00+02:00", "refunded_at": self.refunded}
        money = {"refunded_shipping": "4.90", "kept_fee": "1.99"}
        order = {"order": {"id": 5500 + self.number, "name": f"#{1000 + self.number}"}}
        return {"return_id": self.key, "status": self.status, "items": items} | times | money | order | self.more

    @property
    def at_klar(self) -> dict[str, Any] | None:
        """Return the refund that Klar should hold, or None where nothing was ever refunded."""
        if self.refunded is None:
            return None
        taken_back = self.status in {"cancelled", "rejected"}
        lines = [
            {"id": str(self.item(at)), "lineItemId": line, "refundedQuantity": pieces}
            for at, (line, pieces, amount) in enumerate(self.items)
            if not taken_back and Decimal(amount or 0) > 0
        ]
        return {"id": self.key, "createdAt": int(datetime.fromisoformat(self.refunded).timestamp()), "lineItems": lines}


FIRST = [
    Return(1, "requested", refunded=None),
    Return(2, "refunded", (("71", 2, "39.80"), ("72", 1, "19.90"))),
    Return(3, "refunded", (("71", 3, "0.00"), ("75", 1, "4.50"), ("72", 1, None))),  # not paid for; a part of the price
    Return(4, "refunded", refunded="2026-10-25T02:30:00+01:00"),
    Return(5, "received", refunded=None),
    Return(6, "refunded", (("72", 1, "0"),)),  # the shipping only
    Return(7, "refunded", (("75", 4, "18.00"),)),
    Return(8, "refunded", (("71", 1, "9.90"), ("71", 1, "9.90"))),  # a row for each piece
    *(Return(number, "refunded", (("71", number, "1.00"),)) for number in range(20, 28)),
]
CHANGED: dict[str, dict[str, Any]] = {
    "RT-1": {"status": "refunded", "refunded": "2026-05-06T10:00:00+02:00"},
    "RT-2": {"status": "closed", "items": (("72", 1, "19.90"),)},  # one line of it was taken back
    "RT-4": {"status": "cancelled"},
    "RT-5": {"status": "rejected"},
}
SECOND = [replace(each, **CHANGED.get(each.key, {})) for each in FIRST if each.key != "RT-7"]


def expected(*returns: Return) -> dict[str, Any]:
    return {each.key: held for each in returns if (held := each.at_klar)}


def pieces(refunds: dict[str, Any]) -> int:
    return sum(line["refundedQuantity"] for held in refunds.values() for line in held["lineItems"])


@pytest.fixture
def portal(tmp_path: Path, klar: Sandbox) -> Followed:
    """A folder with the recipe's files, its configuration, and a tap that writes a file."""
    followed = Followed(tmp_path, "returns-portal.md")
    written = [json.loads(block) for block in blocks((DOCUMENTS / "returns-portal.md").read_text(), "json")]
    (config,) = (block for block in written if "api_token" in block)
    followed.configure(klar, **{name: value for name, value in config.items() if name != "api_token"})
    (tmp_path / "tap-x").write_text("#!/bin/sh\ncat tap.jsonl\n", encoding="utf-8")
    (tmp_path / "tap-x").chmod(0o755)
    return followed


def night(portal: Followed, holds: str, messages: list[Any]) -> Any:
    """Run the recipe's command that holds a text, with a tap that writes these messages."""
    text = "".join(json.dumps(each) + "\n" for each in messages)
    (portal.folder / "tap.jsonl").write_text(text, encoding="utf-8")
    return portal.run(f"PATH=$PATH:.\n{portal.command(holds)}")


def tapped(returns: list[Return], number: int, **options: bool) -> list[Any]:
    first = schema("returns", "return_id", status={}, refunded_at={}, items={}, updated_at={})
    version = {"type": "ACTIVATE_VERSION", "stream": "returns", "version": number}
    return [first, version, *(record("returns", **each.written(**options)) for each in returns), state(number)]


def test_the_returns_table_shows_is_what_a_portal_writes() -> None:
    shown, _ = (json.loads(block) for block in blocks((DOCUMENTS / "returns-portal.md").read_text(), "json"))

    assert {*shown} - {"updated_at"} == {*FIRST[0].written()}
    assert {*shown["items"][0]} == {*FIRST[0].written()["items"][0]}


def test_two_nights_leave_what_was_paid_back_and_no_piece_of_what_was_cancelled(
    portal: Followed, klar: Sandbox
) -> None:
    for number, returns in enumerate((FIRST, SECOND), 1):
        ended = night(portal, MAP, tapped(returns, number))

        assert (ended.code, ended.said("WARNING")) == (0, []), ended.err
        assert ended.said(f"pieces {pieces(expected(*returns))},")
        assert json.loads((portal.folder / "state.jsonl").read_text().splitlines()[-1]) == number

    (deleted,) = (each for each in FIRST if each.key == "RT-7")
    assert klar.refunds == expected(*SECOND, deleted)
    assert klar.refunds["RT-4"]["lineItems"] == []
    assert "RT-5" not in klar.refunds
    later = "2026-05-07T10:00:00+00:00"
    ended = night(
        portal, MAP, [*tapped([], 3)[:1], record("returns", return_id="RT-7", _sdc_deleted_at=later), state(3)]
    )

    assert (ended.code, ended.said("WARNING")) == (0, []), ended.err
    assert klar.refunds["RT-7"] == {
        "id": "RT-7",
        "createdAt": int(datetime.fromisoformat(later).timestamp()),
        "lineItems": [],
    }


def test_the_filter_by_status_that_the_recipe_warns_of_does_leave_it_at_klar(portal: Followed, klar: Sandbox) -> None:
    config = json.loads((portal.folder / "config.json").read_text())
    config["stream_maps"]["returns"]["__filter__"] = "status == 'refunded'"
    (portal.folder / "config.json").write_text(json.dumps(config))
    for number, returns in enumerate((FIRST, SECOND), 1):
        assert night(portal, MAP, tapped(returns, number)).code == 0

    assert klar.refunds["RT-4"]["lineItems"] != []


def test_a_portal_that_clears_the_time_is_sent_whole(portal: Followed, klar: Sandbox) -> None:
    config = json.loads((portal.folder / "config.json").read_text())
    fields = config["stream_maps"]["returns"]
    del fields["__filter__"]
    fields["createdAt"] = "record.get('refunded_at') or record.get('requested_at')"
    assert f"`{fields['createdAt']}`" in (DOCUMENTS / "returns-portal.md").read_text()
    (portal.folder / "config.json").write_text(json.dumps(config))
    cleared = [replace(each, refunded=None) if each.status == "cancelled" else each for each in SECOND]
    for number, returns in enumerate((FIRST, cleared), 1):
        assert night(portal, MAP, tapped(returns, number)).code == 0

    paid = {key: held for key, held in klar.refunds.items() if held["lineItems"]}
    assert paid == {key: held for key, held in expected(*SECOND, FIRST[6]).items() if held["lineItems"]}


def test_a_sku_becomes_the_line_of_its_order_or_its_return_is_set_aside(portal: Followed, klar: Sandbox) -> None:
    with (portal.folder / "order-lines.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["order_id", "line_id", "sku"])
        writer.writerows([5500 + each.number, *line] for each in FIRST for line in SHOP.items())
    unclear = Return(90, "refunded", (("73", 1, "5.00"),))  # two lines of its order have the SKU
    foreign = Return(91, "refunded", more={"order": {"id": 1, "name": "#1"}})
    ended = night(portal, BY_SKU, tapped([*FIRST, unclear, foreign], 1, knows_line=False))

    assert (ended.code, len(ended.said("from returns): lineItems[0].lineItemId must be text (fo"))) == (0, 2), ended.err
    assert klar.refunds == expected(*FIRST)
    rejected = [json.loads(line) for line in (portal.folder / "rejects.jsonl").read_text().splitlines()]
    assert [each["record"]["return_id"] for each in rejected if each["type"] == "RECORD"] == ["RT-90", "RT-91"]


def test_what_does_not_come_again_is_cancelled_once_and_a_great_loss_stops(portal: Followed, klar: Sandbox) -> None:
    for number, returns in enumerate((FIRST, SECOND), 1):
        ended = night(portal, COMPARED, tapped(returns, number))
        assert (ended.code, ended.said("WARNING")) == (0, []), ended.err

    vanished = klar.refunds.pop("RT-7")
    held = {key: each for key, each in klar.refunds.items() if key != "RT-7"}
    assert (vanished["lineItems"], held) == ([], expected(*SECOND))
    assert (portal.folder / "gone.jsonl").read_text().count("RECORD") == 1
    again = night(portal, COMPARED, tapped(SECOND, 3))
    assert (again.code, (portal.folder / "gone.jsonl").read_text()) == (0, "")

    sent = len(klar.posts())
    lost = night(portal, COMPARED, tapped(SECOND[:2], 4))
    assert (lost.code, len(klar.posts())) == (1, sent)
    assert "13 returns are gone, such as RT-2" in lost.err
    meant = portal.run(f"PATH=$PATH:.\n{portal.command(COMPARED).replace('gone.py <', 'gone.py agreed <')}")
    assert meant.code == 0
    assert {key for key, each in klar.refunds.items() if each["lineItems"]} == {"RT-1", "RT-2"}


def test_a_tap_that_fails_in_its_middle_deletes_nothing(portal: Followed, klar: Sandbox) -> None:
    assert night(portal, COMPARED, tapped(FIRST, 1)).code == 0
    (portal.folder / "tap-x").write_text("#!/bin/sh\nhead -n 12 tap.jsonl; exit 1\n", encoding="utf-8")
    sent = len(klar.posts())

    assert night(portal, COMPARED, tapped(FIRST, 2)).code == 1
    assert len(klar.posts()) == sent
