"""BATCH messages: the files that they name, plain and packed, go the way of records; bad ones stop the run."""

from __future__ import annotations

import gzip
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from forked import run
from messages import REFUNDS_SCHEMA, refund_record, schema, state
from rejects_file import records

if TYPE_CHECKING:
    from pathlib import Path

    from target_klar.sandbox import Sandbox


def batch(stream: str, *files: Path, compression: str | None = None) -> dict[str, Any]:
    """A BATCH message that names files of JSON lines."""
    encoding = {"format": "jsonl", "compression": compression}
    return {"type": "BATCH", "stream": stream, "encoding": encoding, "manifest": [file.as_uri() for file in files]}


def test_batch_files_plain_and_packed_and_larger_than_a_request_go_the_way_of_records(
    klar: Sandbox, tmp_path: Path
) -> None:
    plain, packed, costs = (tmp_path / name for name in ("plain.jsonl", "packed.jsonl.gz", "costs.jsonl"))
    rows = [json.dumps(refund_record(f"r-{number}", note="n")["record"]) + "\n" for number in range(2500)]
    plain.write_text("".join(rows[:1200]))
    packed.write_bytes(gzip.compress("\n".join(rows[1200:]).encode()))
    costs.write_text('{"order": 1, "fee": 1.10}\n\n{"order": 2, "fee": 2.675}')
    fields = {"__alias__": "transaction_costs", "orderId": "order", "transactionCosts": "fee"}
    maps = {"fees": fields | {"__key_properties__": ["orderId"], "__else__": "__NULL__"}}
    lines = [REFUNDS_SCHEMA, schema("fees", key="order", fee={"type": "number"}), batch("refunds", plain)]
    lines += [batch("refunds", packed, compression="gzip"), batch("fees", costs), refund_record("after"), state(1)]
    ended = run(klar, lines, stream_maps=maps)
    assert (ended.code, ended.states) == (0, [1])
    assert klar.refunds.keys() == {f"r-{number}" for number in range(2500)} | {"after"}
    assert sorted(seen.count or 0 for seen in klar.posts("refunds")) == [501, 1000, 1000]
    assert {key: str(held["transactionCosts"]) for key, held in klar.transaction_costs.items()} == {
        "1": "1.10",
        "2": "2.675",
    }


def test_a_bad_line_of_a_batch_file_is_a_bad_record_like_any_other(klar: Sandbox, tmp_path: Path) -> None:
    file, rejects = tmp_path / "rows.jsonl", tmp_path / "rejects.jsonl"
    good = json.dumps(refund_record("a")["record"]).encode()
    file.write_bytes(b"\n".join([good, b"{not json", b"[1]", b"{\xed\xa0\x80", good.replace(b'"a"', b'"z"')]))
    ended = run(klar, [REFUNDS_SCHEMA, batch("refunds", file), state(1)], rejects_path=str(rejects))
    assert (ended.code, ended.states, set(klar.refunds)) == (0, [1], {"a", "z"})
    set_aside = [each["record"] for each in records(rejects)]
    assert set_aside[1] == [1]
    assert set_aside[::2] == ["{not json", "{\ud800"]
    assert {each["errors"][0]["message"].partition(" (")[0] for each in records(rejects)} == {"must be an object"}


@pytest.mark.parametrize(
    "place", ["", "s3://bucket/rows.jsonl", "nowhere://rows.jsonl"], ids=["missing", "s3", "unknown"]
)
def test_a_batch_file_that_cannot_be_read_stops_the_run_with_all_before_it_delivered(
    klar: Sandbox, tmp_path: Path, place: str
) -> None:
    message = batch("refunds") | {"manifest": [place or str(tmp_path / "none.jsonl")]}
    ended = run(klar, [REFUNDS_SCHEMA, refund_record("a"), state(1), message, refund_record("z"), state(2)])
    assert (ended.code, ended.states, set(klar.refunds)) == (1, [1], {"a"})
    assert len(ended.errors) == 1
    assert ended.errors[0].startswith(f"The batch file {message['manifest'][0]} of refunds cannot be read (")
    assert "Traceback" not in ended.err


def test_a_packed_batch_file_that_is_cut_or_has_an_endless_line_stops_with_all_before_it_delivered(
    klar: Sandbox, tmp_path: Path
) -> None:
    rows = [json.dumps(refund_record(f"r-{number}", note=f"{hash(str(number))}")["record"]) for number in range(20_000)]
    whole = gzip.compress("\n".join(rows).encode())
    cut, endless, empty = (tmp_path / f"{name}.jsonl.gz" for name in ("cut", "endless", "empty"))
    empty.touch()
    cut.write_bytes(whole[: len(whole) // 2])
    endless.write_bytes(gzip.compress("\n".join(rows[:5000]).encode()) + gzip.compress(b"x" * (80 << 20), 1))
    for file, told in (
        (cut, f"The batch file {cut.as_uri()} of refunds cannot be read (Compressed file ended"),
        (
            endless,
            f"Line 5000 of the batch file {endless.as_uri()} of refunds: longer than 64 MB. ",
        ),
        (empty, f"The batch file {empty.as_uri()} of refunds cannot be read (The file is empty"),
    ):
        klar.clear()
        message = batch("refunds", file, compression="gzip")
        ended = run(klar, [REFUNDS_SCHEMA, refund_record("a"), state(1), message, refund_record("z"), state(2)])
        assert (ended.code, ended.states, len(ended.errors)) == (1, [1], 1), ended.err
        assert ended.errors[0].startswith(told)
        assert "sed -n" not in ended.errors[0]  # which would show the BATCH message
        assert "a" in klar.refunds
        assert (4000 < len(klar.refunds) < 20_000) is (file is not empty)
        assert "z" not in klar.refunds


def test_a_batch_file_that_is_packed_twice_is_not_told_to_be_declared(klar: Sandbox, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl.gz"
    file.write_bytes(gzip.compress(gzip.compress(b'{"id": "a"}')))
    ended = run(klar, [REFUNDS_SCHEMA, batch("refunds", file, compression="gzip"), state(1)])
    assert (ended.code, ended.states) == (1, [])
    assert ended.errors[0].startswith(
        f"The batch file {file.as_uri()} of refunds is packed twice (gzip). Have the tap pack it once. "
    )


@pytest.mark.parametrize("cut", [1, 20, 40])
@pytest.mark.parametrize("maps", [{}, {"refunds": {"note": "str(1)"}}], ids=["no map", "a map"])
def test_a_batch_file_that_is_cut_in_its_last_line_stops_the_run_and_no_state_behind_it_leaves(
    klar: Sandbox, rejects: Path, tmp_path: Path, maps: dict[str, Any], cut: int
) -> None:
    file = tmp_path / "rows.jsonl"
    rows = [json.dumps(refund_record(f"r-{number}")["record"]) for number in range(50)]
    file.write_text("\n".join(rows)[:-cut])
    lines = [
        REFUNDS_SCHEMA,
        refund_record("a"),
        state(1),
        batch("refunds", file),
        state(2),
        refund_record("z"),
        state(3),
    ]
    ended = run(klar, lines, rejects_path=str(rejects), stream_maps=maps)
    assert (ended.code, ended.states, len(klar.refunds)) == (1, [1], 50)
    assert re.search(
        r"rows\.jsonl of refunds is truncated: its last line is not JSON and has no line break\.", ended.errors[0]
    )
    assert rejects.read_bytes() == b""


@pytest.mark.parametrize(
    "address",
    [
        "s3://KEY-ID:SECRET-KEY@bucket/rows.jsonl",
        "s3://bucket/rows.jsonl?X-Amz-Credential=KEY-ID&X-Amz-Signature=SECRET-KEY",
        "http://KEY-ID:SECRET-KEY@127.0.0.1:9/rows.jsonl?sig=SECRET-KEY#SECRET-KEY",
        "no-such-protocol://KEY-ID:SECRET-KEY@host/rows.jsonl",
    ],
)
@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_what_an_address_of_a_batch_file_holds_beside_the_place_is_in_no_message(
    klar: Sandbox, address: str, level: str
) -> None:
    encoding = {"format": "jsonl", "compression": None}
    message = {"type": "BATCH", "stream": "refunds", "encoding": encoding, "manifest": [address]}
    ended = run(
        klar, [REFUNDS_SCHEMA, refund_record("a"), state(1), message, state(2)], env={"TARGET_KLAR_LOGLEVEL": level}
    )
    assert (ended.code, ended.states, len(ended.errors)) == (1, [1], 1)
    assert "rows.jsonl" in ended.errors[0]
    assert "KEY-ID" not in ended.out + ended.err
    assert "SECRET-KEY" not in ended.out + ended.err


def test_a_short_user_name_in_an_address_of_a_batch_file_masks_no_other_word(klar: Sandbox) -> None:
    message = batch("refunds") | {"manifest": ["foo://u:geheim@x"]}
    ended = run(klar, [REFUNDS_SCHEMA, refund_record("a"), state(1), message])
    assert (ended.code, len(ended.errors)) == (1, 1)
    assert "Unsupported" in ended.errors[0]
    assert "geheim" not in ended.out + ended.err
    assert "u:" not in ended.errors[0]


def stopped(klar: Sandbox, rejects: Path, file: Path, content: bytes) -> tuple[str, set[str]]:
    """The line that ends a run at a batch file, without the file's name, and which of its rows Klar has."""
    file.write_bytes(content)
    lines = [REFUNDS_SCHEMA, refund_record("before"), state(1), batch("refunds", file), refund_record("z"), state(2)]
    ended = run(klar, lines, rejects_path=str(rejects))
    assert (ended.code, ended.states, len(ended.errors)) == (1, [1], 1), ended.err
    assert rejects.read_bytes() == b""
    said = ended.errors[0].partition(" The last STATE written covers 1 of the ")[0]
    return said.replace(f"batch file {file.as_uri()} of refunds", "FILE"), set(klar.refunds) - {"before"}


ROWS = [json.dumps(refund_record(f"r-{number}")["record"]).encode() for number in range(3)]
ARRAY = " It looks like a JSON array: `jq -c '.[]'` (1.7 or newer) writes a line for each element."
GLUED = " It has several JSON objects on a line: `jq -c .` writes each on its own."
CSV = " It looks like CSV: `duckdb -jsonlines` reading `read_csv('FILE', all_varchar=true)` writes JSON lines."
OTHER_FORMS = {
    "an array on one line": (b"[%b]\n" % b",".join(ROWS), ARRAY),
    "an array without a line break": (b"[%b]" % b",".join(ROWS), ARRAY),
    "an array with a row on a line": (b"[\n\t%b\n]\n" % b",\n\t".join(ROWS), ARRAY),
    "an array behind a blank line": (b"\n[%b]\n" % b",".join(ROWS), ARRAY),
    "an array over many lines": (json.dumps([refund_record("a")["record"]], indent=2).encode(), ARRAY),
    "objects on one line": (b"".join(ROWS) + b"\n", GLUED),
    "objects on one line without a line break": (b" ".join(ROWS), GLUED),
    "objects on several lines": (b"".join(ROWS) + b"\n" + b"".join(ROWS) + b"\n", GLUED),
    "objects with the lines of an old Mac": (b"\r".join(ROWS) + b"\r", GLUED),
    "an object over many lines": (
        json.dumps(refund_record("a")["record"], indent=2).encode(),
        " It looks like JSON over several lines: `jq -c .` writes it on one.",
    ),
    "CSV": (b"id,quantity\na,1\nb,2\n", CSV),
    "CSV without a line break": (b"id,quantity\na,1", CSV),
    "UTF-16 without a mark": (b"\n".join(ROWS).decode().encode("utf-16-be"), ""),
    "numbers": (b"1\n2\n", ""),
    "one bad line": (b"{not json\n", ""),
}


@pytest.mark.parametrize(("content", "form"), OTHER_FORMS.values(), ids=OTHER_FORMS)
def test_a_batch_file_that_is_no_json_lines_stops_the_run_with_what_makes_lines_of_it(
    klar: Sandbox, rejects: Path, tmp_path: Path, content: bytes, form: str
) -> None:
    said, held = stopped(klar, rejects, tmp_path / "rows.jsonl", content)
    assert said == (
        f"The FILE is not JSON lines: neither its first line nor the next one is a JSON object.{form} Have the tap "
        "write each record as a JSON object on a line of its own."
    )
    assert held == set()


def test_one_bad_line_at_the_beginning_of_a_batch_file_is_a_bad_record(
    klar: Sandbox, rejects: Path, tmp_path: Path
) -> None:
    file = tmp_path / "rows.jsonl"
    for bad in (b"{not json", b"[1]", b"null", ROWS[0] + ROWS[0]):
        rejects.unlink(missing_ok=True)
        klar.clear()
        file.write_bytes(b"\n".join([b"", bad, b"", *ROWS]))
        ended = run(klar, [REFUNDS_SCHEMA, batch("refunds", file), state(1)], rejects_path=str(rejects))
        assert (ended.code, ended.states, len(klar.refunds), len(records(rejects))) == (0, [1], len(ROWS), 1), ended.err


PACKED = (
    "The FILE is packed (gzip), and its BATCH message does not say so. Set `compression: gzip` under `encoding` in the "
    "tap's `batch_config`."
)
NOT_UTF8 = {
    "a byte order mark": (
        b"\xef\xbb\xbf" + b"\n".join(ROWS),
        "The FILE begins with a byte order mark (UTF-8). Write it as UTF-8 without one.",
        0,
    ),
    "UTF-16": (
        b"\n".join(ROWS).decode().encode("utf-16"),
        "The FILE begins with a byte order mark (UTF-16). Write it as UTF-8 without one.",
        0,
    ),
    "Latin-1": (
        b"\n".join([*ROWS, '{"id": "Müller"}'.encode("latin-1"), b""]),
        "Line 4 of the FILE: not valid JSON (after byte 9: not UTF-8). Have the tap write the file as UTF-8.",
        3,
    ),
    "Latin-1 in the last line, without a line break": (
        b"\n".join([*ROWS, '{"id": "Müller"}'.encode("latin-1")]),
        "Line 4 of the FILE: not valid JSON (after byte 9: not UTF-8). Have the tap write the file as UTF-8.",
        3,
    ),
    "a cut in the middle of a letter": (
        b"\n".join([*ROWS, '{"id": "Mü'.encode()[:-1]]),
        "The FILE is truncated: its last line is not JSON and has no line break. Have the tap write it again.",
        3,
    ),
    "gzip": (gzip.compress(b"\n".join(ROWS), mtime=0), PACKED, 0),
    "gzip, without a line break": (gzip.compress(b"{}", mtime=0).replace(b"\n", b""), PACKED, 0),
    "gzip, its second line the third byte": (b"\x1f\x8b\n" + b"\n".join(ROWS), PACKED, 0),
    "half of what a packed file begins with": (
        b"\x1f" + b"\n".join(ROWS[:1]),
        "The FILE is truncated: its last line is not JSON and has no line break. Have the tap write it again.",
        0,
    ),
}


@pytest.mark.parametrize(("content", "message", "rows"), NOT_UTF8.values(), ids=NOT_UTF8)
def test_a_batch_file_in_another_encoding_stops_the_run_before_a_byte_is_lost(
    klar: Sandbox, rejects: Path, tmp_path: Path, content: bytes, message: str, rows: int
) -> None:
    said, held = stopped(klar, rejects, tmp_path / "rows.jsonl", content)
    assert said == message
    assert len(held) == rows


@pytest.mark.parametrize("files", [0, 1])
def test_a_batch_without_a_record_is_warned_of(files: int, klar: Sandbox, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n")
    ended = run(klar, [REFUNDS_SCHEMA, batch("refunds", *[empty] * files), state(1)])
    told = (
        f"The batch file {empty.as_uri()} of refunds has no record."
        if files
        else "A BATCH message of refunds names no file."
    )
    assert (ended.code, ended.states, ended.warnings) == (0, [1], [f"{told} Check what writes it."])
