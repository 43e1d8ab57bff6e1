"""Text that an expression joins where it should add: "0.30" + "2" is "0.302", and no number of Klar's."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from forked import run
from klar_objects import REFUND_TIME
from messages import record, schema, state
from rejects_file import records

if TYPE_CHECKING:
    from pathlib import Path

    from target_klar.sandbox import Sandbox

CURE = "compute with numbers, and round the result: '%.2f' % (float(a) + float(b))"
ROW = {"order": "o", "fix": "0.30", "var": "2", "sign": "-", "none": "", "fixed": 0.1, "at": REFUND_TIME}
COLUMNS: dict[str, Any] = {name: {} for name in ROW}


def load(klar: Sandbox, target: str, *rows: dict[str, Any], rejects: Path | None = None, **fields: str) -> Any:
    lines = [schema("rows", key="order", **COLUMNS), *(record("rows", **ROW | row) for row in rows or ({},)), state(1)]
    maps: Any = {"rows": {"__alias__": target, "__key_properties__": [], "__else__": None, **fields}}
    return run(klar, lines, stream_maps=maps, rejects_path=str(rejects) if rejects else None)


@pytest.mark.parametrize(
    ("expression", "shown"),
    [
        ("fix + var", 'text "0.302"'),
        ("fix * 2", 'text "0.300.30"'),
        ("str(fix) + str(var)", 'text "0.302"'),
        ("(fix or '0') + (var or '0')", 'text "0.302"'),
        ("(fix if fix else '0.00') + record.get('var', '0')", 'text "0.302"'),
        ("fix + var if var else fix", 'text "0.302"'),
        ("(fix + var) or '0'", 'text "0.302"'),
        ("'0' + fix + (var or none)", 'text "00.302"'),
        ("[amount + var for amount in [fix]][0]", 'text "0.302"'),
        ("(fix or '') + (var or '')", 'text "0.302"'),
        ("(fix if fix else '') + ' ' + var", 'text "0.30 2"'),
        ("('-' if sign == '-' else '') + fix + var", 'text "-0.302"'),
        ("sign + fix + var", 'text "-0.302"'),
        ("none + (fix + var)", 'text "0.302"'),
        ("(fix + var) + none", 'text "0.302"'),
        ("sign * 2 + fix", 'text "--0.30"'),
    ],
)
def test_text_that_plus_or_times_joined_is_rejected_where_klar_wants_a_number(
    klar: Sandbox, expression: str, shown: str
) -> None:
    ended = load(klar, "transaction_costs", orderId="order", transactionCosts=expression)
    assert (ended.code, ended.states, klar.posts()) == (1, [], [])
    told = f"transactionCosts must be a number (found {shown}, which `+` or `*` joined from text); {CURE}"
    assert ended.errors[0].startswith(f"target-klar rejected transaction_costs o (from rows): {told}")


@pytest.mark.parametrize(
    ("expression", "amount"),
    [
        ("fix", "0.30"),
        ("fix or '0'", "0.30"),
        ("record.get('fix')", "0.30"),
        ("fix + var if sign == '+' else fix", "0.30"),
        ("(none + none) or fix", "0.30"),
        ("'%.2f' % (float(fix) + float(var))", "2.30"),
        ("f'{float(fix) * 2:.2f}'", "0.60"),
        ("float(var) * 2", "4"),
        ("fixed + fixed", "0.2"),
        ("fixed * 3", "0.3"),
        ("var + '.' + var + var", "2.22"),
        ("'0.' + var", "0.2"),
        ("('-' if sign == '+' else '') + fix", "0.30"),
        ("f'{var}{var}'", "22"),
        ("none + fix", "0.30"),
        ("(none or '') + (fix or '')", "0.30"),
        ("(fix or '') + (none or '')", "0.30"),
        ("sign.replace('-', '+') + fix", "0.30"),
        ("sign.strip('-') + fix", "0.30"),
        ("(sign + fix)[1:]", "0.30"),
        ("float(sign + var) * float('-1')", "2"),
    ],
)
def test_numbers_text_that_passes_and_text_that_is_written_as_such_are_right(
    klar: Sandbox, expression: str, amount: str
) -> None:
    ended = load(klar, "transaction_costs", orderId="order + sign + var", transactionCosts=expression)
    assert (ended.code, ended.states, ended.errors) == (0, [1], [])
    assert klar.transaction_costs == {"o-2": {"orderId": "o-2", "transactionCosts": Decimal(amount)}}


LINES = "[{'lineItemId': order + var, 'refundedQuantity': n * 2} for n in [%s]]"


def test_it_is_found_in_lines_that_an_expression_makes_and_only_that_record_is_rejected(
    klar: Sandbox, tmp_path: Path
) -> None:
    rejects = tmp_path / "rejects.jsonl"
    rows: list[dict[str, Any]] = [{"order": "a", "fix": 1}, {"order": "b", "fix": "1"}, {"order": "c", "fix": 2}]
    ended = load(klar, "refunds", *rows, rejects=rejects, id="order", createdAt="at", lineItems=LINES % "1, fix")
    assert (ended.code, ended.states) == (0, [1])
    assert {key: [tuple(line.values()) for line in each["lineItems"]] for key, each in klar.refunds.items()} == {
        "a": [("a2", 2), ("a2", 2)],
        "c": [("c2", 2), ("c2", 4)],
    }
    (rejected,) = records(rejects)
    assert rejected["record"]["order"] == "b"
    assert rejected["errors"] == [
        {
            "path": "lineItems[1].refundedQuantity",
            "message": f'must be a number (found text "11", which `+` or `*` joined from text); {CURE}',
        }
    ]


ORDER = {
    "id": "order + var",
    "createdAt": "day + time",
    "shipping": "{'totalLogisticsCosts': AMOUNT, 'city': order + var}",
    "lineItems": "[{'id': order, 'quantity': 1, 'taxes': [{'title': order + var, 'taxRate': 0, 'taxAmount': AMOUNT}]}]",
}


@pytest.mark.parametrize("computed", ["", "shipping", "lineItems"])
@pytest.mark.parametrize("validate", [True, False])
def test_it_is_found_at_every_depth_and_what_is_joined_for_text_and_times_is_right(
    klar: Sandbox, computed: str, *, validate: bool
) -> None:
    row = {"order": "o", "fix": "0.30", "var": "2", "day": "2026-05-04", "time": " 09:30:00"}
    fields = {name: text.replace("AMOUNT", "fix * 2" if name == computed else "fix") for name, text in ORDER.items()}
    maps: Any = {"rows": {"__alias__": "orders", "__key_properties__": [], "__else__": None, **fields}}
    lines = [schema("rows", key="order", **{name: {} for name in row}), record("rows", **row), state(1)]
    ended = run(klar, lines, stream_maps=maps, validate_records=validate)
    if computed:
        assert (ended.code, ended.states, klar.posts()) == (1, [], [])
        assert f'(found text "0.300.30", which `+` or `*` joined from text); {CURE}' in ended.errors[0]
    else:
        assert (ended.code, ended.states, [*klar.orders]) == (0, [1], ["o2"]), ended.err
