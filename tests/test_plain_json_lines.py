"""`--stream NAME`: plain JSON lines, as a SQL engine writes them, in place of Singer messages."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from forked import run

if TYPE_CHECKING:
    from pathlib import Path

    from target_klar.sandbox import Sandbox

AS_COSTS = ("--stream", "transaction_costs")
FEES: dict[str, Any] = {
    "stream_maps": {"fees": {"__alias__": "transaction_costs", "orderId": "order_no", "transactionCosts": "fee"}}
}


def test_every_line_is_a_record_digit_for_digit_and_there_is_no_state(klar: Sandbox) -> None:
    lines = ['{"order_id": 1001, "transaction_costs": "1.4500"}', "", '{"order_id": 1002, "transaction_costs": 2.00}']
    ended = run(klar, lines, *AS_COSTS)

    assert (ended.code, ended.out) == (0, ""), ended.err
    assert {key: str(sent["transactionCosts"]) for key, sent in klar.transaction_costs.items()} == {
        "1001": "1.4500",
        "1002": "2.00",
    }


def test_what_duckdb_writes_arrives_exactly(klar: Sandbox) -> None:
    """DECIMAL and HUGEINT as text, nested decimals as numbers, timestamps with `+00`."""
    row = {
        "id": "170141183460469231731687303715884105727",
        "created_at": "2026-05-04 09:30:00+00",
        "line_items": [{"id": 1, "quantity": 2, "total_amount_before_taxes_and_discounts": 0.3}],
    }
    ended = run(klar, [row], "--stream", "orders")

    assert ended.code == 0, ended.err
    assert klar.orders == {
        row["id"]: {
            "id": row["id"],
            "createdAt": 1777887000,
            "lineItems": [{"id": "1", "quantity": 2, "totalAmountBeforeTaxesAndDiscounts": Decimal("0.3")}],
        }
    }


@pytest.mark.parametrize(
    "options",
    [{}, {"stream_maps": {"transaction_costs": {"orderId": "id", "transactionCosts": "record.get('f') or 1"}}}],
)
def test_a_query_that_gives_two_columns_one_name_stops_the_run(klar: Sandbox, options: dict[str, Any]) -> None:
    """`SELECT r.*, o.*`: the last value would win, and every cost go to another order."""
    ended = run(klar, ['{"id": 7, "order_id": 7, "transaction_costs": 1, "id": 530}'], *AS_COSTS, **options)
    assert (ended.code, klar.posts()) == (1, [])
    assert ended.errors[0].startswith(
        "Line 1 of the input: two values for id in one record. Give one of the columns another name in the query"
    )
    equal = '{"order_id": 7, "transaction_costs": 1, "order_id": 7}'
    again = run(klar, [equal, '{"order_id": 8, "transaction_costs": 1, "order_id": 9}'], *AS_COSTS)
    assert (again.code, set(klar.transaction_costs)) == (1, {"7"}), "nothing is lost of what is there twice"
    assert again.errors[0].startswith("Line 2 of the input: two values for order_id in one record.")


@pytest.mark.parametrize("option", ["--stream", "--input"])
def test_an_option_with_one_value_that_is_given_twice_is_an_error(option: str, klar: Sandbox, tmp_path: Path) -> None:
    """The last one would count, and the other input be dropped without a word."""
    files = [tmp_path / name for name in ("one.jsonl", "other.jsonl")]
    for file in files:
        file.write_text('{"order_id": 7, "transaction_costs": 1}\n')
    ended = run(klar, [], *(word for file in files for word in (option, str(file))))
    assert (ended.code, klar.requests) == (1, [])
    assert ended.errors[0].startswith(f"`{option}` is given 2 times. Run once for each. ")


@pytest.mark.parametrize("options", [(), ("--preview",)], ids=["a load", "a preview"])
@pytest.mark.parametrize("name", ["", " "], ids=["an unset variable", "a blank"])
def test_a_stream_without_a_name_stops_the_run(klar: Sandbox, name: str, options: tuple[str, ...]) -> None:
    ended = run(klar, ['{"order_id": 1}'], *options, "--stream", name)
    assert (ended.code, ended.out, klar.requests) == (1, "", [])
    (told,) = ended.errors
    assert told.startswith("`--stream` is empty. Name the stream that the lines are records of. ")


def test_a_rejected_row_that_lacks_a_column_of_the_map_can_be_sent_again(klar: Sandbox, rejects: Path) -> None:
    """Neither it nor the first row has the column, which the stream may have."""
    maps = {"rows": {"__alias__": "transaction_costs", "orderId": "id", "transactionCosts": "record.get('fee') or 0"}}
    rows = [{"id": 1}, {"id": [2]}, {"id": 3, "fee": 1}]
    loaded = run(klar, rows, "--stream", "rows", stream_maps=maps, rejects_path=str(rejects))
    again = run(klar, b"", "--input", str(rejects), stream_maps=maps | {"rows": maps["rows"] | {"orderId": "str(id)"}})
    assert (loaded.code, again.code) == (0, 0), again.err
    assert set(klar.transaction_costs) == {"1", "3", "[2]"}


def test_a_misspelled_column_stops_rejected_rows_that_are_sent_again(klar: Sandbox, rejects: Path) -> None:
    maps = {"rows": {"__alias__": "refunds", "lineItems": "record.get('lines') or []"}}
    row = {"id": 1, "created_at": "none", "lines": [{"line_item_id": 1, "refunded_quantity": 1}]}
    assert run(klar, [row], "--stream", "rows", stream_maps=maps, rejects_path=str(rejects)).code == 0
    wrong = maps["rows"] | {"createdAt": "1777887000", "lineItems": "record.get('line') or []"}
    again = run(klar, b"", "--input", str(rejects), stream_maps={"rows": wrong})
    assert (again.code, klar.posts()) == (1, [])
    assert "reads `line` (did you mean `lines`?) for `lineItems`" in again.errors[0]


def test_the_last_line_of_a_key_wins(klar: Sandbox) -> None:
    lines = [{"orderId": f"O-{n % 3}", "transactionCosts": n} for n in range(50)]
    assert run(klar, lines, *AS_COSTS, batch_size_rows=4, max_parallel_requests=8).code == 0
    assert {key: sent["transactionCosts"] for key, sent in klar.transaction_costs.items()} == {
        "O-2": 47,
        "O-0": 48,
        "O-1": 49,
    }


def test_a_stream_of_the_taps_own_name_goes_through_its_map(klar: Sandbox) -> None:
    ended = run(klar, [{"order_no": 1, "fee": "0.35"}], "--stream", "fees", **FEES)
    assert ended.code == 0, ended.err
    assert klar.transaction_costs == {"1": {"orderId": "1", "transactionCosts": Decimal("0.35")}}


def test_rejected_lines_are_sent_again_without_the_option(klar: Sandbox, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.jsonl"
    lines = [{"order_no": 1, "fee": "0,35"}, {"order_no": 2, "fee": "0.40"}]
    ended = run(klar, lines, "--stream", "fees", rejects_path=str(rejects), **FEES)
    assert (ended.code, set(klar.transaction_costs)) == (0, {"2"}), ended.err

    fixed = {"stream_maps": {"fees": FEES["stream_maps"]["fees"] | {"transactionCosts": "fee.replace(',', '.')"}}}
    assert run(klar, rejects, **fixed).code == 0
    assert klar.transaction_costs["1"] == {"orderId": "1", "transactionCosts": Decimal("0.35")}


def test_at_the_end_all_is_confirmed_as_if_a_state_stood_there(klar: Sandbox) -> None:
    def freeze(sent: dict[str, Any]) -> None:
        klar.status_frozen = klar.status_frozen or sent["orderId"] == "2"

    klar.refuse = freeze
    lines = [{"orderId": str(n), "transactionCosts": n} for n in range(4)]
    ended = run(klar, lines, *AS_COSTS, batch_size_rows=2, status_timeout_seconds=1)

    assert ended.code == 1
    assert "its status shows no load newer than" in ended.errors[0]


def test_a_dry_run_loads_nothing(klar: Sandbox) -> None:
    ended = run(klar, [{"orderId": "1", "transactionCosts": 1}], *AS_COSTS, validate_only=True)
    assert (ended.code, klar.posts(), klar.transaction_costs) == (0, [], {})
    assert ended.said("1 valid")


def test_rows_have_types_of_their_own(klar: Sandbox) -> None:
    lines: list[dict[str, Any]] = [
        {"type": "charge", "orderId": "1", "transactionCosts": 1},
        {"type": ["RECORD"], "orderId": "2"},
    ]
    lines[1]["transactionCosts"] = 2
    assert run(klar, lines, *AS_COSTS).code == 0
    assert set(klar.transaction_costs) == {"1", "2"}


@pytest.mark.parametrize(
    ("first", "looks_like"),
    [
        ("Datum;Bestellnummer;Gebühr", "It looks like CSV"),
        ('"order id","fee"', "It looks like CSV"),
        ("order_id\tfee", "It looks like CSV"),
        ('[{"orderId": "1"}]', "It looks like a JSON array: `jq -c '.[]'`"),
        ("[", "It looks like a JSON array"),
        ("{", "It looks like JSON over several lines"),
        ('{"orderId": "1"} {"orderId": "2"}', "It has several JSON objects on a line"),
        ("\ufeff{}", "It begins with a byte order mark (UTF-8)"),
        ("Starting up!", ""),
    ],
)
@pytest.mark.parametrize("options", [(), AS_COSTS], ids=["Singer", "plain"])
def test_a_json_array_csv_or_another_form_of_input_is_named_with_what_reads_it(
    klar: Sandbox, options: tuple[str, ...], first: str, looks_like: str
) -> None:
    ended = run(klar, [first], *options)
    assert (ended.code, ended.out, klar.posts()) == (1, "", [])
    assert looks_like in ended.errors[0]
    assert looks_like or "looks like" not in ended.errors[0]


@pytest.mark.parametrize("preview", [(), ("--preview",)], ids=["a load", "a preview"])
@pytest.mark.parametrize(
    ("options", "told"),
    [((), "`zcat FILE | target-klar` unpacks it."), (AS_COSTS, "`zcat FILE | target-klar --stream NAME` unpacks it.")],
    ids=["Singer", "plain"],
)
def test_a_packed_input_is_named_with_what_unpacks_it(
    klar: Sandbox, tmp_path: Path, options: tuple[str, ...], told: str, preview: tuple[str, ...]
) -> None:
    file = tmp_path / "rows.jsonl.gz"
    file.write_bytes(gzip.compress(b'{"orderId": "1", "transactionCosts": 1}\n' * 100))
    ended = run(klar, b"", *preview, "--input", str(file), *options)
    assert (ended.code, ended.out, klar.posts()) == (1, "", [])
    assert f" It is packed (gzip): {told}" in ended.errors[0]


def test_rows_without_an_envelope_are_told_of_the_option(klar: Sandbox) -> None:
    ended = run(klar, [{"orderId": "1", "transactionCosts": 1}])
    assert ended.code == 1
    assert "`target-klar --stream NAME` reads plain JSON lines" in ended.errors[0]


def test_a_singer_message_under_the_option_stops_the_run(klar: Sandbox) -> None:
    messages = [{"type": "STATE", "value": 1}, {"type": "RECORD", "stream": "refunds", "record": {}}]
    for message in messages:
        ended = run(klar, [message], *AS_COSTS)
        assert (ended.code, klar.posts()) == (1, [])
        assert (
            "a Singer message: under `--stream` each line has to be a record. Leave out `--stream`." in ended.errors[0]
        )


@pytest.mark.parametrize("line", ["1", '"text"', "null", "[1]", '{"orderId": '])
def test_a_line_that_is_no_object_stops_the_run_and_what_came_before_is_delivered(klar: Sandbox, line: str) -> None:
    ended = run(klar, [{"orderId": "1", "transactionCosts": 1}, line], *AS_COSTS)
    assert (ended.code, set(klar.transaction_costs)) == (1, {"1"})
    assert ended.errors[0].startswith("Line 2 of the input:")


def test_an_empty_result_is_a_warning(klar: Sandbox) -> None:
    ended = run(klar, ["", ""], *AS_COSTS)
    assert (ended.code, klar.posts()) == (0, [])
    assert ended.said("The input has no record, so nothing was loaded.")


def test_a_stream_that_klar_does_not_have_is_an_error_with_the_likely_one(klar: Sandbox) -> None:
    ended = run(klar, [json.dumps({"order_id": 1})], "--stream", "order_fees")
    assert ended.code == 1
    assert '{"stream_maps": {"order_fees": {"__alias__": "transaction_costs"}}}' in ended.errors[0]


def test_deletions_alone_need_no_column_but_the_key(klar: Sandbox) -> None:
    """As on a night on which a source of changes has nothing else."""
    kept = "bool(record.get('_sdc_deleted_at') or record.get('rows'))"
    rows = "[{'lineItemId': row['id'], 'refundedQuantity': row['pieces']} for row in record.get('rows') or []]"
    maps = {"returns": {"__alias__": "refunds", "__filter__": kept, "lineItems": rows}}
    deleted = {"id": 1, "created_at": "2026-05-04", "_sdc_deleted_at": "2026-05-05T00:00:00Z"}
    ended = run(klar, [deleted], "--stream", "returns", hard_delete=True, stream_maps=maps)
    assert (ended.code, ended.errors, ended.counts("refunds")["cancelled"]) == (0, [], 1)
    klar.clear()
    alive = deleted | {"_sdc_deleted_at": None}
    ended = run(klar, [alive, deleted], "--stream", "returns", hard_delete=True, stream_maps=maps)
    assert (ended.code, klar.posts()) == (1, [])
    assert "reads `rows` for `lineItems`" in ended.errors[0]
