"""Lines that nobody thought of, made by chance out of real ones: each is held, set aside, or stops the run cleanly.

Python's own `json` says what a line is; the numbers in it are compared with all of their digits.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import pytest
from forked import run
from klar_objects import REFUND_TIME
from messages import COSTS_SCHEMA, REFUNDS_SCHEMA, cost_record, record, refund_record, state
from thoroughness import size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from target_klar.sandbox import Sandbox

SEED = 9
LINES = size(120, 3500)
FILE_LINES = size(60, 1500)
PER_RUN = 250
SECRET = "anna.schmidt@customer.example"
MARK = "this place"
STREAMS = ["refunds", "transaction_costs"]
DEEP, TOO_DEEP = 400, 100_000  # levels: every Python reads the one, none the other


# --- The lines ---


def real(number: int, chance: random.Random) -> dict[str, Any]:
    """A message as taps write it."""
    key = f"m-{number}"
    item = {"line_item_id": number, "refundedQuantity": 1.5, "sku": {"of": SECRET}}
    return chance.choice(
        [
            refund_record(key),
            refund_record(key, note=[SECRET], rows=[{"a": [1, {"b": None}]}], _sdc_deleted_at=None),
            record(
                "refunds",
                ID=number,
                created_at="2024-01-01T10:00:00Z",
                line_items=[item, item],
                customer={"email": SECRET},
            ),
            record("refunds", id=key, createdAt=REFUND_TIME, lineItems=json.dumps([item])),
            cost_record(key, 19.99),
            record("transaction_costs", order_id=key, transaction_costs="1.10", note={"mail": SECRET}),
            state({"bookmarks": {"refunds": {"at": [number, 1.10, None]}}}),
            REFUNDS_SCHEMA | {"bookmark_properties": ["at"]},
        ]
    )


def odd(chance: random.Random) -> str:
    """JSON that Python's `json` writes or reads."""
    digits = "".join(
        chance.choice("0123456789") for _ in range(chance.choice([1, 3, 19, 20, 39, 41, 310, 4300, 4301, 5000]))
    )
    number = digits.lstrip("0") or "0"
    exponent = chance.choice(["400", "-400", "999999", "12345678901234567890", "-12345678901234567890"])
    depth = chance.choice([1, 2, 50, 260, DEEP])
    return chance.choice(
        [
            *("NaN", "Infinity", "-Infinity", "null", "true", "false", "[]", "{}", '""', "-0", "-0.0", "1E400", "0.1"),
            *('"\\ud800"', '"\\udfff\\ud800x"', '"\\u0000\\n\\u2028"', '"\x7f\u2028\U0001d11e"', '{"\\udc00": NaN}'),
            *('"NaN"', '"1,10"', '"2024-01-01"', '"[{}]"', '"[NaN]"', f'["{SECRET}"]', '"\\"\\\\"'),
            *(number, f"-{number}", f"{number}.{digits}", f"{number[:1]}.{digits}E{exponent}", f"0e{exponent}"),
            *("[" * depth + "]" * depth, '{"a": ' * depth + "NaN" + "}" * depth),
            *(f'"{"x" * chance.choice([41, 10_000])}"', f"[{number}, NaN, {number}]"),
            *('{"a": 1, "a": NaN}', '[{"lineItemId": NaN, "refundedQuantity": {}}]', " [ \t1 , 2 ] "),
        ]
    )


def with_odd_value(message: Any, chance: random.Random) -> bytes:
    """The line of a message with one value, or name, replaced, or one member there twice."""
    message = json.loads(json.dumps(message))
    inner = next((message[name] for name in ("record", "value", "schema") if name in message), message)
    holder, place = chance.choice(list(places({"": message} if chance.random() < 0.3 else inner)))
    way = (
        chance.choice(["value", "value", "value", "name", "twice"])
        if isinstance(holder, dict) and place != ""
        else "value"
    )
    if way == "value":
        holder[place] = MARK
    elif way == "name":
        holder[MARK] = holder.pop(place)
    else:
        holder[MARK] = MARK
    text = json.dumps(MARK if place == "" else message, ensure_ascii=chance.random() < 0.5)
    if way == "name":
        name = chance.choice(['"\\ud800"', '""', '"a\\u0000b"', f'"{"n" * 5000}"', '"ID"', '"record"'])
        return text.replace(f'"{MARK}"', name).encode()
    if way == "twice":
        text = text.replace(f'"{MARK}": ', f"{json.dumps(place)}: ")
    return text.replace(f'"{MARK}"', odd(chance)).encode()


def places(value: Any) -> Any:
    """Every place in a JSON value that holds another."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for place, held in list(inside):
        yield value, place
        yield from places(held)


def with_odd_bytes(line: bytes, chance: random.Random) -> bytes:
    """A line with a few bytes changed, left out, put in, doubled, or with its end cut off."""
    at, to = sorted(chance.choices(range(len(line) + 1), k=2))
    some = bytes(chance.choices(b'\x00\t\r "\\{}[]:,0-9.eE+NuU\x7f\x80\xc3\xed\xff', k=chance.choice([1, 1, 1, 3])))
    return chance.choice(
        [
            line[:at],
            line[:at] + line[at + 1 :],
            line[:at] + some + line[at:],
            line[:at] + some + line[at + len(some) :],
            line[:at] + bytes(byte ^ 1 << chance.randrange(8) for byte in line[at : at + 1]) + line[at + 1 :],
            line[:to] + line[at:],
            line + line,
            line[:at] + b"[" * TOO_DEEP + b"]" * TOO_DEEP + line[at:],
        ]
    ).replace(b"\n", b" ")


def mutated(number: int) -> bytes:
    """The line of this number, always the same."""
    chance = random.Random(SEED * 1_000_000 + number)
    message = real(number, chance)
    if chance.random() < 0.85:
        return with_odd_value(message, chance).replace(b"\n", b" ")
    return with_odd_bytes(json.dumps(message).encode(), chance)


# --- What they are ---


def number_of(text: str) -> tuple[str, ...]:
    """A number that equals no text, and every number that is written with the same digits."""
    if text == "-0":  # an integer, which has no sign at zero
        return ("number", "0")
    try:
        return ("number", str(Decimal(text)))
    except InvalidOperation:
        return ("number", text)


def value_of(text: bytes) -> Any:
    """What Python's `json` makes of a text, with all the digits of its numbers; a ValueError where it is no JSON."""
    try:
        return json.loads(
            text.decode("utf-8", "surrogatepass"), parse_int=number_of, parse_float=number_of, parse_constant=number_of
        )
    except RecursionError as error:
        raise ValueError from error


def message_of(line: bytes) -> dict[str, Any] | None:
    """The message of a line; None where the run has to stop at it."""
    try:
        message = value_of(line)
    except ValueError:
        return None
    wanted = {"RECORD": ("stream", "record"), "SCHEMA": ("stream", "schema"), "STATE": ("value",)}
    if not isinstance(message, dict) or message.get("type") not in [*wanted, "ACTIVATE_VERSION"]:
        return None
    kind = message["type"]
    if not message.keys() >= set(wanted.get(kind, ())) or (
        "stream" in wanted.get(kind, ()) and message["stream"] not in STREAMS
    ):
        return None
    if kind == "SCHEMA" and not (
        isinstance(message["schema"], dict) and isinstance(message["schema"].get("properties"), dict)
    ):
        return None
    return message


def set_aside(path: Path) -> list[Any]:
    """The rejected records; a newer one that was accepted stands there without errors."""
    return [
        found["record"] for each in path.read_bytes().split(b"\n") if each and "errors" in (found := value_of(each))
    ]


def counted(ended: Any, stream: str) -> dict[str, int]:
    """The counts in the summary of a stream."""
    last = [text for text in ended.err.splitlines() if f"| {stream}: " in text and " read, " in text][-1]
    return {name: int(number) for number, name in re.findall(r"(\d+) (read|stored|merged|deleted|rejected)", last)}


LINES_MADE = {number: made for number in range(LINES) if (made := mutated(number)).strip(b" \t\r")}
GOOD = {number: message for number, line in LINES_MADE.items() if (message := message_of(line)) is not None}
STOPPING = [number for number in LINES_MADE if number not in GOOD]


def chunks(numbers: Sequence[int]) -> list[Sequence[int]]:
    return [numbers[at : at + PER_RUN] for at in range(0, len(numbers), PER_RUN)]


def checked(
    klar: Sandbox, ended: Any, good: set[str], read: Counter[str], refused: list[Any], again: list[str]
) -> None:
    """Every good record is held, and every other one is held, merged, deleted or set aside, and counted."""
    assert (ended.code, ended.errors) == (0, [])
    assert "Traceback" not in ended.err
    assert SECRET not in ended.err
    held = {"refunds": klar.refunds, "transaction_costs": klar.transaction_costs}
    assert good <= klar.refunds.keys()
    rejected = 0
    for stream in STREAMS:
        counts = counted(ended, stream)
        assert counts["read"] == read[stream]
        assert counts["read"] == counts["stored"] + counts["merged"] + counts["deleted"] + counts["rejected"]
        assert counts["stored"] == len(held[stream])
        rejected += counts["rejected"]
    # A rejected record that came again, and was held or deleted then, is no more in the file.
    assert rejected - len(again) <= len(refused) <= rejected


def sent_again(klar: Sandbox, rejects: Path) -> None:
    """What was set aside is read as it was, and set aside again as it is."""
    holds = (dict(klar.refunds), dict(klar.transaction_costs))
    again = rejects.with_name("again.jsonl")
    ended = run(klar, [], "--input", str(rejects), rejects_path=str(again), rejects_limit=100_000)
    assert (ended.code, ended.errors, (klar.refunds, klar.transaction_costs)) == (0, [], holds)
    assert Counter(map(repr, set_aside(again))) == Counter(map(repr, set_aside(rejects)))


@pytest.mark.parametrize("numbers", chunks(list(GOOD)), ids=lambda numbers: f"{numbers[0]} to {numbers[-1]}")
@pytest.mark.parametrize(
    "maps", [{}, {"stream_maps": {"refunds": {}, "transaction_costs": {}}}], ids=["plain", "mapped"]
)
def test_a_message_that_python_reads_is_held_or_set_aside_whatever_it_holds(
    klar: Sandbox, tmp_path: Path, numbers: Sequence[int], maps: dict[str, Any]
) -> None:
    rejects = tmp_path / "rejects.jsonl"
    lines: list[Any] = [REFUNDS_SCHEMA, COSTS_SCHEMA]
    for number in numbers:
        lines += [refund_record(f"good-{number}"), LINES_MADE[number]]
    ended = run(klar, [*lines, state("end")], rejects_path=str(rejects), rejects_limit=100_000, **maps)
    records = [GOOD[number] for number in numbers if GOOD[number]["type"] == "RECORD"]
    read = Counter(message["stream"] for message in records) + Counter({"refunds": len(numbers)})
    refused = set_aside(rejects)
    objects = [message["record"] for message in records if isinstance(message["record"], dict)]
    ids = Counter(str(value) for each in objects for name, value in each.items() if name.lower() in ("id", "orderid"))
    again = [each for each, times in ids.items() if times > 1]
    # Where nothing tells which record one is, the same one is there once.
    again += [each for each, times in Counter(repr(message["record"]) for message in records).items() if times > 1]
    checked(klar, ended, {f"good-{number}" for number in numbers}, read, refused, again)
    assert Counter(map(repr, refused)) <= Counter(repr(message["record"]) for message in records)
    states = [GOOD[number]["value"] for number in numbers if GOOD[number]["type"] == "STATE"]
    assert [text for text in map(value_of, ended.out.encode().split(b"\n")[:-1]) if text not in [*states, "end"]] == []
    assert ended.out.splitlines()[-1] == '"end"'
    sent_again(klar, rejects)


@pytest.mark.parametrize("numbers", chunks(STOPPING), ids=lambda numbers: f"{numbers[0]} to {numbers[-1]}")
def test_any_other_line_stops_the_run_with_all_before_it_delivered(
    klar: Sandbox, tmp_path: Path, numbers: Sequence[int]
) -> None:
    rejects = tmp_path / "rejects.jsonl"
    for number in numbers:
        klar.clear()
        before = [refund_record("a")] if number % 10 == 0 else []  # for each it would take twice the time
        lines = [REFUNDS_SCHEMA, *before, state(1), LINES_MADE[number], refund_record("z"), state(2)]
        ended = run(klar, lines, rejects_path=str(rejects))
        assert (number, ended.code, ended.states, len(klar.refunds)) == (number, 1, [1], len(before))
        assert (number, len(ended.errors), "Traceback" in ended.err, SECRET in ended.err) == (number, 1, False, False)
    assert rejects.read_bytes() == b""


def ids_of(rows: Iterable[bytes]) -> Iterator[str]:
    """What stands in the column of the id, as text: of records that have the same one the file has the newest."""
    for row in rows:
        with suppress(ValueError, RecursionError):
            read = json.loads(row)
            if isinstance(read, dict):
                yield from (str(value) for name, value in read.items() if name.lower().replace("_", "") == "id")


def is_utf8(row: bytes) -> bool:
    """Whether a line is UTF-8, in which taps of Python also write half a surrogate pair."""
    with suppress(UnicodeDecodeError):
        return bool(row.decode("utf-8", "surrogatepass"))
    return False


def test_a_line_of_a_batch_file_is_held_or_set_aside_whatever_it_is(klar: Sandbox, tmp_path: Path) -> None:
    file, rejects = tmp_path / "rows.jsonl", tmp_path / "rejects.jsonl"
    rows: list[bytes] = []
    for number in range(FILE_LINES):
        chance = random.Random(SEED * 2_000_000 + number)
        row = real(number, chance).get("record", {"id": f"m-{number}"})
        made = (
            with_odd_value(row, chance) if chance.random() < 0.5 else with_odd_bytes(json.dumps(row).encode(), chance)
        )
        rows += [json.dumps(refund_record(f"good-{number}")["record"]).encode(), made.replace(b"\n", b" ")]
    rows = [row for row in rows if row.strip() and is_utf8(row)]  # of any other one the run stops
    file.write_bytes(b"\n".join(rows) + b"\n")
    encoding = {"format": "jsonl", "compression": None}
    message = {"type": "BATCH", "stream": "refunds", "encoding": encoding, "manifest": [file.as_uri()]}
    ended = run(
        klar, [REFUNDS_SCHEMA, COSTS_SCHEMA, message, state("end")], rejects_path=str(rejects), rejects_limit=100_000
    )
    assert (ended.states, ended.errors) == (["end"], [])
    refused = set_aside(rejects)
    good = {f"good-{number}" for number in range(FILE_LINES)}
    wanted = []
    for row in rows:
        try:
            wanted.append(repr(value_of(row)))
        except ValueError:
            wanted.append(repr(row.decode("utf-8", "surrogatepass").strip()))
    counts = counted(ended, "refunds")
    assert (ended.code, ended.errors, good <= klar.refunds.keys(), counts["read"]) == (0, [], True, len(rows))
    assert counts["read"] == counts["stored"] + counts["merged"] + counts["deleted"] + counts["rejected"]
    again = sum(times - 1 for times in Counter(ids_of(rows)).values())
    assert counts["rejected"] - again <= len(refused) <= counts["rejected"]
    assert Counter(map(repr, refused)) <= Counter(wanted)
    sent_again(klar, rejects)
