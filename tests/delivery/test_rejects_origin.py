"""Where a rejected record comes from: it is filed under the tap's own stream, with the tap's own bytes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from forked import run
from klar_objects import REFUND_TIME
from messages import REFUNDS_SCHEMA, record, schema, state

if TYPE_CHECKING:
    from pathlib import Path

    from target_klar.sandbox import Sandbox

RENAMED = {"order_refunds": {"__alias__": "refunds"}}
SOURCE = schema("order_refunds")


def record_line(stream: str, key: str, more: str = "") -> str:
    """A record in Klar's own form (unless `more` adds a member), written as no JSON writer of ours would."""
    return f'{{"type": "RECORD", "stream": "{stream}", "record": {written(key, more)}}}'


def written(key: str, more: str = "") -> str:
    return f'{{ "lineItems":[ ],"createdAt":{REFUND_TIME},  "id":"{key}"{more} }}'


def in_file(rejects: Path) -> list[tuple[str, bytes]]:
    """The stream and the bytes of every record in the file, each behind the SCHEMA of its stream."""
    found, known = [], set()
    for text in rejects.read_bytes().splitlines():
        message = json.loads(text)
        if message["type"] == "SCHEMA":
            known.add(message["stream"])
        else:
            assert message["stream"] in known
            found.append((message["stream"], text[text.index(b'"record":') + 9 : text.index(b',"klar":{')]))
    return found


@pytest.mark.parametrize("more", ["", ', "note": 1.50'], ids=["in Klar's own form", "with a column more"])
@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(
    ("maps", "others"),
    [
        (RENAMED, []),
        (RENAMED, [REFUNDS_SCHEMA, record_line("refunds", "own")]),
        (RENAMED | {"refunds": "__NULL__"}, [REFUNDS_SCHEMA, record_line("refunds", "own")]),
        (RENAMED | {"refunds": {"lineItems": "[]"}}, [REFUNDS_SCHEMA, record_line("refunds", "own")]),
    ],
    ids=["alone", "beside one of Klar's name", "beside one that is dropped", "beside one with a map"],
)
def test_a_renamed_record_that_klar_refuses_is_filed_under_the_taps_stream_with_the_taps_bytes(
    klar: Sandbox, tmp_path: Path, maps: dict[str, Any], others: list[Any], more: str, *, dry_run: bool
) -> None:
    rejects = tmp_path / "rejects.jsonl"
    klar.refuse = lambda sent: sent["id"] == "1" and "not wanted"
    lines = [SOURCE, *others, *(record_line("order_refunds", key, more) for key in "012"), state(1)]
    settings: dict[str, Any] = {"stream_maps": maps, "rejects_path": str(rejects), "validate_only": dry_run}

    ended = run(klar, lines, **settings)

    assert ended.code == dry_run, ended.err
    assert ended.states == ([] if dry_run else [1])
    assert "Traceback" not in ended.err
    assert in_file(rejects.with_name("rejects.jsonl.dry-run") if dry_run else rejects) == [
        ("order_refunds", written("1", more).encode())
    ]
    assert klar.refunds.keys() - {"own"} == (set() if dry_run else {"0", "2"})


def test_two_streams_of_the_tap_that_are_one_of_klars_keep_their_own_rejects(klar: Sandbox, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.jsonl"
    maps = {"a": {"__alias__": "refunds"}, "b": {"__alias__": "refunds", "id": "'b' + id"}}
    klar.refuse = lambda sent: sent["id"] in ("1", "b1") and "not wanted"
    lines = [schema("a"), schema("b"), *(record_line(stream, key) for key in "01" for stream in "ab"), state(1)]

    ended = run(klar, lines, stream_maps=maps, rejects_path=str(rejects))

    assert (ended.code, ended.states) == (0, [1]), ended.err
    assert sorted(in_file(rejects)) == [("a", written("1").encode()), ("b", written("1").encode())]
    klar.refuse = None
    again = run(klar, rejects, stream_maps=maps, rejects_path=str(tmp_path / "again.jsonl"))
    assert (again.code, set(klar.refunds)) == (0, {"0", "1", "b0", "b1"}), again.err


def test_a_message_names_who_rejected_a_record_and_where_it_came_from(klar: Sandbox, tmp_path: Path) -> None:
    klar.refuse = lambda sent: sent["id"] == "2" and "not wanted"
    maps = {"a": {"__alias__": "refunds"}}
    keyless = [record(stream, createdAt=REFUND_TIME, lineItems=[]) for stream in ("a", "refunds")]
    lines = [
        schema("a"),
        schema("refunds"),
        record("a", id="1"),
        record_line("a", "2"),
        record_line("refunds", "3"),
        *keyless,
    ]

    ended = run(klar, lines, stream_maps=maps, rejects_path=str(tmp_path / "rejects.jsonl"))

    told = [text.split("|", 3)[3].strip().partition(": ")[0] for text in ended.said("Written to")]
    assert sorted(told) == [
        "Klar rejected refunds 2 (from a)",
        "target-klar rejected refunds (no key, record 4 of the run, from a)",
        "target-klar rejected refunds (no key, record 5 of the run)",
        "target-klar rejected refunds 1 (from a)",
    ]


@pytest.mark.parametrize(
    ("own", "named"),
    [
        ({"return_id": "RTL-17"}, "return_id RTL-17"),
        ({"return_id": 17, "shop": "de2"}, "return_id 17, shop de2"),
        ({"return_id": "Annabell"}, "no key"),
        ({"return_id": "anna7@example.com"}, "no key"),
        ({"return_id": None}, "no key"),
    ],
)
def test_a_record_without_klars_key_is_called_by_the_taps(own: dict[str, Any], named: str, klar: Sandbox) -> None:
    first = {"type": "SCHEMA", "stream": "a", "schema": {"properties": {**own, "rows": {}}}, "key_properties": [*own]}
    broken = "[row['id'] for row in rows]"
    for of_map in ({}, {"id": "rows[5]", "lineItems": broken}):
        ended = run(
            klar, [first, record("a", **own, rows=["text"])], stream_maps={"a": {"__alias__": "refunds"} | of_map}
        )

        assert ended.code == 1
        assert ended.errors[0].startswith(f"target-klar rejected refunds ({named}, record 1 of the run, from a): ")


def test_a_preview_calls_a_record_by_the_taps_key_too() -> None:
    lines = [schema("a", "return_id"), record("a", return_id="RTL-17"), record("a", return_id="RTL-18")]
    shown = run(None, lines, "--preview", stream_maps={"a": {"__alias__": "refunds", "id": "return_id.no"}}).out

    assert "(such as return_id RTL-17)" in shown
