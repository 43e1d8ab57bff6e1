"""What Python's `json` writes, wherever it stands in a line: taken, left out, set aside as it is, never a stop."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from cheap_klar import CheapKlar
from forked import run
from klar_objects import REFUND_TIME
from measured import KLAR, timed
from messages import COSTS_SCHEMA, REFUNDS_SCHEMA, cost_record, line, record, refund_record, schema, state
from thoroughness import size

from target_klar.records.json_codec import NotJSONError, decode, members

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from target_klar.sandbox import Sandbox

DEEP = 400  # levels, which every Python reads; the SDK's mapper and Python's own recursion end earlier
ODD: dict[str, str] = {
    # JSON as a tap writes it, no value of which Klar takes in any of its fields
    "NaN": "NaN",
    "infinity": "Infinity",
    "negative infinity": "-Infinity",
    "a lone surrogate": '"\\ud800"',
    "a lone surrogate in a name": '{"\\udfff":1}',
    "an integer of 5,000 digits": "9" * 5000,
    "a negative integer of 5,000 digits": "-" + "9" * 5000,
    "an exponent of 20 digits": "1E12345678901234567890",
    "a negative exponent of 20 digits": "-1.5e-12345678901234567890",
    "an exponent of 7 digits": "1e1000000",
    "a negative number with an exponent of 7 digits": "-1e1000000",
    "an exponent of 11 digits": "1e99999999999",
    "deep arrays": "[" * DEEP + "]" * DEEP,
    "deep objects": '{"a":' * DEEP + "{}" + "}" * DEEP,
    "all of them": '[NaN,-Infinity,"\\ud800",%s,1E12345678901234567890,{"a":[[[]]],"a":2}]' % ("9" * 5000),
}
MAPS = {
    "no map": {},
    "a map": {"stream_maps": {"refunds": {}}},
    "a map with fields": {"stream_maps": {"refunds": {"note": "str(1)", "__key_properties__": ["id"]}}},
}


def line_of(key: str, **fields: str) -> str:
    """A RECORD of `refunds` that meets the contract but for these fields, given as JSON."""
    given = {"id": f'"{key}"', "createdAt": str(REFUND_TIME), "lineItems": "[]"} | fields
    return f'{{"type": "RECORD", "stream": "refunds", "record": {in_braces(given)}}}'


def in_braces(fields: dict[str, str]) -> str:
    return f"{{{', '.join(f'{json.dumps(name)}: {value}' for name, value in fields.items())}}}"


def set_aside(path: Path) -> list[bytes]:
    """The text of each record in a rejects file, byte for byte."""
    lines = [members(each) for each in path.read_bytes().split(b"\n") if each]
    return [each["record"] for each in lines if each["type"] == b'"RECORD"']


def peak(folder: Path, lines: Iterable[bytes], **settings: Any) -> int:
    """The most memory in bytes that a run on these lines held at once."""
    with (folder / "lines.jsonl").open("wb") as file:
        file.writelines(lines)
    with CheapKlar(0.1) as klar:
        (folder / "config.json").write_text(json.dumps({"api_url": klar.url, "api_token": "t"} | settings))
        return timed([*KLAR, "--config", str(folder / "config.json")], folder, folder / "lines.jsonl").peak


@pytest.mark.parametrize("settings", MAPS.values(), ids=MAPS)
def test_in_a_column_that_klar_does_not_know_anything_is_left_out_with_the_column(
    klar: Sandbox, settings: dict[str, Any]
) -> None:
    lines = [line_of(f"r-{number}", note=text) for number, text in enumerate(ODD.values())]
    ended = run(klar, [REFUNDS_SCHEMA, *lines, state(1)], **settings)
    assert (ended.code, ended.states, ended.errors) == (0, [1], [])
    assert len(klar.refunds) == len(ODD)
    assert {frozenset(held) for held in klar.refunds.values()} == {frozenset({"id", "createdAt", "lineItems"})}


@pytest.mark.parametrize("settings", MAPS.values(), ids=MAPS)
@pytest.mark.parametrize("name", ["id", "createdAt", "updatedAt", "lineItems"])
def test_in_a_field_of_klars_it_is_a_bad_record_that_is_set_aside_as_the_tap_wrote_it(
    klar: Sandbox, rejects: Path, name: str, settings: dict[str, Any]
) -> None:
    lines = [line_of(f"x-{number}", **{name: text}) for number, text in enumerate(ODD.values())]
    ended = run(
        klar,
        [REFUNDS_SCHEMA, refund_record("a"), *lines, refund_record("z"), state(1)],
        rejects_path=str(rejects),
        **settings,
    )
    assert (ended.code, ended.states, set(klar.refunds)) == (0, [1], {"a", "z"})
    assert set_aside(rejects) == [members(each.encode())["record"] for each in lines]
    again = rejects.with_name("again.jsonl")
    ended = run(klar, [], "--input", str(rejects), rejects_path=str(again), **settings)
    assert (ended.code, set(klar.refunds)) == (0, {"a", "z"})
    assert set_aside(again) == set_aside(rejects)


def test_a_record_that_klar_refuses_is_set_aside_as_the_tap_wrote_it(klar: Sandbox, rejects: Path) -> None:
    lines = [line_of(f"x-{number}", note=text, n="1.10") for number, text in enumerate(ODD.values())]
    klar.refuse = lambda sent: sent["id"] != "a" and "is not wanted"
    ended = run(klar, [REFUNDS_SCHEMA, refund_record("a"), *lines, state(1)], rejects_path=str(rejects))
    assert (ended.code, ended.states, set(klar.refunds)) == (0, [1], {"a"})
    assert set_aside(rejects) == [members(each.encode())["record"] for each in lines]


HUGE = {
    "9" * 5000: "a number of 5,000 characters, too large to read",
    "1e99999999999999999999": "a number of 22 characters, too large to read",
    "NaN": "number nan",
    "-Infinity": "number -inf",
}


@pytest.mark.parametrize(("amount", "found"), HUGE.items(), ids=HUGE.values())
def test_a_number_that_python_cannot_hold_is_told_by_its_length(klar: Sandbox, amount: str, found: str) -> None:
    odd = f'{{"type":"RECORD","stream":"transaction_costs","record":{{"orderId":"b","transactionCosts":{amount}}}}}'
    ended = run(klar, [COSTS_SCHEMA, cost_record("a"), state(1), odd, state(2)])
    assert (ended.code, ended.states, set(klar.transaction_costs)) == (1, [1], {"a"})
    (said,) = ended.errors
    assert said.startswith(
        f"target-klar rejected transaction_costs b: transactionCosts must be a number (found {found}). The run stops"
    )


@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize("digits", [310, 4214, 4300])
def test_a_number_that_klar_finds_too_large_is_set_aside(klar: Sandbox, rejects: Path, digits: int, sign: str) -> None:
    klar.refuse = lambda sent: len(str(sent["transactionCosts"])) > 99 and "is not wanted"
    amount = sign + "9" * digits
    odd = f'{{"type":"RECORD","stream":"transaction_costs","record":{{"orderId":"b","transactionCosts":{amount}}}}}'
    ended = run(klar, [COSTS_SCHEMA, cost_record("a"), odd, state(1)], rejects_path=str(rejects))
    assert (ended.code, ended.states, set(klar.transaction_costs)) == (0, [1], {"a"})
    assert [json.loads(text, parse_int=str)["transactionCosts"] for text in set_aside(rejects)] == [amount]


def test_a_number_that_python_cannot_hold_never_becomes_text(klar: Sandbox, rejects: Path) -> None:
    lines = [REFUNDS_SCHEMA, line_of("a", order="5"), line_of("b", order="9" * 5000), state(1)]
    maps = {"refunds": {"id": "'R-' + str(order)"}}
    ended = run(klar, lines, stream_maps=maps, rejects_path=str(rejects))
    assert (ended.code, ended.states, set(klar.refunds)) == (0, [1], {"R-5"})
    assert len(set_aside(rejects)) == 1


TOO_LARGE = ["1e1000000", "-1e1000000", "10e999999", "1e99999999999"]
PLACES: dict[str, tuple[str, dict[str, Any]]] = {
    "the id of a line": ('"id":"x","createdAt":1,"lineItems":[{"lineItemId":%s,"refundedQuantity":1}]', {}),
    "a column that a map makes the id": ('"number":%s,"createdAt":1', {"id": "number"}),
    "a column that a map makes text": ('"number":%s,"createdAt":1', {"id": "str(number)"}),
}


@pytest.mark.parametrize("number", TOO_LARGE)
@pytest.mark.parametrize(("fields", "fields_of_map"), PLACES.values(), ids=PLACES)
def test_a_number_beyond_what_python_calculates_with_is_no_id(
    klar: Sandbox, rejects: Path, fields: str, fields_of_map: dict[str, Any], number: str
) -> None:
    odd = f'{{"type":"RECORD","stream":"refunds","record":{{{fields % number}}}}}'
    maps = {"refunds": fields_of_map | {"__key_properties__": ["id"]}} if fields_of_map else {}
    lines = [schema("refunds", number={}), refund_record("a", number=1), odd, refund_record("z", number=2), state(1)]
    ended = run(klar, lines, rejects_path=str(rejects), stream_maps=maps)
    assert (ended.code, ended.states, len(klar.refunds)) == (0, [1], 2)
    assert set_aside(rejects) == [members(odd.encode())["record"]]


@pytest.mark.parametrize("number", TOO_LARGE)
def test_a_key_of_the_taps_beyond_what_python_calculates_with_is_left_out_with_its_column(
    klar: Sandbox, number: str
) -> None:
    lines = [schema("refunds", "rowid"), line_of("a", rowid=number), line_of("z", rowid="1"), state(1)]
    ended = run(klar, lines)
    assert (ended.code, ended.states, set(klar.refunds)) == (0, [1], {"a", "z"})


@pytest.mark.parametrize("odd", [*ODD.values(), "[" * 5000 + "]" * 5000, "1.50"], ids=[*ODD, "too deep", "a number"])
def test_the_members_of_an_object_are_the_bytes_that_came_and_of_a_name_that_comes_twice_the_last(odd: str) -> None:
    text = f' {{"a": 1 ,"b":{odd} , "\\u0061" : {odd}\t,"\\"{{":[{odd}]}}\r'
    assert members(text.encode()) == {"a": odd.encode(), "b": odd.encode(), '"{': f"[{odd}]".encode()}


@pytest.mark.parametrize("odd", ["1", "NaN", "[" * 5000 + "]" * 5000], ids=["a number", "NaN", "too deep"])
def test_what_is_no_object_has_no_members(odd: str) -> None:
    for text in (odd, f"[{odd}]", f'[{{"a": {odd}}}]', f'"{{a:{odd}}}"', ""):
        assert members(text.encode()) == {}
    assert members(b'{"a": 1, "b": NaN') == {}
    deep = "[" * 5000 + "]" * 5000
    broken = f'{{"a": {deep}, b: 1}}'.encode()
    try:
        decode(deep)
    except NotJSONError:
        with pytest.raises(NotJSONError, match="not valid JSON"):
            members(broken)
    else:  # as in Python 3.13, which sees where it is broken
        assert members(broken) == {}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_a_state_goes_out_as_the_tap_wrote_it(text: str, klar: Sandbox) -> None:
    written = f'{{"value": 0, "type":"STATE" , "value" :{text} , "x": {text}}}\r'
    ended = run(klar, [REFUNDS_SCHEMA, refund_record("a"), written])
    assert (ended.code, ended.out) == (0, text + "\n")


@pytest.mark.parametrize("settings", MAPS.values(), ids=MAPS)
def test_a_schema_may_describe_a_column_in_any_way(klar: Sandbox, rejects: Path, settings: dict[str, Any]) -> None:
    described = {f"note_{number}": text for number, text in enumerate(ODD.values())}
    described |= {"id": "true", "createdAt": "null", "lineItems": "5", "note": "[]"}
    schema_of = f'{{"properties": {in_braces(described)}, "required": NaN, "type": {ODD["deep arrays"]}}}'
    tap = f'{{"type": "SCHEMA", "stream": "refunds", "schema": {schema_of}, "key_properties": [NaN, "id"]}}'
    ended = run(
        klar, [tap, refund_record("a"), tap, line_of("x", id="5.5"), state(1)], rejects_path=str(rejects), **settings
    )
    assert (ended.code, ended.states, set(klar.refunds)) == (0, [1], {"a"})
    kept = members(rejects.read_bytes().partition(b"\n")[0])
    assert kept["schema"] == schema_of.encode()
    assert run(klar, [], "--input", str(rejects), rejects_path=str(rejects.with_name("again")), **settings).code == 0


def batch(*files: Path) -> dict[str, Any]:
    encoding = {"format": "jsonl", "compression": None}
    return {"type": "BATCH", "stream": "refunds", "encoding": encoding, "manifest": [file.as_uri() for file in files]}


@pytest.mark.parametrize("settings", MAPS.values(), ids=MAPS)
def test_a_line_of_a_batch_file_is_read_like_any_other(
    klar: Sandbox, rejects: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    file = tmp_path / "rows.jsonl"
    good = [members(line_of(f"r-{number}", note=text).encode())["record"] for number, text in enumerate(ODD.values())]
    bad = [members(line_of("x", id=text).encode())["record"] for text in ODD.values()]
    none = [b"{}, {}", b"{}],[{}", b"[" * 100_000, b'{"id":', b"nan"]
    file.write_bytes(b"\r\n".join([*good, *bad, *none, b"null"]))
    ended = run(klar, [REFUNDS_SCHEMA, batch(file), state(1)], rejects_path=str(rejects), **settings)
    assert (ended.code, ended.states, len(klar.refunds)) == (0, [1], len(ODD))
    assert set_aside(rejects) == [*bad, *(json.dumps(text.decode()).encode() for text in none), b"null"]


DEEP_ENOUGH = 5_000
"""Levels at which a Python whose limit is higher is looked at; no tap nests a hundredth of it."""


def deepest() -> int:
    """How many levels this Python reads, as far as that matters."""
    low, high = 100, DEEP_ENOUGH
    while high - low > 1:
        middle = (low + high) // 2
        try:
            decode("[" * middle + "]" * middle)
            low = middle
        except NotJSONError:
            high = middle
    return low


def test_what_can_just_be_read_can_be_read_again_once_it_is_set_aside(
    klar: Sandbox, rejects: Path, tmp_path: Path
) -> None:
    file = tmp_path / "rows.jsonl"
    most = deepest()  # here, and a little more where the stack is lower
    depths = range(most - 50, most + 150)
    file.write_text("".join(f'{{"id": {"[" * depth}{"]" * depth}}}\n' for depth in depths))
    ended = run(klar, [REFUNDS_SCHEMA, batch(file), state(1)], rejects_path=str(rejects), rejects_limit=1000)
    assert (ended.code, ended.states, len(set_aside(rejects))) == (0, [1], len(depths))
    again = rejects.with_name("again.jsonl")
    assert run(klar, [], "--input", str(rejects), rejects_path=str(again), rejects_limit=1000).code == 0
    assert set_aside(again) == set_aside(rejects)
    kinds = {text[:1] for text in set_aside(rejects)}
    assert b"{" in kinds
    assert b'"' in kinds or most == DEEP_ENOUGH - 1  # some were too deep, where so few levels can be


NO_OBJECTS = ["null", "5", '"text"', "[1]", "true", "NaN", "{}", "9" * 5000]
MAPS_OF_IT: dict[str, dict[str, Any] | None] = {
    "no map": None,
    "one": {"refunds": {}},
    "several": {
        "refunds": {},
        "transaction_costs": {"__source__": "refunds", "orderId": "id", "transactionCosts": "1"}
        | {"__key_properties__": ["orderId"], "__else__": "__NULL__"},
    },
}


def no_object(value: str) -> str:
    return f'{{"type": "RECORD", "stream": "refunds", "record": {value}}}'


def are_read_once(maps: str) -> list[str]:
    """An empty object is a record that each of several maps reads, and refuses."""
    return [value for value in NO_OBJECTS if value != "{}" or maps != "several"]


@pytest.mark.parametrize("value", NO_OBJECTS)
def test_a_record_that_is_no_object_or_an_empty_one_stops_the_run_under_no_map_one_or_several(
    klar: Sandbox, value: str
) -> None:
    for name, maps in MAPS_OF_IT.items():
        if value in are_read_once(name):
            klar.clear()
            lines = [REFUNDS_SCHEMA, refund_record("a"), state(1), no_object(value), state(2)]
            ended = run(klar, lines, stream_maps=maps)
            assert (ended.code, ended.states, set(klar.refunds)) == (1, [1], {"a"})


@pytest.mark.parametrize("maps", MAPS_OF_IT)
def test_a_record_that_is_no_object_or_an_empty_one_is_set_aside_once_under_no_map_one_or_several(
    klar: Sandbox, rejects: Path, maps: str
) -> None:
    values = are_read_once(maps)
    lines = [REFUNDS_SCHEMA, refund_record("a"), *map(no_object, values), state(2)]
    ended = run(klar, lines, stream_maps=MAPS_OF_IT[maps], rejects_path=str(rejects))
    assert (ended.code, ended.states, set(klar.refunds)) == (0, [2], {"a"})
    assert set_aside(rejects) == [value.encode() for value in values]
    read = f"refunds: {len(values) + 1} read, 1 stored"
    assert f"{len(values)} rejected" in ended.said(read)[0]


@pytest.mark.parametrize("ending", ["1E+400", "NaN", "9" * 5000, '"\\ud800"'])
def test_a_whole_last_line_of_the_rejects_file_is_kept_whatever_it_holds(
    klar: Sandbox, rejects: Path, ending: str
) -> None:
    whole = line(REFUNDS_SCHEMA) + f'{{"type":"RECORD","stream":"refunds","record":{{"id":"A","x":{ending}}}}}'.encode()
    rejects.write_bytes(whole)
    assert run(klar, [REFUNDS_SCHEMA, refund_record("a")], rejects_path=str(rejects)).code == 0
    assert rejects.read_bytes() == whole + b"\n"


def test_a_line_of_ours_that_was_cut_off_anywhere_is_taken_away_and_no_byte_more(klar: Sandbox, rejects: Path) -> None:
    tap = b'{"key_properties": ["id"], "schema": {"properties": {"id": true}}, "stream": "refunds", "type": "SCHEMA"}'
    assert run(klar, [tap, line_of("x", id="NaN")], rejects_path=str(rejects)).code == 0
    whole = rejects.read_bytes()
    assert whole.count(b"\n") == 2
    for cut in range(1, len(whole), size(37, 7)):
        rejects.write_bytes(b"not of ours\n" + whole[:cut])
        assert run(klar, [REFUNDS_SCHEMA], rejects_path=str(rejects)).code == 0
        first, end, second = whole[:cut].partition(b"\n")
        kept = whole[:cut] if second == b"" and end else first + end if end else b""
        kept = whole[: cut + 1] if whole[cut : cut + 1] == b"\n" else kept
        assert rejects.read_bytes() == b"not of ours\n" + kept


def test_a_batch_is_sent_once_it_holds_16_mb_of_the_taps_own_text(klar: Sandbox) -> None:
    wide = [refund_record(f"r-{number}", note="n" * 1_000_000) for number in range(40)]
    ended = run(klar, [REFUNDS_SCHEMA, *wide, state(1)])
    assert (ended.code, ended.states, len(klar.refunds)) == (0, [1], 40)
    assert [seen.count for seen in klar.posts()] == [17, 17, 6]


def test_what_a_later_record_replaces_is_no_longer_held(klar: Sandbox) -> None:
    wide = [refund_record("one", quantity=number, note="n" * 1_000_000) for number in range(40)]
    assert run(klar, [REFUNDS_SCHEMA, *wide, state(1)]).code == 0
    assert [seen.count for seen in klar.posts()] == [1]


@pytest.mark.parametrize("maps", [None, {"*": {"id": "((("}}], ids=["no map", "a map that fails"])
@pytest.mark.parametrize(
    "name",
    ["\ud800" * 3, "a\nb\x1b[31m", "n" * 10_000, "anna\u2028"],
    ids=["lone surrogates", "a line break and a colour", "10,000 letters", "a line separator"],
)
def test_a_stream_is_named_on_one_line_whatever_its_name_is(
    name: str, maps: dict[str, Any] | None, klar: Sandbox
) -> None:
    version = {"type": "ACTIVATE_VERSION", "stream": name}
    ended = run(klar, [version, schema(name), record(name, id=1), state(1)], stream_maps=maps)
    assert "Traceback" not in ended.err
    assert len(ended.err) < 4000
    assert len(ended.errors) == ended.code
    assert all(text.isprintable() for text in ended.errors)


@pytest.mark.slow
def test_columns_that_klar_does_not_know_take_a_bounded_memory_however_large_they_are(tmp_path: Path) -> None:
    wide = (line(refund_record(f"r-{number}", note="n" * 200_000)) for number in range(2000))
    assert peak(tmp_path, [line(REFUNDS_SCHEMA), *wide]) < 180_000_000


@pytest.mark.slow
@pytest.mark.parametrize("end", [b"\n", b""], ids=["whole", "without its last line break"])
def test_a_large_rejects_file_is_not_read_at_the_start(tmp_path: Path, end: bytes) -> None:
    rejects = tmp_path / "rejects.jsonl"
    one = line(refund_record("r", note="n" * 1000))
    with rejects.open("wb") as file:
        for _ in range(160):
            file.write(one * 900)
        file.write(one.rstrip() + end)
    size = rejects.stat().st_size
    assert size > 140_000_000
    assert peak(tmp_path, [line(REFUNDS_SCHEMA), line(refund_record("a"))], rejects_path=str(rejects)) < 100_000_000
    assert rejects.stat().st_size == size + (end == b"")
