"""`--preview`: a tap's first records, what Klar would get of them, and a stream map that works as it is printed."""

from __future__ import annotations

import json
import os
import pty
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from forked import Forked, run
from invocation import closed_stdin, invoke
from program import record, schema, state, variables

from target_klar.contract.streams import CONTRACTS
from target_klar.sandbox import Sandbox

if TYPE_CHECKING:
    from pathlib import Path

REST = [
    schema("order_refunds", order_id={}, created_at={}, note={}, refund_line_items={}),
    record(
        "order_refunds",
        id=509562969,
        order_id=450789469,
        created_at="2026-05-04T09:30:00-04:00",
        note="it broke",
        refund_line_items=[{"id": 104689539, "line_item_id": 703073504, "quantity": 2, "subtotal": 195.66}],
    ),
    record("order_refunds", id=2, order_id=3, created_at="2026-05-04T09:30:00-04:00", refund_line_items=[]),
    state(1),
]
MARIA = [
    schema("shop-refunds", created_at={}, positions={}),
    record(
        "shop-refunds",
        id=1,
        created_at="2026-05-04 09:30:00",
        positions='[{"id": 1, "order_line_id": 101, "refunded_qty": 2}]',
    ),
    schema("shop-order_fees", "order_id", fee_total={}, updated={}),
    record("shop-order_fees", order_id=1001, fee_total=1.10, updated="2026-05-04 09:30:00"),
]
CSV = [
    schema("refund lines", "Refund No"),
    record("refund lines", **{"Refund No": "R1", "Created Date": "2026-05-04", "Line Item": "101", "Qty": "2"}),
]
LOG = [
    schema("public-refunds", created_at={}, refund_lines={}, _sdc_deleted_at={}),
    record(
        "public-refunds",
        id=1,
        created_at="2026-05-04T09:30:00+00:00",
        refund_lines=[{"line_item_id": 1, "quantity": 1}],
        _sdc_deleted_at=None,
    ),
    record("public-refunds", id=1, _sdc_deleted_at="2026-05-05T09:30:00+00:00"),
]


def preview(lines: list[Any], **settings: Any) -> str:
    """What it prints on stdout; it needs no token and asks no Klar."""
    ended = run(None, lines, "--preview", **settings)
    assert ended.code == 0, ended.err
    return ended.out


def proposed(out: str) -> dict[str, Any]:
    """The maps that it prints, of all streams; as JSON and as YAML they are the same."""
    blocks = re.findall(r"^    (\{.*\})\n.*\n((?:    .*\n)+)", out, re.MULTILINE)
    maps: dict[str, Any] = {}
    for as_json, as_yaml in blocks:
        assert json.loads(as_json) == yaml.safe_load(as_yaml)
        maps |= json.loads(as_json)["stream_maps"]
    return maps


def test_it_shows_column_by_column_what_came_what_klar_gets_and_what_is_wrong() -> None:
    out = preview(REST)

    rows = {
        cells[0]: cells[1:] for line in out.splitlines() if "|" in line for cells in [re.split(r" *\| *", line)[1:]]
    }
    assert rows["id"][:4] == ["509562969", "id 509562969", "2", "id 2"]
    assert rows["created_at"][:2] == ["2026-05-04T09:30:00-04:00", "createdAt 1777901400"]
    assert rows["note"][:4] == ["it broke", "left out", "", "left out"]
    assert "Its name and its columns suggest `refunds`." in out
    assert "record 1 is refused: lineItems is required" in out
    assert "Klar wants `lineItems`" in out
    assert "It may be refund_line_items." in out
    assert "record 2 is dropped by `__filter__`" in out  # not cancelled


@pytest.mark.parametrize(
    ("lines", "arrives"),
    [
        (
            REST,
            {"refunds": {"509562969": [{"id": "104689539", "lineItemId": "703073504", "refundedQuantity": 2}]}},
        ),
        (
            MARIA,
            {
                "refunds": {"1": [{"id": "1", "lineItemId": "101", "refundedQuantity": 2}]},
                "transaction_costs": {"1001": None},
            },
        ),
        (LOG, {"refunds": {"1": [{"lineItemId": "1", "refundedQuantity": 1}]}}),
    ],
    ids=["Shopify's REST", "MariaDB", "log-based"],
)
def test_the_map_that_it_prints_loads_what_is_there(lines: list[Any], arrives: dict[str, Any]) -> None:
    with Sandbox() as klar:
        ended = run(klar, [*lines, state(1)], stream_maps=proposed(preview(lines)))

        assert (ended.code, ended.errors, ended.states) == (0, [], [1])
        held = {stream: klar.held(stream) for stream in CONTRACTS if klar.count(stream)}
        assert {
            stream: {key: sent.get("lineItems") for key, sent in objects.items()} for stream, objects in held.items()
        } == arrives


def test_a_record_that_is_one_line_of_many_is_told_apart() -> None:
    out = preview(CSV)

    assert "With Line Item and Qty a record looks like one of the lineItems." in out
    assert proposed(out) == {
        "refund lines": {"__alias__": "refunds", "id": "record['Refund No']", "createdAt": "record['Created Date']"}
    }


def test_with_a_map_it_shows_the_result_of_the_map_and_proposes_none() -> None:
    maps = {"order_refunds": {"__alias__": "refunds", "__filter__": "note", "lineItems": "refund_line_items"}}
    out = preview(REST, stream_maps=maps)

    assert re.search(r"refund_line_items .*\| used by the map", out)
    assert "record 1 is refused: lineItems[0].refundedQuantity is required" in out
    assert (
        "record 2 is refused: __filter__ could not be mapped by `note` "
        "(the record has no note, only id, order_id, created_at, refund_line_items)" in out
    )
    assert "A stream map to begin with" not in out
    assert "A stream map drops this stream." in preview(REST, stream_maps={"order_refunds": "__NULL__"})


def test_a_stream_that_has_been_named_and_nothing_else_gets_the_rest_of_its_map() -> None:
    lines = [schema("gebuehren"), record("gebuehren", order_id=1, fee="1.10")]

    named = {"gebuehren": {"__alias__": "transaction_costs"}}
    assert proposed(preview(lines, stream_maps=named)) == {
        "gebuehren": {"__alias__": "transaction_costs", "transactionCosts": "fee"}
    }


def test_a_stream_that_is_like_none_of_klars_is_shown_all_the_same() -> None:
    out = preview([schema("visits"), record("visits", id=1, page="/shoes")])

    assert "Nothing in its name or its columns suggests one." in out
    assert "/shoes" in out
    assert '{"stream_maps": {"visits": "__NULL__"}}' in out


def test_no_value_of_a_customer_is_shown() -> None:
    customer = {"id": 1, "email": "anna@customer.example"}
    order = record("orders", id=1, created_at="2026-05-04", line_items=[], customer=customer)
    out = preview([schema("orders"), order])

    assert "anna" not in out
    assert "an object with 2 fields" in out


def test_on_a_terminal_the_table_fits_its_80_columns(tmp_path: Path) -> None:
    file = tmp_path / "input.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in REST))
    ours, theirs = pty.openpty()
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        process = Forked(
            ("--preview", "--input", str(file)),
            variables({}) | {"COLUMNS": "80", "TERM": "xterm"},
            theirs,
            nowhere.fileno(),
        )
    os.close(theirs)
    process.stdin.close()
    printed = b""
    try:
        while chunk := os.read(ours, 4096):
            printed += chunk
    except OSError:  # its end, on Linux
        pass
    assert process.wait(30) == 0
    plain = re.sub(r"\x1b\[[0-9;]*m", "", printed.decode())
    table = [line.rstrip() for line in plain.splitlines() if line.startswith((" id ", " refund_line_items", " ─"))]

    assert len(table) == 3
    assert max(map(len, table)) <= 80
    assert "…" in plain


def test_what_is_no_singer_stream_is_one_line(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("")
    nothing = invoke("--preview", "--input", str(empty))
    broken = run(None, ["not json"], "--preview")

    assert (nothing.code, nothing.out) == (1, "")
    assert "begins with no SCHEMA message" in nothing.err
    assert broken.code == 1
    assert broken.errors == [
        "Line 1 of the input: not valid JSON (after byte 1: Expecting value). Run the tap alone and look."
    ] or re.match(r"Line 1 of the input: not valid JSON", broken.errors[0])


def test_without_stdin_it_says_what_to_do() -> None:
    ended = closed_stdin("--preview")

    assert (ended.code, "Traceback" in ended.err) == (1, False)
    assert ended.errors == [
        "There is no input: stdin is closed. Pipe a tap into target-klar or name a file with --input."
    ]


def test_what_a_terminal_would_obey_and_half_a_surrogate_pair_are_written_out() -> None:
    odd = {"line \x1b[2J items": [{"id": 1}], "createdAt": "\ud800"}
    out = preview([schema("re\ud800funds"), record("re\ud800funds", id=1, **odd)])

    assert "\x1b" not in out
    assert "\\ud800" in out
