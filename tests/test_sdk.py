"""The SDK's own tests for targets, on its own input, over our streams.

Their streams are not Klar's, so a stream map makes refunds of them, as it would for any tap.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from forked import run
from invocation import unplug
from singer_sdk.testing import SuiteConfig, TargetTestRunner
from singer_sdk.testing.suites import target_tests
from singer_sdk.testing.target_tests import TargetCliPrintsTest, TargetMultipleStateMessages

from target_klar.delivery.rejects import RecordRejectedError
from target_klar.target import TargetKlar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from target_klar.sandbox import Sandbox


EXCLUDED = {
    # Expects the SDK's MissingKeyPropertiesError for a key of the tap's. Here the key is Klar's, and a record without
    # it a refused record: see test_a_record_without_its_key_is_refused.
    "record_missing_key_property",
}
SUITE = {test.name: test for test in target_tests.tests if test.name not in EXCLUDED}
KEYS = {
    "array_data": 4,
    "camelcase": 2,
    "duplicate_records": 2,
    "encoded_string_data": 11,
    "no_primary_keys": 3,
    "optional_attributes": 4,
    "pk_updates": 2,
    "record_missing_fields": 2,
    "schema_no_properties": 1,
    "schema_updates": 6,
    "special_chars_in_attributes": 1,
}
"""How many refunds the input of a test makes, where it has records."""


class Runner(TargetTestRunner):
    """The SDK's, with what it leaves open closed at the end."""

    def __init__(self, **options: Any) -> None:
        super().__init__(TargetKlar, **options)
        self.targets: list[TargetKlar] = []

    def new_target(self) -> TargetKlar:
        target = super().new_target()
        assert isinstance(target, TargetKlar)
        self.targets.append(target)
        return target


def maps_of(test: type) -> dict[str, Any]:
    """Stream maps that make a refund of every record in the input of one of the SDK's tests."""
    if not hasattr(test, "singer_filepath"):
        return {}
    maps = {}
    for message in map(json.loads, test().singer_filepath.read_text().splitlines()):
        if message["type"] == "SCHEMA":
            key = next((name for name in message["schema"].get("properties", {}) if name.lower() == "id"), None)
            maps[message["stream"]] = {
                "__alias__": "refunds",
                "id": f"str({key})" if key else "str(record)[:0] or 'all the same'",
                "createdAt": "int(1700000000)",
                "lineItems": "[]",
                "__key_properties__": ["id"],
            }
    return maps


@pytest.fixture
def runner(klar: Sandbox) -> Iterator[Callable[..., Runner]]:
    """Makes a runner that loads into a local Klar."""
    made = []

    def make(maps: dict[str, Any] | None = None, lines: list[Any] | None = None) -> Runner:
        config = {"api_token": klar.token, "api_url": klar.url, "stream_maps": maps or {}}
        written = None if lines is None else io.StringIO("".join(json.dumps(each) + "\n" for each in lines))
        made.append(Runner(config=config, suite_config=SuiteConfig(), input_io=written))
        return made[-1]

    yield make
    for each in made:
        for target in each.targets:
            unplug(target.dispatcher)
        if each.target_input is not None:
            each.target_input.close()


@pytest.mark.parametrize("name", SUITE)
def test_the_sdks_own_test_passes(name: str, klar: Sandbox, runner: Callable[..., Runner]) -> None:
    test = SUITE[name]
    test().run(SuiteConfig(), None, runner(maps_of(test)))
    assert len(klar.refunds) == KEYS.get(name, 0)


def test_every_test_of_the_sdks_is_run_or_left_out_with_a_reason() -> None:
    assert {test.name for test in target_tests.tests} == SUITE.keys() | EXCLUDED
    assert TargetCliPrintsTest.name in SUITE


def test_a_record_without_its_key_is_refused(klar: Sandbox, runner: Callable[..., Runner]) -> None:
    schema = {"type": "object", "properties": {"orderId": {"type": "string"}}}
    lines = [
        {"type": "SCHEMA", "stream": "transaction_costs", "schema": schema, "key_properties": ["orderId"]},
        {"type": "RECORD", "stream": "transaction_costs", "record": {"transactionCosts": 8214}},
    ]
    with pytest.raises(
        RecordRejectedError, match=r"rejected transaction_costs \(no key, record 1 of the run\): orderId is"
    ):
        runner(lines=lines).sync_all()
    assert klar.posts() == []


def test_of_multiple_state_messages_the_last_one_comes_out_once_all_is_stored(
    klar: Sandbox, runner: Callable[..., Runner]
) -> None:
    # The SDK's test wants three of its states, drained at its own moments, and fails on the SDK's own sample target. In
    # our terms: states come out in order, none before its records are at Klar, and the last one always.
    of_sdk = TargetMultipleStateMessages()
    run_through = runner(maps_of(TargetMultipleStateMessages))
    run_through.input_filepath = of_sdk.singer_filepath
    run_through.sync_all()
    states = [
        message["value"]
        for message in map(json.loads, of_sdk.singer_filepath.read_text().splitlines())
        if message["type"] == "STATE"
    ]
    assert run_through.state_messages == states[-1:]
    assert len(klar.refunds) == 6

    klar.clear()
    lines = of_sdk.singer_filepath.read_text().splitlines()
    settings: dict[str, Any] = {"batch_size_rows": 1, "max_parallel_requests": 1, "checkpoint_interval_seconds": 0}
    ended = run(klar, lines, stream_maps=maps_of(TargetMultipleStateMessages), **settings)
    places = [states.index(value) for value in ended.states]
    assert ended.code == 0
    assert places == sorted(set(places))
    assert places[-1] == len(states) - 1
