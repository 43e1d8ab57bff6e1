"""Malformed input: the run ends with its line number and nothing of its text, and all before it is delivered."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from forked import run, start
from messages import COSTS_SCHEMA, REFUNDS_SCHEMA, cost_record, line, record, refund_record, schema, state

from target_klar.records.formatting import counted

if TYPE_CHECKING:
    from target_klar.sandbox import Sandbox

KEPT = "The last STATE written covers 1 of the 1 record read."
RECORD = '{"type":"RECORD","stream":"refunds","record":'
SECRET = "anna@customer.example"
DEEP = 100_000  # levels; how deep is too deep depends on the Python

MALFORMED: dict[str, tuple[Any, str]] = {
    "truncated JSON": (f'{RECORD}{{"id": "{SECRET}"', f"not valid JSON (after byte {len(RECORD) + 30}"),
    "not JSON": (SECRET, "not valid JSON (after byte 0"),
    "a list": (f'["{SECRET}"]', "not a Singer message, which is a JSON object"),
    "a number": ("5", "not a Singer message, which is a JSON object"),
    "a number that nobody can hold": ("9" * 5000, "not a Singer message, which is a JSON object"),
    "no type": (f'{{"a":"{SECRET}"}}', "not a Singer message: it has no `type`"),
    "a type that is no text": ('{"type":[]}', "a Singer message of an unknown `type`"),
    "an unknown type": (f'{{"type":"{SECRET}"}}', "a Singer message of an unknown `type`"),
    "no record": ('{"type":"RECORD","stream":"refunds"}', "a RECORD of refunds without `record`"),
    "no stream": ('{"type":"RECORD","record":{}}', "a RECORD without `stream`"),
    "a stream that is no text": (
        '{"type":"RECORD","stream":[],"record":{}}',
        "a record of an array of 0 before the SCHEMA of its stream",
    ),
    "a stream with half a character": (
        '{"type":"RECORD","stream":"\\ud800\\n","record":{}}',
        "a record of \\ud800\\n before the SCHEMA of its stream",
    ),
    "a record before its SCHEMA": (
        cost_record("c"),
        "a record of transaction_costs before the SCHEMA of its stream",
    ),
    "batch files before their SCHEMA": (
        '{"type":"BATCH","stream":"transaction_costs","encoding":{},"manifest":[]}',
        "a record of transaction_costs before the SCHEMA of its stream",
    ),
    "a SCHEMA without properties": (
        '{"type":"SCHEMA","stream":"refunds","schema":{}}',
        "a SCHEMA of refunds without `properties`",
    ),
    "a SCHEMA whose properties are none": (
        '{"type":"SCHEMA","stream":"transaction_costs","schema":{"properties":3}}',
        "a SCHEMA of transaction_costs without `properties`",
    ),
    "a SCHEMA without a schema": ('{"type":"SCHEMA","stream":"refunds"}', "a SCHEMA of refunds without `schema`"),
    "a STATE without value": ('{"type":"STATE"}', "a STATE without `value`"),
    "a BATCH without files": ('{"type":"BATCH","stream":"refunds"}', "a BATCH of refunds without `encoding`"),
    "a BATCH with nonsense": (
        '{"type":"BATCH","stream":"refunds","encoding":5,"manifest":[]}',
        "a BATCH message of refunds whose `encoding` is not an object",
    ),
    "a BATCH of what is no file": (
        '{"type":"BATCH","stream":"refunds","encoding":{"format":"jsonl"},"manifest":[[[]]]}',
        "a BATCH message of refunds whose `manifest` is not a list of file addresses",
    ),
    "brackets": ("[" * DEEP, "not usable JSON (nested deeper than this Python reads)"),
    "brackets in a record": (
        f"{RECORD}{'[' * DEEP}{']' * DEEP}}}",
        "not usable JSON (nested deeper than this Python reads)",
    ),
    "brackets in a SCHEMA": (
        f'{{"type":"SCHEMA","stream":"refunds","schema":{{"properties":{"[" * DEEP}{"]" * DEEP}}}}}',
        "not usable JSON (nested deeper than this Python reads)",
    ),
    "3 MB of garbage": ("x" * 3_000_000, "not valid JSON (after byte 0"),
    "NaN and a cut": (f'{RECORD}{{"id":NaN', f"not valid JSON (after byte {len(RECORD) + 9}"),
    "text that is not UTF-8": (
        f'{RECORD}{{"id":"{SECRET}'.encode() + b'\xff\xfe"}}',
        f"not valid JSON (after byte {len(RECORD) + 28}: not UTF-8)",
    ),
    "NUL bytes": (b"\0\0\x1b[31m", "not valid JSON (after byte 0"),
    "a byte order mark": (b'\xef\xbb\xbf{"type":"STATE","value":2}', "not valid JSON (after byte 0"),
}


@pytest.mark.parametrize(("bad", "wrong"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_line_stops_the_run_with_all_before_it_delivered_and_checkpointed(
    klar: Sandbox, bad: Any, wrong: str
) -> None:
    ended = run(
        klar, [REFUNDS_SCHEMA, refund_record("a"), state({"seen": 1}), bad, refund_record("z"), state({"seen": 2})]
    )
    assert (ended.code, ended.states, set(klar.refunds)) == (1, [{"seen": 1}], {"a"})
    assert len(ended.errors) == 1
    assert ended.errors[0].startswith(f"Line 4 of the input: {wrong}")
    size = counted(len(line(bad)) - 1, "byte")
    assert ended.errors[0].endswith(f". It has {size}; `sed -n 4p` on the tap's output shows it. {KEPT}")
    assert SECRET not in ended.err
    assert "Traceback" not in ended.err
    assert len(ended.err) < 4000


def test_a_line_that_is_too_long_to_read_is_named_by_its_number(klar: Sandbox) -> None:
    ended = run(klar, [REFUNDS_SCHEMA, refund_record("a"), state(1), b"x" * (65 << 20), state(2)])
    assert (ended.code, ended.states, set(klar.refunds)) == (1, [1], {"a"})
    assert ended.errors == [
        f"Line 4 of the input: longer than 64 MB. Have the tap leave out what makes it so long. {KEPT}"
    ]


@pytest.mark.parametrize(
    "first", [refund_record("a"), {"type": "SCHEMA", "stream": "refunds"}, {"type": "BATCH", "stream": "refunds"}]
)
def test_a_singer_message_that_is_wrong_is_not_taken_for_a_row(klar: Sandbox, first: Any) -> None:
    (error,) = run(klar, [first]).errors
    assert error.startswith("Line 1 of the input: ")
    assert "--stream" not in error


def test_blank_lines_line_ends_and_a_missing_last_one_make_no_difference(klar: Sandbox) -> None:
    a, b = json.dumps(refund_record("a")), json.dumps(refund_record("b"))
    ended = run(klar, ["", "  \t", REFUNDS_SCHEMA, b"", a + "\r", "\r", b, "\n\n", line(state(1))[:-1]])
    assert (ended.code, ended.states, set(klar.refunds)) == (0, [1], {"a", "b"})


def test_line_numbers_count_blank_lines_too(klar: Sandbox) -> None:
    ended = run(klar, ["", REFUNDS_SCHEMA, "\r", "", "what"])
    assert ended.errors[0].startswith("Line 5 of the input: ")


def test_a_last_line_without_its_end_is_cut_off_only_if_its_json_is(klar: Sandbox) -> None:
    process = start({"api_token": klar.token, "api_url": klar.url})
    out, err = process.communicate(
        line(REFUNDS_SCHEMA) + line(refund_record("a")) + line(state(1)) + line(refund_record("b"))[:-20], timeout=60
    )
    assert (process.returncode, out) == (1, b"1\n")
    assert b"Line 4 of the input: not valid JSON (after byte " in err
    assert klar.refunds.keys() == {"a"}


def test_a_record_of_3_mb_passes_and_is_sent_without_what_klar_does_not_know(klar: Sandbox) -> None:
    ended = run(klar, [REFUNDS_SCHEMA, refund_record("a", note="n" * 3_000_000), refund_record("b"), state(1)])
    assert (ended.code, ended.states, set(klar.refunds)) == (0, [1], {"a", "b"})
    assert len(klar.bodies[0]) < 1000


def test_lines_may_come_in_pieces_of_any_size(klar: Sandbox) -> None:
    data = b"".join(map(line, [REFUNDS_SCHEMA, refund_record("\u00e4\u20ac\U0001f600"), state("\u00e4")]))
    process = start({"api_token": klar.token, "api_url": klar.url})
    for byte in data[:-1]:
        process.stdin.write(bytes([byte]))
        process.stdin.flush()
        time.sleep(0.001)
    out, _ = process.communicate(data[-1:], timeout=60)
    assert (process.returncode, json.loads(out)) == (0, "\u00e4")
    assert klar.refunds.keys() == {"\u00e4\u20ac\U0001f600"}


def test_messages_that_mean_nothing_here_are_ignored(klar: Sandbox) -> None:
    versions = [{"type": "ACTIVATE_VERSION", "stream": "refunds", "version": number} for number in (1, 2)]
    ended = run(klar, [REFUNDS_SCHEMA, *versions, refund_record("a"), *versions, state(1)])
    assert (ended.code, ended.states, set(klar.refunds)) == (0, [1], {"a"})
    assert len(ended.said("ACTIVATE_VERSION")) == 1
    assert ended.said("refunds: ACTIVATE_VERSION is ignored, so Klar keeps records that the tap no longer sends.")
    assert not ended.said("WARNING")


MARKED = schema("refunds", _sdc_deleted_at={})
BY_MARK = "bool(record.get('_sdc_deleted_at') or id)"
COSTS_VERSION = {"type": "ACTIVATE_VERSION", "stream": "transaction_costs", "version": 1}


@pytest.mark.parametrize(
    ("first", "settings", "warned"),
    [
        ([REFUNDS_SCHEMA], {"hard_delete": True}, True),
        ([REFUNDS_SCHEMA], {"hard_delete": False}, False),
        ([MARKED], {"hard_delete": True}, False),  # as of a tap that reads a log, and says what is deleted
        ([REFUNDS_SCHEMA], {"hard_delete": True, "stream_maps": {"refunds": {"_sdc_deleted_at": "None"}}}, False),
        ([REFUNDS_SCHEMA], {"hard_delete": True, "stream_maps": {"refunds": {"__filter__": BY_MARK}}}, False),
        ([REFUNDS_SCHEMA], {"hard_delete": True, "stream_maps": {"refunds": {"__filter__": "bool(id)"}}}, True),
        ([REFUNDS_SCHEMA], {"hard_delete": True, "stream_maps": {"refunds": "__NULL__"}}, False),
        ([COSTS_SCHEMA, COSTS_VERSION, MARKED], {"hard_delete": True}, False),  # no cost can be cancelled
        ([], {"hard_delete": True}, False),  # of no stream at all
    ],
)
def test_whoever_asks_for_deletions_is_warned_that_a_version_deletes_nothing(
    first: list[Any], settings: dict[str, Any], klar: Sandbox, *, warned: bool
) -> None:
    ended = run(klar, [*first, {"type": "ACTIVATE_VERSION", "stream": "refunds", "version": 1}, state(1)], **settings)
    assert (ended.code, ended.states) == (0, [1])
    told = ended.said("refunds: ACTIVATE_VERSION is ignored")
    assert (len(told), "WARNING" in told[0], "compare ids" in told[0]) == (1, warned, warned)
    assert len([text for text in ended.said("ACTIVATE_VERSION") if "WARNING" in text]) == warned


def test_a_schema_may_come_again_and_change_and_say_anything_about_keys(klar: Sandbox) -> None:
    other = schema("refunds", note={"type": "string"}) | {"key_properties": ["note"]}
    odd = [other | {"key_properties": odd} for odd in (None, [], 5, ["nope"])]
    ended = run(
        klar,
        [
            REFUNDS_SCHEMA,
            refund_record("a"),
            other,
            refund_record("b"),
            *odd,
            COSTS_SCHEMA,
            record("refunds", **refund_record("c")["record"]),
            state(1),
        ],
    )
    assert (ended.code, ended.states, set(klar.refunds)) == (0, [1], {"a", "b", "c"})
    assert len(klar.posts()) == 1
