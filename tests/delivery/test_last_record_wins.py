"""For one key the last record of the tap wins, whatever is in flight, fails, is tried again or is split."""

from __future__ import annotations

import json
import random
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from forked import run
from messages import REFUNDS_SCHEMA, cost_record, record, refund_record, schema, state
from thoroughness import size

from target_klar.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_klar.sandbox import Moment, Request

KEYS = [f"K{number}" for number in range(37)]
EAGER: dict[str, Any] = {"batch_size_rows": 20, "max_parallel_requests": 8}


class Watched(Sandbox):
    """A slow Klar that notes when each batch was stored; until then at least its request is in flight."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(keep_bodies=1000, **({"jitter": 0.02} | settings))
        self.stored_at: dict[int, float] = {}
        self.observer = self.note

    def note(self, moment: str, request: Request) -> None:
        if moment == "stored":
            self.stored_at[request.number] = time.monotonic()

    def loads(self) -> list[tuple[Request, list[str]]]:
        """Each POST with the keys that it carried."""
        posts, bodies = self.posts(), self.bodies
        assert len(posts) == len(bodies)
        return [(post, [sent["id"] for sent in json.loads(body)]) for post, body in zip(posts, bodies, strict=True)]

    def quantities(self) -> dict[str, Any]:
        """The version of each key that is held."""
        return {key: held["lineItems"][0]["refundedQuantity"] for key, held in self.refunds.items()}


def crowded(seed: int, count: int) -> Iterator[str]:
    """Keys of an update feed in which neighbouring batches nearly always have one in common."""
    chance = random.Random(seed)
    return (chance.choice(KEYS) for _ in range(count))


def clustered(seed: int, count: int) -> Iterator[str]:
    """Keys of an update feed that stays with four keys for a while, so that some batches have none in common."""
    chance = random.Random(seed)
    cluster: list[str] = []
    for number in range(count):
        if number % 20 == 0:
            cluster = chance.sample(KEYS, 4)
        yield chance.choice(cluster)


def assert_no_key_was_in_two_requests_at_once(klar: Watched) -> None:
    """Neither twice in one request nor in two that overlapped."""
    loads = klar.loads()
    for index, (post, keys) in enumerate(loads):
        assert len(keys) == len(set(keys))
        until = klar.stored_at.get(post.number, post.started)
        beside = [other for later, other in loads[index + 1 :] if later.started < until]
        assert all(set(keys).isdisjoint(other) for other in beside)


@pytest.mark.slow
@pytest.mark.parametrize("feed", [crowded, clustered])
@pytest.mark.parametrize("change", [False, True], ids=["one schema", "a schema change in the middle"])
def test_of_thousands_of_updates_of_37_keys_the_last_of_each_wins_with_eight_requests_in_flight(
    feed: Any, *, change: bool
) -> None:
    number = size(4000, 8000)
    updates = list(enumerate(feed(3, number)))
    lines = [refund_record(key, version) for version, key in updates]
    if change:
        lines.insert(number // 2, schema("refunds", note={"type": "string"}, lineItems={"type": "array"}))

    with Watched() as klar:
        ended = run(klar, [REFUNDS_SCHEMA, *lines, state("end")], **EAGER)

        assert (ended.code, ended.states) == (0, ["end"])
        assert klar.quantities() == {key: version for version, key in updates}
        assert number // 20 <= len(klar.posts()) <= number // 20 + 1
        assert_no_key_was_in_two_requests_at_once(klar)
        assert feed is crowded or 4 <= klar.peak_in_flight <= 8


def test_two_source_streams_mapped_onto_one_keep_the_order_in_which_the_tap_wrote_them() -> None:
    maps = {name: {"__alias__": "refunds"} for name in ("shop_a", "shop_b")}
    updates = list(enumerate(clustered(5, 2000)))
    lines: list[Any] = [schema("shop_a"), schema("shop_b", note={"type": "string"})]
    for version, key in updates:
        written = refund_record(key, version)
        lines.append({**written, "stream": random.Random(version).choice(("shop_a", "shop_b"))})

    with Watched() as klar:
        ended = run(klar, [*lines, state("end")], stream_maps=json.dumps(maps), **EAGER)

        assert (ended.code, ended.states) == (0, ["end"])
        assert klar.quantities() == {key: version for version, key in updates}
        assert len(klar.posts()) == 100  # one sink: half-full batches of two would be more
        assert_no_key_was_in_two_requests_at_once(klar)


@pytest.mark.slow
def test_the_order_holds_while_requests_fail_and_are_tried_again() -> None:
    updates = list(enumerate(clustered(7, 1000)))
    faults = ["503@3x2", "reset-after@7", "reset-before@11", "504@15", "truncated@19", "429-after-seconds@23"]

    with Watched(faults=faults) as klar:
        ended = run(
            klar, [REFUNDS_SCHEMA, *(refund_record(key, version) for version, key in updates), state("end")], **EAGER
        )

        assert (ended.code, ended.states) == (0, ["end"])
        assert klar.quantities() == {key: version for version, key in updates}
        assert len(klar.posts()) == 57
        assert_no_key_was_in_two_requests_at_once(klar)


def test_the_order_holds_while_batches_are_split_for_a_record_that_klar_refuses(tmp_path: Any) -> None:
    updates = list(enumerate(clustered(9, 1000)))
    refused = {version for version, _ in updates if version % 50 == 49}

    with Watched(
        refuse=lambda sent: sent["lineItems"][0]["refundedQuantity"] in refused, refuse_style="opaque"
    ) as klar:
        rejects = tmp_path / "rejects.jsonl"
        ended = run(
            klar,
            [REFUNDS_SCHEMA, *(refund_record(key, version) for version, key in updates), state("end")],
            rejects_path=str(rejects),
            **EAGER,
        )
        sent_versions: dict[str, int] = {}
        for start in range(0, 1000, 20):
            last = {key: version for version, key in updates[start : start + 20]}
            sent_versions.update({key: version for key, version in last.items() if version not in refused})

        assert (ended.code, ended.states) == (0, ["end"])
        assert klar.quantities() == sent_versions
        assert_no_key_was_in_two_requests_at_once(klar)


def test_a_key_of_one_stream_does_not_wait_for_the_same_text_as_a_key_of_the_other() -> None:
    lines = [schema("refunds"), schema("transaction_costs")]
    lines += [each for number in range(40) for each in (refund_record(f"K{number}"), cost_record(f"K{number}"))]

    both = threading.Barrier(2, timeout=20)

    def answer_neither_before_both_have_come(moment: Moment, _: Request) -> None:
        if moment == "received":
            both.wait()

    with Sandbox(observer=answer_neither_before_both_have_come) as klar:
        ended = run(klar, lines, batch_size_rows=40, retry_timeout_seconds=0)

        assert (ended.code, len(klar.refunds), len(klar.transaction_costs)) == (0, 40, 40)
        assert not both.broken


def test_keys_that_conforming_makes_equal_are_one_key() -> None:
    lines = [REFUNDS_SCHEMA]
    for version, key in enumerate(["7", 7, 7.0, "7"]):
        fields = refund_record("7", version)["record"] | {"id": key}
        lines.append(record("refunds", **fields))

    with Watched() as klar:
        ended = run(klar, [*lines, state("end")])

        assert (ended.code, ended.states, klar.quantities()) == (0, ["end"], {"7": 3})
        assert [keys for _, keys in klar.loads()] == [["7"]]


def test_costs_of_a_line_reach_klar_in_order_though_its_sku_has_changed() -> None:
    """No page of Klar's says that the line's id with the SKU is a key of its own."""
    costs = [record("cogs", orderId="1", lineItemId="L", sku=f"S{n}", productCogs=n) for n in range(1, 7)]
    with Watched() as klar:
        ended = run(klar, [schema("cogs", key="orderId"), *costs, state(1)], batch_size_rows=1, max_parallel_requests=4)
        order = [json.loads(body)["items"][0]["productCogs"] for body in klar.bodies]
        assert (ended.code, ended.states, order, klar.peak_in_flight) == (0, [1], [1, 2, 3, 4, 5, 6], 1)
