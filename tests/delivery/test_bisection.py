"""The search for the bad records of a batch, against a Klar that is a function: all are found, in few requests."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from klar_objects import REFUNDS
from thoroughness import size as cases

from target_klar.api.answers import Answer, Verdict
from target_klar.delivery.bisection import Bisection
from target_klar.records.json_codec import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

TELLING = ["index", "tree", "tree-item", "ids", "failed-ids", "207"]
SILENT = ["opaque", "nothing", "elsewhere", "everyone", "207-opaque", "message", "error", "detail", "texts"]
UNDELIVERABLE = ["too-large", "page"]
LIARS = ["one-by-one", "lies", "lies-and-truth", "207-omits", "207-elsewhere"]
OTHER_WORDS: list[Callable[[list[str]], dict[str, Any]]] = [
    lambda failed: {"errors": [{"orderId": name, "message": "no"} for name in failed]},
    lambda failed: {"errors": dict.fromkeys(failed, "no")},
    lambda failed: {"errors": [f"{name}: no" for name in failed]},
    lambda failed: {"errors": [], "invalidOrderIds": failed},
    lambda failed: {"rejected_order_ids": failed},
    lambda failed: {"failedCount": 1 + len(failed)},
    lambda failed: {"skipped": [{"orderId": name} for name in failed]},
    lambda failed: {"details": [{"result": {"failed": failed}}]},
]
"""How a partial answer could tell of the others that failed, beside the one that it names as Klar's pages do."""


def numbered_refund(number: int, line: int | None = None) -> dict[str, Any]:
    line = number if line is None else line
    return {
        "id": f"R{number}",
        "createdAt": 1_700_000_000,
        "lineItems": [{"id": f"I{line}", "lineItemId": f"L{line}", "refundedQuantity": 1}],
    }


@dataclass
class Klar:
    """Refuses the bad refunds, each request in a style drawn from `styles`."""

    bad: Collection[str]
    styles: Sequence[str]
    chance: random.Random = field(default_factory=lambda: random.Random(7))
    stored: set[str] = field(default_factory=set)
    requests: int = 0

    def __call__(self, objects: list[dict[str, Any]]) -> Answer:
        assert objects
        self.requests += 1
        failed = [index for index, sent in enumerate(objects) if sent["id"] in self.bad]
        if not failed:
            self.stored.update(sent["id"] for sent in objects)
            return Answer(Verdict.ACCEPTED)
        style = self.chance.choice(self.styles)
        if style.startswith("207"):
            self.stored.update(sent["id"] for sent in objects if sent["id"] not in self.bad)
        return self.answer(style, objects, failed)

    def answer(self, style: str, objects: list[dict[str, Any]], failed: list[int]) -> Answer:
        ids = [objects[index]["id"] for index in failed]
        lies = self.chance.sample([sent["id"] for sent in objects], self.chance.randint(0, len(objects)))
        refusals: dict[str, Any] = {
            "index": {"errors": [self.flat(objects, index, key=f"{index}.id") for index in failed]},
            "one-by-one": {"errors": [self.flat(objects, failed[0], key=f"{failed[0]}.id")]},
            "ids": {"errors": [self.flat(objects, index) for index in failed]},
            "tree": [self.leaf(objects[index], ids[at]) for at, index in enumerate(failed)],
            "tree-item": [
                {"children": [self.leaf(objects[index]["lineItems"][0], ids[at])]} for at, index in enumerate(failed)
            ],
            "everyone": [self.leaf(sent, sent["id"]) for sent in objects],
            "elsewhere": [self.leaf({"id": "nobody"}, "nobody"), self.leaf(None, "nobody")],
            "failed-ids": {"failedOrderIds": ids},
            "lies": {"failedOrderIds": lies},
            "lies-and-truth": {"failedOrderIds": [*lies, *ids, "nobody"]},
            "opaque": "Bad Request",
            "nothing": None,
            "message": {"statusCode": 400, "message": "no, thank you"},
            "error": {"error": "no, thank you"},
            "detail": {"detail": "no, thank you"},
            "texts": {"status": "INVALID", "errors": ["no, thank you"]},
        }
        taken = [sent["id"] for index, sent in enumerate(objects) if index not in failed]
        more = self.chance.choice(OTHER_WORDS)(ids[1:]) if ids[1:] else {}
        partly = {
            "207": refusals["failed-ids"],
            "207-omits": {"failedOrderIds": ids[1:], "successfulOrderIds": taken},
            "207-elsewhere": {"failedOrderIds": ids[:1], **more},
            "207-opaque": {"status": "PARTIALLY_VALID"},
        }
        if style in partly:
            return Answer(Verdict.PARTIAL, partly[style])
        if style == "too-large":
            return Answer(Verdict.TOO_LARGE, "too large")
        if style == "page":
            return Answer(Verdict.NOT_KLARS, "HTTP 400 with an HTML page")
        return Answer(Verdict.REJECTED, refusals[style])

    def flat(self, objects: list[dict[str, Any]], index: int, **key: str) -> dict[str, Any]:
        name = objects[index]["id"]
        return {"id": name, **key, "message": f"{name} is unwanted"}

    def leaf(self, target: Any, name: str) -> dict[str, Any]:
        return {"target": target, "property": "id", "constraints": {"isWanted": f"{name} is unwanted"}}


def bisection_of(sent: list[dict[str, Any]], *, remaining: int, verified: bool) -> Bisection:
    return Bisection([encode(each) for each in sent], REFUNDS, remaining=remaining, verified=verified)


def isolate(
    klar: Klar, sent: list[dict[str, Any]], *, remaining: int = 10**9, verified: bool = True
) -> tuple[Bisection, list[int]]:
    bisection = bisection_of(sent, remaining=remaining, verified=verified)
    counts: list[int] = []
    while segment := bisection.next():
        taken = bisection.apply(segment, klar([sent[position] for position in segment.positions]))
        assert taken <= len(segment.positions)
        counts += [taken] if taken else []
    assert klar.requests <= 3 * len(sent)  # it always ends
    assert {sent[position]["id"] for position in bisection.accepted} <= klar.stored
    assert sum(counts) == len(bisection.accepted)
    assert bisection.accepted.isdisjoint(bisection.rejected)
    assert {sent[position]["id"] for position in bisection.rejected} <= set(klar.bad)
    return bisection, counts


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[dict[str, Any]], Klar]:
    """Refunds of which some share line items and ids, and a Klar that does not want some of them."""
    size = draw(st.integers(1, 40))
    sent = [numbered_refund(number, draw(st.integers(0, size))) for number in range(size)]
    for each in sent:
        each["lineItems"][0]["id"] = draw(st.sampled_from([f"R{number}" for number in range(size)] + ["I1", "I2"]))
    bad = draw(st.sets(st.sampled_from([each["id"] for each in sent])))
    styles = draw(st.lists(st.sampled_from(TELLING + SILENT + LIARS), min_size=1, max_size=4))
    return sent, Klar(bad, styles, random.Random(draw(st.integers(0, 999))))


@settings(max_examples=cases(100, 600), deadline=None)
@given(worlds())
def test_whatever_klar_says_every_good_record_is_accepted_and_every_bad_one_refused(
    world: tuple[list[dict[str, Any]], Klar],
) -> None:
    sent, klar = world
    bisection, _ = isolate(klar, sent)

    assert {sent[position]["id"] for position in bisection.rejected} == set(klar.bad)
    assert len(bisection.accepted) + len(bisection.rejected) == len(sent)
    assert klar.stored == {each["id"] for each in sent} - set(klar.bad)
    assert not bisection.all_rejected


@settings(max_examples=cases(100, 600), deadline=None)
@given(worlds(), st.integers(0, 5))
def test_without_room_everything_left_of_the_one_too_many_is_accepted_or_refused(
    world: tuple[list[dict[str, Any]], Klar], remaining: int
) -> None:
    sent, klar = world
    bisection, _ = isolate(klar, sent, remaining=remaining)

    refused = sorted(bisection.rejected)
    stop = refused[remaining] if len(refused) > remaining else len(sent)
    assert refused[: remaining + 1] == [i for i, each in enumerate(sent) if each["id"] in klar.bad][: remaining + 1]
    assert {position for position in range(stop) if sent[position]["id"] not in klar.bad} <= bisection.accepted


@settings(max_examples=cases(100, 600), deadline=None)
@given(worlds())
def test_a_first_batch_is_given_up_only_while_nothing_of_it_was_accepted(
    world: tuple[list[dict[str, Any]], Klar],
) -> None:
    sent, klar = world
    bisection, _ = isolate(klar, sent, verified=False)

    if bisection.all_rejected:
        assert not bisection.accepted
    else:
        assert len(bisection.accepted) + len(bisection.rejected) == len(sent)


@pytest.mark.parametrize("style", TELLING)
def test_every_refused_record_has_the_reason_that_klar_gave(style: str) -> None:
    sent = [numbered_refund(number) for number in range(1000)]
    bisection, _ = isolate(Klar({"R0", "R500", "R999"}, [style]), sent)

    told = {position: problems[0].message for position, problems in bisection.rejected.items()}
    named = "Klar lists it as failed, without a reason"
    bare = style in ("failed-ids", "207")
    assert told == {position: named if bare else f"R{position} is unwanted" for position in (0, 500, 999)}


@pytest.mark.parametrize(
    ("style", "reason"),
    [
        ("opaque", "Bad Request"),
        ("nothing", "Klar gave no reason"),
        ("207-opaque", "Klar gave no reason"),
        ("message", "no, thank you"),
        ("error", "no, thank you"),
        ("detail", "no, thank you"),
        ("texts", "no, thank you"),
    ],
)
def test_where_klar_tells_nothing_the_refused_record_still_has_a_reason(style: str, reason: str) -> None:
    bisection, _ = isolate(Klar({"R3"}, [style]), [numbered_refund(number) for number in range(10)])

    assert {position: [str(each).strip() for each in why] for position, why in bisection.rejected.items()} == {
        3: [reason]
    }


@pytest.mark.parametrize("style", ["207-omits", "207-elsewhere"])
@pytest.mark.parametrize("seed", range(cases(8, 40)))
def test_a_record_that_a_207_does_not_plainly_call_failed_or_taken_is_sent_again(style: str, seed: int) -> None:
    klar = Klar({"R3", "R7"}, [style], random.Random(seed))
    bisection, _ = isolate(klar, [numbered_refund(number) for number in range(10)])

    assert (set(bisection.rejected), len(bisection.accepted)) == ({3, 7}, 8)


def batches(count: int) -> list[list[dict[str, Any]]]:
    sent = [numbered_refund(number) for number in range(count)]
    return [sent[start : start + 1000] for start in range(0, count, 1000)]


@pytest.mark.parametrize(("styles", "most"), [(TELLING, 12), (SILENT, 70)], ids=["Klar says which", "Klar does not"])
def test_three_refused_of_2500_cost_few_requests_wherever_they_stand(styles: list[str], most: int) -> None:
    triples = [(0, 1, 2), (0, 500, 999), (499, 1250, 2499), (333, 666, 1001)]
    for style in styles:
        for triple in triples[: cases(2, 4)]:
            klar = Klar({f"R{number}" for number in triple}, [style])
            for number, batch in enumerate(batches(2500)):
                isolate(klar, batch, verified=bool(number))
            assert (len(klar.stored), style) == (2497, style)
            assert (klar.requests <= most, style, triple) == (True, style, triple)


@pytest.mark.parametrize("style", TELLING + SILENT)
@pytest.mark.parametrize("remaining", [0, 100])
def test_a_klar_that_refuses_all_of_the_first_batch_is_seen_as_such_in_a_few_requests(
    style: str, remaining: int
) -> None:
    sent = [numbered_refund(number) for number in range(1000)]
    klar = Klar({each["id"] for each in sent}, [style])
    bisection, counts = isolate(klar, sent, remaining=remaining, verified=False)

    assert (bisection.all_rejected, bisection.stopped, counts) == (True, None, [])
    assert klar.requests <= 15
    silent = style in ("nothing", "207-opaque")
    assert (str(bisection.reason).strip() == "Klar gave no reason") is silent


def test_it_is_seen_too_where_a_few_cannot_be_told_apart_while_all_others_are_named() -> None:
    sent = [numbered_refund(number, max(number, 1)) for number in range(1000)]
    sent[0]["lineItems"] = sent[1]["lineItems"]
    klar = Klar({each["id"] for each in sent}, ["tree-item"])
    bisection, _ = isolate(klar, sent, remaining=100, verified=False)

    assert (bisection.all_rejected, klar.requests) == (True, 12)


FIRST_BATCHES: dict[str, tuple[int, set[int]]] = {
    "one in each quarter": (400, {0, 100, 200, 300}),
    "one in each quarter, at its end": (400, {99, 199, 299, 399}),
    "one in each eighth, at its start": (400, set(range(0, 400, 50))),
    "one in each eighth, in its middle": (400, set(range(25, 400, 50))),
    "every fifth": (200, set(range(2, 200, 5))),
    "every other": (64, set(range(0, 64, 2))),
    "every other, the odd ones": (64, set(range(1, 64, 2))),
    "all but the last of each quarter": (8, {0, 2, 4, 6}),
    "all but one of eight": (8, {0, 1, 2, 3, 5, 6, 7}),
    "all of seven": (7, set(range(7))),
    "the only one": (1, {0}),
}
"""How many records, and which of them are bad."""


@pytest.mark.parametrize("style", ["opaque", "nothing", "207-opaque", "message", "everyone"])
@pytest.mark.parametrize("name", FIRST_BATCHES)
def test_bad_records_of_a_first_batch_are_single_records_wherever_they_stand(name: str, style: str) -> None:
    size, bad = FIRST_BATCHES[name]
    sent = [numbered_refund(number) for number in range(size)]
    klar = Klar({f"R{number}" for number in bad}, [style])
    bisection, _ = isolate(klar, sent, verified=False)

    assert (bisection.all_rejected, set(bisection.rejected)) == (False, bad)
    assert len(bisection.accepted) == size - len(bad)
    halved = Klar(klar.bad, [style])
    isolate(halved, sent)
    assert klar.requests <= halved.requests + 8


@pytest.mark.parametrize("size", [8, 9, 15, 63, 1000])
@pytest.mark.parametrize("style", ["opaque", "everyone", "207-opaque", "ids"])
def test_a_first_batch_of_eight_or_more_is_given_up_after_eight_single_records(size: int, style: str) -> None:
    sent = [numbered_refund(number) for number in range(size)]
    klar = Klar({each["id"] for each in sent}, [style])
    bisection, _ = isolate(klar, sent, verified=False)

    assert (bisection.all_rejected, klar.requests) == (True, 15)
    assert len(bisection.rejected) == 8
    if size >= 64:  # one from each eighth
        assert sorted(position * 8 // size for position in bisection.rejected) == list(range(8))


@pytest.mark.parametrize("style", UNDELIVERABLE)
@pytest.mark.parametrize("verified", [False, True])
@pytest.mark.parametrize("bad", [0, 1, 499, 500, 999])
def test_what_is_too_large_or_refused_by_somebody_else_stops_before_it_and_rejects_nothing(
    style: str, bad: int, *, verified: bool
) -> None:
    sent = [numbered_refund(number) for number in range(1000)]
    klar = Klar({f"R{bad}", "R999"}, [style])
    bisection, _ = isolate(klar, sent, verified=verified)

    assert bisection.stopped is not None
    assert bisection.stopped.position == bad
    assert ("413" if style == "too-large" else "an HTML page") in bisection.stopped.why
    assert (bisection.rejected, bisection.all_rejected) == ({}, False)
    assert set(range(bad)) <= bisection.accepted
    assert klar.requests <= 25


def test_a_stop_leaves_to_the_left_of_it_what_klar_rejects_rejected() -> None:
    sent = [numbered_refund(number) for number in range(100)]
    klar, page = Klar({"R10"}, ["opaque"]), Klar({"R50"}, ["page"])
    bisection = bisection_of(sent, remaining=5, verified=True)
    while segment := bisection.next():
        objects = [sent[position] for position in segment.positions]
        answer = page(objects)
        bisection.apply(segment, klar(objects) if answer.verdict is Verdict.ACCEPTED else answer)

    assert (bisection.stopped and bisection.stopped[0], set(bisection.rejected)) == (50, {10})
    assert {*range(10), *range(11, 50)} <= bisection.accepted


def test_one_good_record_is_enough_for_the_first_batch_not_to_be_hopeless() -> None:
    sent = [numbered_refund(number) for number in range(1000)]
    bisection, _ = isolate(Klar({each["id"] for each in sent[1:]}, ["index"]), sent, verified=False)

    assert (bisection.all_rejected, bisection.accepted, len(bisection.rejected)) == (False, {0}, 999)


def test_a_batch_after_the_first_is_isolated_to_the_end_though_all_of_it_is_refused() -> None:
    sent = [numbered_refund(number) for number in range(16)]
    bisection, _ = isolate(Klar({each["id"] for each in sent}, ["opaque"]), sent)

    assert (bisection.all_rejected, len(bisection.rejected)) == (False, 16)


@pytest.mark.parametrize("size", [1, 3, 7])
def test_fewer_than_eight_records_are_single_records_even_in_the_first_batch(size: int) -> None:
    sent = [numbered_refund(number) for number in range(size)]
    bisection, _ = isolate(Klar({each["id"] for each in sent}, ["opaque"]), sent, verified=False)

    assert (bisection.all_rejected, len(bisection.rejected)) == (False, size)


def test_past_the_room_nothing_to_the_right_is_sent_any_more() -> None:
    sent = [numbered_refund(number) for number in range(64)]
    klar = Klar({f"R{number}" for number in range(10, 64)}, ["opaque"])
    bisection, _ = isolate(klar, sent, remaining=0)

    assert min(bisection.rejected) == 10
    assert bisection.accepted == set(range(10))
    assert klar.requests < 20


@pytest.mark.parametrize("remaining", [0, 1])
@pytest.mark.parametrize("style", TELLING)
def test_once_a_record_is_known_to_stop_the_run_none_behind_it_is_sent(style: str, remaining: int) -> None:
    sent = [numbered_refund(number) for number in range(64)]
    bad = [20, 40]
    klar = Klar({f"R{number}" for number in bad}, [style])
    bisection = bisection_of(sent, remaining=remaining, verified=True)
    while segment := bisection.next():
        known = sorted(bisection.rejected)[remaining:]
        assert not known or max(segment.positions) < known[0]
        bisection.apply(segment, klar([sent[position] for position in segment.positions]))

    assert {*range(bad[remaining])} - {*bad} <= bisection.accepted


@pytest.mark.parametrize("style", TELLING)
def test_a_line_item_that_has_the_id_of_another_refund_does_not_have_that_refund_refused(style: str) -> None:
    sent = [numbered_refund(0), numbered_refund(1)]
    sent[1]["lineItems"][0]["id"] = "R0"
    bisection, _ = isolate(Klar({"R1"}, [style]), sent)
    assert (bisection.accepted, set(bisection.rejected)) == ({0}, {1})
    bisection, _ = isolate(Klar({"R0"}, [style]), sent)
    assert (bisection.accepted, set(bisection.rejected)) == ({1}, {0})


def test_a_first_batch_too_large_for_klar_is_halved_until_it_fits_and_never_given_up() -> None:
    sent = [numbered_refund(number) for number in range(100)]
    bisection = bisection_of(sent, remaining=0, verified=False)
    while segment := bisection.next():
        bisection.apply(segment, Answer(Verdict.TOO_LARGE if len(segment.positions) > 13 else Verdict.ACCEPTED))

    assert (len(bisection.accepted), bisection.rejected, bisection.all_rejected) == (100, {}, False)


def test_a_first_batch_too_large_for_klar_is_given_up_if_what_fits_is_rejected() -> None:
    bisection = bisection_of([numbered_refund(number) for number in range(1000)], remaining=100, verified=False)
    requests = 0
    while segment := bisection.next():
        too_large = len(segment.positions) > 250
        bisection.apply(segment, Answer(Verdict.TOO_LARGE) if too_large else Answer(Verdict.REJECTED, {"error": "no"}))
        requests += 1

    assert (bisection.all_rejected, bisection.accepted, len(bisection.rejected)) == (True, set(), 8)
    assert (str(bisection.reason), requests) == ("no", 3 + 4 * 7 + 8)
