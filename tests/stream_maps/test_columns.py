"""Columns that a stream map reads have to be there: a run stops before anything is sent, and never in vain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from forked import run
from klar_objects import REFUND_TIME
from messages import record, refund_record, schema, state
from rejects_file import records
from watched import Watched

from target_klar.stream_maps.columns import expressions_of, missing_columns
from target_klar.stream_maps.members import MisspelledMembers

if TYPE_CHECKING:
    from pathlib import Path

    from program import Ended

    from target_klar.sandbox import Sandbox

COLUMNS = {"id", "created", "rows", "class", "email", "amount", "order"}
# As the SDK's documentation and its users write them.
RIGHT = [
    "email.split('@')[-1]",
    "md5(config['hash_seed'] + email)",
    "record['email'].lower()",
    "_['class']",
    "record.email",
    "self",
    "bool('test.com' in email)",
    "datetime.datetime.fromisoformat(created).timestamp()",
    "json.dumps(record)",
    "json.loads(rows or '[]')",
    "str(int(amount) + 1)",
    "fake.first_name()",
    "__stream_name__ + __original_stream_name__",
    "order['a']['b']",
    "record['order']['missing']['too']",
    "[{'lineItemId': line['x'], 'refundedQuantity': line.get('y')} for line in rows]",
    "[key for key, value in order.items() if value]",
    "{name: value for name, value in record.items()}",
    "amount if 'nothing' in record else 0",
    "record.get('email', amount)",
    "record.get('old_name') or record.get('email')",
    "record.get('_sdc_deleted_at') or email",
    "'text' + \"more\"",
    "None",
    "__NULL__",
    "sum([randint(3), rand()])",
    "float(amount) * 0.02",
]


def missing(text: str, field: str = "email", **options: Any) -> list[tuple[set[str], bool]]:
    """What an expression reads that is not there, and whether that stops the run."""
    settings: dict[str, Any] = {"required": {"lineItems"}, "is_open": False, "all_dropped": False} | options
    found = missing_columns(expressions_of([{field: text}]), COLUMNS, **settings)
    return [(set(each.columns), each.stops) for each in found]


@pytest.mark.parametrize("text", RIGHT)
def test_what_reads_the_columns_that_are_there_is_left_alone(text: str) -> None:
    assert missing(text) == []


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("mail", {"mail"}),
        ("record['mail']", {"mail"}),
        ("_['mail'] or email", {"mail"}),
        ("record.mail", {"mail"}),
        ("[line['x'] for line in lines]", {"lines"}),
        ("[line['x'] for line in rows if line['y'] == wanted]", {"wanted"}),
        ("md5(mail)", {"mail"}),
        ("str(record.get('email', mail))", {"mail"}),
        ("mail.lower() + name", {"mail", "name"}),
    ],
)
def test_a_column_that_an_expression_fails_without_stops_the_run(text: str, columns: set[str]) -> None:
    assert missing(text) == [(columns, True)]


@pytest.mark.parametrize(
    "options", [{"is_open": True}, {"text": "mail if 'mail' in record else ''"}, {"text": "record.keys() and mail"}]
)
def test_where_it_may_come_later_or_the_map_looks_for_it_that_is_a_warning(options: dict[str, Any]) -> None:
    assert missing(**({"text": "mail"} | options)) == [({"mail"}, False)]


@pytest.mark.parametrize(
    ("field", "all_dropped", "stops"),
    [
        ("lineItems", False, True),
        ("email", False, False),
        ("__filter__", True, True),
        ("__filter__", False, False),
    ],
)
def test_optional_columns_stop_the_run_where_nothing_right_can_come_of_it(
    field: str, *, all_dropped: bool, stops: bool
) -> None:
    text = "record.get('old') or record.get('older') or record.get('_sdc_deleted_at')"
    assert missing(text, field, all_dropped=all_dropped) == [({"old", "older"}, stops)]


@pytest.mark.parametrize(
    ("text", "stops"),
    [
        ("float(email) + float(record.get('extra') or 0)", False),
        ("record.get('new') or email", False),
        ("rows + (record.get('more') or [])", False),
        ("record.get('email', record.get('new'))", False),
        ("[line['id'] for line in record.get('gone') or []]", True),
        ("[{'id': line['id'], 'mail': email} for line in record.get('gone') or [] if amount]", True),
        ("[x for line in record.get('gone') or [] for x in rows]", True),
        ("record.get('gone') if email else []", True),
        ("record.get('gone') if email == 'x' else []", True),
        ("(email == 'x') and record.get('gone')", True),
    ],
)
def test_a_missing_column_beside_one_that_is_there_stops_the_run_only_where_it_makes_the_value(
    text: str, *, stops: bool
) -> None:
    assert [each for _, each in missing(text, "lineItems")] in ([[True]] if stops else [[], [False]])


def test_a_filter_is_not_wrong_because_of_a_column_that_no_record_has_beside_one_that_all_have() -> None:
    text = "email == 'x' or record.get('new') == 'x'"
    assert missing(text, "__filter__", all_dropped=True) == [({"new"}, False)]


def test_a_column_that_a_map_removes_is_not_read() -> None:
    assert missing("__NULL__", "gone") == []


def test_self_is_the_column_of_the_fields_own_name() -> None:
    assert missing("self * 2", "amount") == []
    assert missing("self * 2", "total") == [({"total"}, True)]


LINES = "[{'lineItemId': line['id'], 'refundedQuantity': line['qty']} for line in record.get('rows') or []]"
MAPS: dict[str, Any] = {"stream_maps": {"returns": {"__alias__": "refunds", "lineItems": LINES}}}


def returned(number: int, column: str = "rows") -> dict[str, Any]:
    """A record of the tap's stream, whose lines are in a column."""
    return record("returns", id=number, created_at=REFUND_TIME, **{column: [{"id": 1, "qty": 1}]})


def test_a_renamed_column_stops_the_run_before_anything_is_sent_or_acknowledged(klar: Sandbox, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.jsonl"
    lines = [schema("returns"), state(0), *(returned(n, "rows_v2") for n in range(1200)), state(1)]
    ended = run(klar, lines, rejects_path=str(rejects), **MAPS)

    assert (ended.code, ended.states, klar.posts()) == (1, [0], [])
    assert ended.errors[0].startswith(
        "The stream map of returns reads `rows` for `lineItems`, found neither in the SCHEMA nor in the first 1000 "
        "records (found: id, created_at, rows_v2). Correct it in `stream_maps`."
    )
    assert rejects.read_text() == ""


@pytest.mark.parametrize("field", ["line_items", "LINEITEMS", "Line_Items"])
def test_a_renamed_column_stops_the_run_however_the_map_spells_the_field_that_klar_requires(
    klar: Sandbox, field: str
) -> None:
    maps = {"returns": {"__alias__": "refunds", field: LINES}}
    ended = run(klar, [schema("returns"), state(0), returned(1, "rows_v2"), state(1)], stream_maps=maps)

    assert (ended.code, ended.states, klar.posts()) == (1, [0], [])
    assert ended.errors[0].startswith(f"The stream map of returns reads `rows` for `{field}`, found neither in the ")


@pytest.mark.parametrize("at", [0, 1, 998])
def test_a_column_that_only_a_later_record_brings_is_found_in_time(klar: Sandbox, at: int) -> None:
    lines = [schema("returns"), *(returned(n, "rows" if n == at else "others") for n in range(1000)), state(1)]
    ended = run(klar, lines, **MAPS)

    assert (ended.code, ended.states) == (0, [1]), ended.err
    assert len(klar.refunds) == 1000


def test_a_column_of_the_schema_need_not_be_in_any_record(klar: Sandbox) -> None:
    lines = [schema("returns", rows={}), record("returns", id=1, created_at=REFUND_TIME), state(1)]
    assert run(klar, lines, **MAPS).code == 0
    assert klar.refunds["1"]["lineItems"] == []


def test_without_records_a_map_stops_nothing(klar: Sandbox) -> None:
    ended = run(klar, [schema("returns"), state(1)], **MAPS)
    assert (ended.code, ended.states, ended.said("reads `rows`")) == (0, [1], [])


def test_what_is_held_goes_on_in_order_across_streams_and_states(klar: Sandbox) -> None:
    """The last word on a key is that of the other source stream, which came behind; a STATE waits for both."""
    lines = [
        schema("returns"),
        schema("refunds"),
        returned(1, "others"),
        state(1),
        record("refunds", id="1", createdAt=REFUND_TIME, lineItems=[{"lineItemId": "late", "refundedQuantity": 5}]),
        state(2),
        returned(2),
        state(3),
    ]
    ended = run(klar, lines, batch_size_rows=1, checkpoint_interval_seconds=0, max_parallel_requests=4, **MAPS)

    assert (ended.code, ended.states[-1]) == (0, 3), ended.err
    assert klar.refunds["1"]["lineItems"] == [{"lineItemId": "late", "refundedQuantity": 5}]


def test_a_silent_tap_delays_what_is_held_no_longer_than_a_batch(klar: Sandbox) -> None:
    with Watched(klar, batch_wait_limit_seconds=1, checkpoint_interval_seconds=0, **MAPS) as silent:
        silent.feed([schema("returns"), returned(1, "others"), returned(2), state(1)], ends=False)
        silent.until(lambda: silent.states == [1])
    assert set(klar.refunds) == {"1", "2"}


def test_later_in_a_run_a_missing_column_is_a_warning(klar: Sandbox) -> None:
    lines = [schema("returns", rows={}), returned(1), schema("returns", others={}), returned(2, "others"), state(1)]
    ended = run(klar, lines, **MAPS)

    assert (ended.code, ended.states) == (0, [1]), ended.err
    assert len(ended.said("reads `rows`")) == 1


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{'lineItemId': line['id'], 'refundedQuantity': line.get('qtty', 1)} for line in rows", ("qtty", "qty")),
        (
            "{'lineItemId': line['id'], 'refundedQuantity': 1} for line in rows if line.get('kinds') == 'x'",
            ("kinds", "kind"),
        ),
        ("{'lineItemId': line['id'], 'refundedQuantity': line.get('qty', 1)} for line in rows", None),
        ("{'lineItemId': line['id'], 'refundedQuantity': line.get('pieces') or line['qty']} for line in rows", None),
        ("{'lineItemId': line['id'], 'refundedQuantity': line.get('qtty') or line['qty']} for line in rows", None),
    ],
    ids=["a value", "a condition", "right", "another name", "a fallback"],
)
def test_a_member_that_is_misspelled_is_said(klar: Sandbox, line: str, told: tuple[str, str] | None) -> None:
    lines = [record("returns", id=n, created_at=REFUND_TIME, rows=[{"id": 1, "qty": 2, "kind": "x"}]) for n in range(3)]
    maps = {"returns": {"__alias__": "refunds", "lineItems": f"[{line}]"}}
    ended = run(klar, [schema("returns", rows={}), *lines, state(1)], stream_maps=maps)
    message = "The stream map of returns reads `{}` of `rows`, found in none of the first records. Did you mean `{}`?"
    assert ended.code == 0, ended.err
    assert [each for each in ended.warnings if "found in none of" in each] == ([message.format(*told)] if told else [])


DEFAULT = (
    "The stream map of s reads `qty` of `rows`, found in none of the first records, so the default stands for it. "
    "If that is not meant, correct it (found: id, quantity)."
)


@pytest.mark.parametrize(
    ("expression", "records_with_objects", "told"),
    [
        ("[{'a': row.get('qty', 1)} for row in rows]", 20, True),
        ("[{'a': float(row.get('qty', '1'))} for row in rows or []]", 20, True),
        ("rows[0].get('qty', 1)", 20, True),
        ("[{'a': row.get('qty', 1)} for row in rows]", 19, False),
        ("[{'a': row.get('qty', 0)} for row in rows]", 20, False),
        ("[{'a': row.get('qty')} for row in rows]", 20, False),
        ("[{'a': row.get('qty') or 1} for row in rows]", 20, False),
        ("[{'a': row.get('quantity', row.get('qty', 1))} for row in rows]", 20, False),
        ("[{'a': row.get('quantity') or float(row.get('qty', 1))} for row in rows]", 20, False),
        ("[{'a': 1} for row in rows if row.get('qty', 1) == 1]", 20, False),
        ("[{'a': row.get('quantity', 1)} for row in rows]", 20, False),
        ("[{'a': row.get('qty', 1), 'b': row['qty']} for row in rows]", 20, False),
    ],
)
def test_a_member_that_no_object_has_and_a_default_stands_for_is_said(
    expression: str, records_with_objects: int, *, told: bool
) -> None:
    members = MisspelledMembers({"x": expression})
    for number in range(30):
        members.look({"rows": [{"id": 1, "quantity": 2}] if number < records_with_objects else []})
    assert list(members.lines("s")) == ([DEFAULT] if told else [])


def test_a_column_that_a_later_schema_lacks_and_the_records_have_is_not_missing(klar: Sandbox) -> None:
    lines = [schema("returns", rows={}), returned(1), schema("returns", id={}), returned(2), state(1)]
    ended = run(klar, lines, **MAPS)
    assert (ended.code, ended.states, ended.warnings, set(klar.refunds)) == (0, [1], [], {"1", "2"})


@pytest.mark.parametrize("others", [[], [schema("refunds"), refund_record("x")]])
def test_the_last_schema_before_the_first_record_is_the_one_that_counts(klar: Sandbox, others: list[Any]) -> None:
    lines = [schema("returns", rows={}), *others, schema("returns", rows_v2={}), returned(1, "rows_v2"), state(1)]
    ended = run(klar, lines, **MAPS)
    assert (ended.code, ended.states, "1" in klar.refunds) == (1, [], False)
    assert ended.errors[0].startswith("The stream map of returns reads `rows` for `lineItems`, found neither in the ")

    right = run(klar, [schema("returns", old={}), schema("returns", rows={}), returned(1), state(2)], **MAPS)
    assert (right.code, right.states, right.warnings) == (0, [2], [])


def test_a_filter_that_drops_every_record_is_told_with_their_number(klar: Sandbox) -> None:
    maps: dict[str, Any] = {"stream_maps": {"returns": {"__alias__": "refunds", "__filter__": "id > 10"}}}
    ended = run(klar, [schema("returns"), returned(1), returned(2), state(1)], **maps)

    assert (ended.code, ended.states, klar.refunds) == (0, [1], {})
    assert ended.said("dropped all 2 records")
    assert ended.said("2 read, 0 stored")


MISSPELLED = (
    "The stream map of returns reads `statuss` (did you mean `status`?) for `__filter__`, found neither in the SCHEMA"
)
DROPPED = (
    "The `__filter__` in the stream map of returns dropped all 3 records, so nothing of it was loaded. "
    "Check the filter."
)
OPEN: dict[str, Any] = {"additionalProperties": True}


def filtered_by(
    klar: Sandbox, text: str, source: str = "returns", described: dict[str, Any] | None = None, **settings: Any
) -> Ended:
    """Run on three records that have a `status`, through a map with this `__filter__`."""
    maps = {source: {"__alias__": "refunds", "lineItems": LINES, "__filter__": text}}
    head = schema("returns", created_at={}, rows={}, status={})
    head["schema"] |= described or {}
    lines = [returned(number) for number in (1, 2, 3)]
    for each in lines:
        each["record"]["status"] = "done"
    return run(klar, [head, state(0), *lines, state(1)], stream_maps=maps, **settings)


@pytest.mark.parametrize(
    "text",
    [
        "statuss == 'done'",
        "record['statuss'] == 'done'",
        "record.statuss == 'done'",
        "record.get('statuss') == 'done'",
        "bool(record.get('statuss'))",
        "record.get('statuss', '') == 'done'",
    ],
)
def test_a_misspelled_column_in_a_filter_that_would_drop_every_record_stops_the_run(
    klar: Sandbox, rejects: Path, text: str
) -> None:
    ended = filtered_by(klar, text, rejects_path=str(rejects))

    assert (ended.code, ended.states, klar.posts(), ended.warnings) == (1, [0], [], [])
    assert len(ended.errors) == 1
    assert ended.errors[0].startswith(MISSPELLED)
    assert rejects.read_text() == ""


@pytest.mark.parametrize(
    ("text", "source", "described"),
    [
        ("record.get('statuss') == 'done'", "returns", OPEN),
        ("record.get('statuss') == 'done'", "returns", {"patternProperties": {"^s": {}}}),
        ("record.get('statuss') == 'done'", "ret*", {}),
        ("'statuss' in record and record.get('statuss') == 'done'", "returns", {}),
        ("bool(record.items()) and record['statuss'] == 'done' if 'statuss' in record else False", "returns", {}),
    ],
    ids=["open SCHEMA", "SCHEMA with a pattern", "map of many streams", "asks for the column", "looks at all columns"],
)
def test_a_misspelled_column_in_a_filter_that_drops_every_record_is_two_warnings_where_it_may_still_come(
    klar: Sandbox, text: str, source: str, described: dict[str, Any]
) -> None:
    ended = filtered_by(klar, text, source, described)

    assert (ended.code, ended.states[-1], klar.posts(), ended.errors) == (0, 1, [], [])
    assert len(ended.warnings) == 2
    assert ended.warnings[0].startswith(MISSPELLED)
    assert ended.warnings[1] == DROPPED
    assert ended.counts("refunds")["filtered"] == ended.counts("refunds")["read"] == 3


@pytest.mark.parametrize("text", ["statuss == 'done'", "record['statuss'] == 'done'", "record.statuss == 'done'"])
def test_a_misspelled_column_without_which_a_filter_fails_drops_nothing_under_an_open_schema(
    klar: Sandbox, rejects: Path, text: str
) -> None:
    stopped = filtered_by(klar, text, described=OPEN)
    assert (stopped.code, stopped.states, klar.posts()) == (1, [0], [])
    assert stopped.warnings[0].startswith(MISSPELLED)
    assert "__filter__ could not be mapped" in stopped.errors[0]

    ended = filtered_by(klar, text, described=OPEN, rejects_path=str(rejects))
    assert (ended.code, klar.posts(), len(records(rejects))) == (0, [], 3)
    assert DROPPED not in ended.warnings


@pytest.mark.parametrize("other", ["transaction_costs", "logistics_costs"])
@pytest.mark.parametrize("source", ["sales", "sal*"])
def test_a_filter_that_drops_all_of_one_stream_stops_the_run_though_another_map_passes_records(
    klar: Sandbox, source: str, other: str
) -> None:
    amount = {"transaction_costs": "transactionCosts", "logistics_costs": "totalLogisticsCosts"}[other]
    only = {"__else__": None, "__key_properties__": ["orderId"]}
    maps = {
        "sales": None,
        "refunds": {"__source__": source, "lineItems": "rows", "__filter__": "record.get('statuss') == 'refunded'"},
        other: {"__source__": "sales", "orderId": "id", amount: "fee", **only},
    }
    row = record("sales", id=1, created_at=REFUND_TIME, rows=[{"line_item_id": 1, "refunded_quantity": 1}], fee=1.5)
    row["record"]["status"] = "refunded"
    head = schema("sales", created_at={}, rows={}, fee={}, status={})
    ended = run(klar, [head, state(0), row, state(1)], stream_maps=maps)
    reads = "The stream map of sales reads `statuss` (did you mean `status`?) for `__filter__`, found neither in "
    if source == "sales":
        assert (ended.code, ended.states, klar.posts()) == (1, [0], [])
        assert ended.errors[0].startswith(reads)
    else:
        assert (ended.code, ended.states[-1], klar.refunds) == (0, 1, {})
        assert ended.warnings[0].startswith(reads)


def test_a_misspelled_column_in_a_filter_that_drops_nothing_is_one_warning(klar: Sandbox) -> None:
    ended = filtered_by(klar, "record.get('statuss') != 'open'")

    assert (ended.code, ended.states[-1], set(klar.refunds)) == (0, 1, {"1", "2", "3"})
    assert [text for text in ended.warnings if "__filter__" in text] == ended.warnings[:1]
    assert ended.warnings[0].startswith(MISSPELLED)


BREAKS = [schema("returns", parts={}), returned(1), returned(2), record("returns", id=11, parts="text"), state(1)]


@pytest.mark.parametrize("rejects", [False, True])
def test_a_filter_that_let_a_record_pass_is_not_to_blame_if_the_map_fails_on_it(
    klar: Sandbox, tmp_path: Path, *, rejects: bool
) -> None:
    of_lines = "[{'lineItemId': part['id'], 'refundedQuantity': 1} for part in parts]"
    maps = {"returns": {"__alias__": "refunds", "__filter__": "id > 10", "lineItems": of_lines}}
    path: dict[str, Any] = {"rejects_path": str(tmp_path / "rejects.jsonl")} if rejects else {}
    ended = run(klar, BREAKS, stream_maps=maps, **path)

    assert (ended.code, klar.refunds) == (int(not rejects), {})
    assert ended.said("2 filtered")
    assert not ended.said("The `__filter__`")
    shown = run(None, BREAKS, "--preview", stream_maps=maps).out
    assert "2 of 3 would be dropped by `__filter__`" in shown
    assert "The `__filter__`" not in shown


def test_a_filter_that_lets_nothing_pass_and_fails_itself_is_told_with_both_numbers(
    klar: Sandbox, tmp_path: Path
) -> None:
    maps = {"returns": {"__alias__": "refunds", "__filter__": "id > 10 and parts['no']"}}
    ended = run(klar, BREAKS, stream_maps=maps, rejects_path=str(tmp_path / "rejects.jsonl"))

    assert (ended.code, ended.states) == (0, [1]), ended.err
    assert ended.said(
        "The `__filter__` in the stream map of returns dropped 2 records and failed on 1, so nothing of it"
    )


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ("id > 0", "id > 10", None),
        ("id > 10", "id > 0", None),
        ("id > 10", "id > 20", "dropped all 6 records"),
        ("id > 10", "id > 20 or parts['no']", "dropped 3 records and failed on 3"),
        ("id > 20 or parts['no']", "id > 10", "dropped 3 records and failed on 3"),
    ],
)
def test_filters_of_two_maps_to_one_stream_are_told_only_if_both_let_nothing_pass(
    klar: Sandbox, tmp_path: Path, first: str, second: str, told: str | None
) -> None:
    fields = {"lineItems": "[{'lineItemId': 'a', 'refundedQuantity': 1}]"}
    maps = {
        "returns": {"__alias__": "refunds", **fields, "__filter__": first},
        "refunds": {"__source__": "returns", **fields, "__filter__": second},
    }
    head = schema("returns", parts={})
    lines = [record("returns", id=number, createdAt=REFUND_TIME, parts={}) for number in (1, 2, 3)]
    other_head = schema("returns", parts={}, more={})  # what was counted under the first one still counts
    ended = run(
        klar, [head, *lines[:2], other_head, lines[2], state(1)], stream_maps=maps, rejects_path=str(tmp_path / "r")
    )

    assert (ended.code, ended.states) == (0, [1]), ended.err
    begins = "The `__filter__` in the stream map of returns to refunds "
    assert [text.removeprefix(begins) for text in ended.warnings if "The `__filter__`" in text] == (
        [f"{told}, so nothing of it was loaded. Check the filter."] if told else []
    )


def test_a_filter_that_drops_some_is_counted_and_not_told(klar: Sandbox) -> None:
    maps = {"stream_maps": {"returns": MAPS["stream_maps"]["returns"] | {"__filter__": "id > 1"}}}
    ended = run(klar, [schema("returns"), returned(1), returned(2), state(1)], **maps)

    assert (ended.code, set(klar.refunds)) == (0, {"2"}), ended.err
    assert not ended.said("dropped all")
    assert ended.said("1 filtered")
