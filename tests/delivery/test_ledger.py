"""The ledger alone: which STATE may leave, in whatever order batches land, and what it keeps meanwhile."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from nowhere import add, stream_to_nowhere
from thoroughness import size

from target_klar.delivery.ledger import MAX_WAITING, Ledger

MANY = size(100_000, 1_000_000)


def taken(ledger: Ledger) -> bytes | None:
    state = ledger.pop_covered()
    return state and state.value


@pytest.mark.parametrize(
    ("order", "stored", "leaves"),
    [
        ("first, second", {"first", "second"}, [b"0", b"2", b"4"]),
        ("first, second", {"second"}, [b"0", None, None]),
        ("first, second", {"first"}, [b"0", b"2", None]),
        ("first, second", set(), [b"0", None, None]),
        ("second, first", {"first", "second"}, [b"0", None, b"4"]),
        ("second, first", {"second"}, [b"0", None, None]),
        ("second, first", {"first"}, [b"0", None, b"2"]),
        ("second, first", set(), [b"0", None, None]),
    ],
)
def test_a_state_leaves_once_every_batch_before_it_is_stored_in_whatever_order_they_land(
    order: str, stored: set[str], leaves: list[bytes | None]
) -> None:
    ledger = Ledger()
    ledger.add_state(b"0")
    first = ledger.begin_batch()
    ledger.add_state(b"1")
    ledger.extend_batch(first)
    ledger.add_state(b"2")
    second = ledger.begin_batch()
    ledger.add_state(b"3")
    ledger.extend_batch(second)
    ledger.add_state(b"4")
    seen = [taken(ledger)]

    for landing in order.split(", "):
        if landing in stored:
            ledger.complete({"first": first, "second": second}[landing])
        seen.append(taken(ledger))

    assert seen == leaves
    assert taken(ledger) is None


def test_a_state_is_handed_out_once() -> None:
    ledger = Ledger()
    ledger.add_state(b"1")

    assert [taken(ledger), taken(ledger), ledger.has_covered] == [b"1", None, False]


def test_of_two_states_after_the_same_record_the_later_one_leaves() -> None:
    ledger = Ledger()
    first = ledger.begin_batch()
    ledger.add_state(b"1")
    ledger.add_state(b"2")
    ledger.complete(first)

    assert [taken(ledger), taken(ledger)] == [b"2", None]


@pytest.mark.parametrize(
    ("held", "leaves"), [(1, b"0"), (2, b"1"), (3, b"2")], ids=["the first", "the middle", "the last"]
)
def test_a_record_that_stops_the_run_lets_exactly_the_states_before_it_leave(held: int, leaves: bytes) -> None:
    ledger = Ledger()
    ledger.add_state(b"0")
    first = ledger.begin_batch()
    ledger.add_state(b"1")
    ledger.extend_batch(first)
    ledger.add_state(b"2")
    ledger.extend_batch(first)
    ledger.add_state(b"3")
    ledger.pin(held, first)

    assert [taken(ledger), taken(ledger)] == [leaves, None]


def test_a_held_record_keeps_back_later_states_for_ever_though_later_batches_land() -> None:
    ledger = Ledger()
    first = ledger.begin_batch()
    ledger.add_state(b"1")
    ledger.extend_batch(first)
    ledger.pin(2, first)
    later = ledger.begin_batch()
    ledger.add_state(b"3")
    ledger.complete(later)
    ledger.add_state(b"4")

    assert [taken(ledger), taken(ledger)] == [b"1", None]


def test_of_two_held_records_the_earlier_one_decides() -> None:
    ledger = Ledger()
    ledger.add_state(b"0")
    first = ledger.begin_batch()
    ledger.add_state(b"1")
    second = ledger.begin_batch()
    ledger.add_state(b"2")
    ledger.pin(2, second)
    ledger.pin(1, first)

    assert [taken(ledger), taken(ledger)] == [b"0", None]


class LedgerAgainstEveryRecordAndState(RuleBasedStateMachine):
    """The model remembers each record and each STATE, and looks through all of them every time."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.values = count(1)
        self.unsettled: set[int] = set()
        """The numbers of the records that are neither stored nor rejected."""
        self.begin_batch: dict[str, list[int]] = {}
        self.flying: list[list[int]] = []
        self.states: list[tuple[int, bytes]] = []
        self.stopped = False
        self.left = 0
        """How many of `states` lie at or before the last one that was handed out."""

    @precondition(lambda self: not self.stopped)
    @rule(messages=st.lists(st.sampled_from(["a", "b", "set aside", "state", "state"]), min_size=1, max_size=12))
    def tap_writes(self, messages: list[str]) -> None:
        for message in messages:
            if message == "state":
                value = str(next(self.values)).encode()
                self.ledger.add_state(value)
                self.states.append((self.ledger.number, value))
            elif message == "set aside":
                self.ledger.count()
            else:
                batch = self.begin_batch.setdefault(message, [])
                number = self.ledger.extend_batch(batch[0]) if batch else self.ledger.begin_batch()
                batch.append(number)
                self.unsettled.add(number)

    @precondition(lambda self: not self.stopped and len(self.states) > 4)
    @rule()
    def record_stops_the_run_before_it_gets_into_a_batch(self) -> None:
        self.ledger.pin(self.ledger.count())
        self.unsettled.add(self.ledger.number)
        self.stopped = True

    @precondition(lambda self: self.begin_batch)
    @rule(data=st.data())
    def batch_flies(self, data: st.DataObject) -> None:
        self.flying.append(self.begin_batch.pop(data.draw(st.sampled_from(sorted(self.begin_batch)))))

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def batch_is_settled(self, data: st.DataObject) -> None:
        batch = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
        self.ledger.complete(batch[0])
        self.unsettled.difference_update(batch)

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def batch_is_held(self, data: st.DataObject) -> None:
        batch = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
        number = data.draw(st.sampled_from(batch))
        self.ledger.pin(number, batch[0])
        self.stopped = True
        self.unsettled.difference_update(early for early in batch if early < number)

    def covered(self) -> list[int]:
        """Which of the states may leave and were not overtaken by one that left, as positions."""
        return [
            position
            for position in range(self.left, len(self.states))
            if not any(record <= self.states[position][0] for record in self.unsettled)
        ]

    @rule()
    def state_leaves(self) -> None:
        covered = self.covered()
        state = self.ledger.pop_covered()
        if not covered:
            assert state is None
            return
        assert state == self.states[covered[-1]]
        self.left = covered[-1] + 1

    @invariant()
    def says_whether_one_may_leave(self) -> None:
        assert self.ledger.has_covered == bool(self.covered())

    @invariant()
    def keeps_at_most_one_state_more_than_records_are_unsettled(self) -> None:
        assert len(self.ledger._waiting) <= len(self.unsettled) + 1


LedgerAgainstEveryRecordAndState.TestCase.settings = settings(
    max_examples=size(50, 200), stateful_step_count=30, deadline=None
)
test_the_ledger_agrees_with_a_model_that_keeps_every_record_and_every_state = LedgerAgainstEveryRecordAndState.TestCase


def test_one_record_held_open_costs_nothing_while_any_number_of_records_and_states_go_by() -> None:
    ledger = Ledger()
    held = ledger.begin_batch()
    batch = states = 0
    for number in range(MANY):
        if number % 1000 == 0:
            states = max(states, len(ledger._waiting))
            if batch:
                ledger.complete(batch)
            assert len(ledger._waiting) <= 1
            batch = ledger.begin_batch()
        else:
            ledger.extend_batch(batch)
        ledger.add_state(b"a state")
    ledger.complete(batch)

    assert states <= 1001  # those within one batch, since any of its records may come to stop the run
    assert len(ledger._incomplete) == 1
    assert taken(ledger) is None
    ledger.complete(held)
    assert ledger.pop_covered() == (MANY + 1, b"a state")


def test_any_number_of_states_without_any_batch_are_one_state() -> None:
    ledger = Ledger()
    for _ in range(MANY):
        ledger.count()
        ledger.add_state(b"a state")

    assert [len(ledger._waiting), ledger.pop_covered()] == [1, (MANY, b"a state")]


def test_one_hot_key_updated_any_number_of_times_between_two_others_keeps_three_records() -> None:
    stream = stream_to_nowhere("transaction_costs")
    add(stream, {"orderId": "before", "transactionCosts": 0})
    for number in range(2, MANY + 2):
        add(stream, {"orderId": "hot", "transactionCosts": number})
    add(stream, {"orderId": "after", "transactionCosts": 0})

    assert stream.batch is not None
    assert [(entry.earliest, entry.number, entry.sent) for entry in stream.batch.entries.values()] == [
        (1, 1, b'{"orderId":"before","transactionCosts":0}'),
        (2, MANY + 1, b'{"orderId":"hot","transactionCosts":%d}' % (MANY + 1)),
        (MANY + 2, MANY + 2, b'{"orderId":"after","transactionCosts":0}'),
    ]
    assert stream.merged == MANY - 1
    stream.flush()
    (line,) = stream.unaggregated.lines()
    assert line.startswith("transaction_costs: 1 key (orderId) came again with other transactionCosts")


def test_states_that_wait_are_bounded_in_bytes_and_the_newest_is_never_dropped() -> None:
    ledger = Ledger()
    batches = []
    for _ in range(40):
        batches.append(ledger.begin_batch())
        ledger.add_state(b"%d" % ledger.number + b" " * (MAX_WAITING // 8))
        assert sum(len(state.value) for state in ledger._waiting) == ledger._waiting_bytes <= MAX_WAITING
    left = []
    for batch in batches:
        ledger.complete(batch)
        left += [state.number] if (state := ledger.pop_covered()) else []
    assert left == list(range(34, 41)), "those that fit, of the newest batches"


def test_a_state_larger_than_the_bound_is_kept_while_it_is_the_newest() -> None:
    ledger = Ledger()
    first = ledger.begin_batch()
    ledger.add_state(b"small")
    ledger.extend_batch(first)
    ledger.add_state(b" " * (2 * MAX_WAITING))
    ledger.complete(first)
    state = ledger.pop_covered()
    assert state is not None
    assert (state.number, ledger.pop_covered()) == (2, None)


def test_of_the_states_within_one_batch_the_newest_makes_room_for_those_of_others() -> None:
    ledger = Ledger()
    first = ledger.begin_batch()
    ledger.add_state(b"1")
    for _ in range(40):
        ledger.extend_batch(first)
        ledger.add_state(b" " * (MAX_WAITING // 8))
    second = ledger.begin_batch()
    ledger.add_state(b"42")
    ledger.complete(first)
    state = ledger.pop_covered()
    assert state is not None
    assert state.number == 41
    ledger.complete(second)
    assert ledger.pop_covered() == (42, b"42")
