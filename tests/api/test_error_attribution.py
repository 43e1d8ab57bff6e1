"""Which record of a batch an error of Klar's is about, in each of the forms in which Klar tells of errors."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from klar_objects import item, refund

from target_klar.api.error_attribution import Attribution, attribute_errors
from target_klar.records.formatting import Problem
from target_klar.records.json_codec import NotJSONError, encode

NOT_TEXT = Problem("orderId", "orderId must be a string (found number 1111)")
FAILED = Problem("", "Klar lists it as failed, without a reason")


def leaf(target: Any, name: str = "refundedQuantity", **constraints: str) -> dict[str, Any]:
    return {"target": target, "property": name, "children": [], "constraints": constraints or {"isNumber": "is wrong"}}


def attributed(answer: Any, sent: list[dict[str, Any]], key: str) -> Attribution:
    return attribute_errors(answer, [encode(each) for each in sent], key)


def test_an_index_names_its_object_for_certain_and_the_rest_of_the_key_is_the_path() -> None:
    answer = {
        "status": "INVALID",
        "errors": [{"id": 1111, "key": "1.orderId", "message": "orderId must be a string", "value": 1111}],
    }

    said = attributed(answer, [{"orderId": "x"}, {"orderId": 1111}], "orderId")

    assert said == Attribution({1: [NOT_TEXT]}, {}, [], is_whole=True)


@pytest.mark.parametrize(("id_", "certain"), [("A", []), ("B", [1]), ("of the line 7", [1]), (None, [1])])
def test_an_index_beside_the_id_of_another_object_that_was_sent_names_neither(
    id_: str | None, certain: list[int]
) -> None:
    errors = [{"id": id_, "key": "1.createdAt", "message": "no"}]

    said = attributed({"errors": errors}, [refund("A"), refund("B"), refund("C")], "id")

    assert (list(said.certain), said.hinted) == (certain, {})
    assert [Problem("createdAt", "no")] in (said.unknown, said.certain.get(1))


def test_several_errors_of_one_index_are_all_told_and_steps_into_arrays_are_written_in_brackets() -> None:
    errors = [
        {"key": "0.lineItems.2.refundedQuantity", "message": "must be a number"},
        {"key": "0", "message": "is odd"},
    ]

    said = attributed({"errors": errors}, [refund("A")], "id")

    assert said.certain == {0: [Problem("lineItems[2].refundedQuantity", "must be a number"), Problem("", "is odd")]}


@pytest.mark.parametrize("key", ["2.id", "-1.id", "1" * 5000 + ".id", "x.id", "", "0x.id", "\u0661.id"])
def test_a_key_that_is_no_index_of_an_object_sent_names_nothing_for_certain(key: str) -> None:
    said = attributed({"errors": [{"key": key, "message": "is wrong"}]}, [refund("A"), refund("B")], "id")

    assert (said.certain, said.hinted, len(said.unknown)) == ({}, {}, 1)


def test_a_tree_names_the_refund_whose_line_item_its_innermost_target_is() -> None:
    sent = [refund("A", item("1", 1)), refund("B", item("2", "x"))]
    tree = [
        {
            "target": sent[1],
            "property": "lineItems",
            "children": [
                {"target": sent[1]["lineItems"], "property": "0", "children": [leaf(sent[1]["lineItems"][0])]}
            ],
        }
    ]

    said = attributed(tree, sent, "id")

    assert said == Attribution({}, {1: [Problem("lineItems[0].refundedQuantity", "is wrong")]}, [], is_whole=True)


def test_a_tree_without_its_outer_levels_names_the_refund_of_the_line_item() -> None:
    sent = [refund("A", item("1")), refund("B", item("2"), item("3"))]

    said = attributed([{"children": [leaf(item("3"), a="is wrong", b="is odd")]}], sent, "id")

    problems = [Problem("refundedQuantity", "is wrong"), Problem("refundedQuantity", "is odd")]
    assert said == Attribution({}, {1: problems}, [], is_whole=True)


def test_a_target_is_the_object_sent_whatever_way_its_numbers_are_written() -> None:
    said = attributed(
        [leaf({"refundedQuantity": 1, "lineItemId": "1"})], [refund("A", item("1", Decimal("1.0")))], "id"
    )

    assert list(said.hinted) == [0]


def test_a_target_of_which_klar_shows_only_a_part_is_found_by_its_key() -> None:
    said = attributed([leaf({"id": "B"}, "createdAt")], [refund("A"), refund("B")], "id")

    assert list(said.hinted) == [1]


@pytest.mark.parametrize(
    "answer", [[leaf(item("same"))], {"failedOrderIds": ["X"]}, {"errors": [{"id": "X", "message": "m"}]}]
)
def test_a_hint_that_two_records_could_be_meant_by_names_none(answer: Any) -> None:
    sent = [refund("X", item("same")), refund("B", item("same"), item("2", id="X"))]

    said = attributed(answer, sent, "id")

    assert (said.certain, said.hinted, len(said.unknown)) == ({}, {}, 1)


def test_a_target_that_equals_a_line_item_is_not_the_refund_that_has_its_id() -> None:
    sent = [refund("X", item("1")), refund("B", item("2", id="X"))]

    assert list(attributed([leaf(item("2", id="X"))], sent, "id").hinted) == [1]
    assert list(attributed([leaf(sent[0], "createdAt")], sent, "id").hinted) == [0]


def test_a_refund_that_shares_its_id_with_its_own_line_item_is_named_by_it() -> None:
    sent = [refund("X", item("1", id="X"), item("1", id="X")), refund("B")]

    assert attributed({"failedOrderIds": ["X"]}, sent, "id").hinted == {0: [FAILED]}
    assert list(attributed([leaf(item("1", id="X"))], sent, "id").hinted) == [0]


def test_an_id_is_compared_as_text_since_klar_may_show_it_as_a_number() -> None:
    said = attributed({"failedOrderIds": [12]}, [{"orderId": "12", "transactionCosts": 1}], "orderId")

    assert list(said.hinted) == [0]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("Bad Request", ["Bad Request"]),
        ({"statusCode": 400, "message": "The data source is paused"}, ["The data source is paused"]),
        ({"message": ["a must be b", "c must be d"], "error": "Bad Request"}, ["a must be b", "c must be d"]),
        ({"status": "INVALID", "errors": []}, []),
        (["one", "two"], ["one", "two"]),
        ([], []),
        (None, []),
        (17, []),
        ({"errors": ["a must be b"]}, ["a must be b"]),
        ({"error": "Bad Request", "statusCode": 400}, ["Bad Request"]),
        ({"detail": "no such version"}, ["no such version"]),
        ({"error": {"code": 7, "message": "too old"}}, ["too old"]),
        ([{"message": "a must be b", "target": {"id": "A"}}], ["a must be b"]),
        ({"errors": "none", "children": {"constraints": [1]}, "failedOrderIds": "A"}, ["none"]),
    ],
)
def test_an_answer_that_names_nobody_is_told_in_klars_own_words(answer: Any, words: list[str]) -> None:
    assert attributed(answer, [refund("A")], "id")[:3] == ({}, {}, [Problem("", word) for word in words])


def test_klars_words_are_shown_shortened_and_on_one_line() -> None:
    said = attributed(
        {"errors": [{"key": "0.id", "message": "a\nb" + "x" * 9000, "value": "y" * 9000}]}, [refund("A")], "id"
    )

    (problem,) = said.certain[0]
    assert problem.message.startswith("a\\nbx")
    assert len(problem.message) < 300


def test_an_answer_nested_without_end_tells_nothing() -> None:
    answer: Any = leaf({"id": "A"})
    for _ in range(5000):
        answer = {"children": [answer]}

    assert attributed(answer, [refund("A")], "id") == Attribution({}, {}, [], is_whole=False)


def test_a_path_is_shortened_too_though_all_of_it_is_indexes() -> None:
    answer = leaf({"id": "A"}, "9" * 9000)
    ((problem,),) = attributed({"property": "lineItems", "children": [answer]}, [refund("A")], "id").hinted.values()
    assert problem.path.startswith("lineItems[99")
    assert len(problem.path) <= 200


def test_an_object_nested_deep_keeps_no_refusal_from_being_one() -> None:
    deep = b'{"id": "A", "extra": %b}' % (b"[" * 500 + b"]" * 500)

    said = attribute_errors({"failedOrderIds": ["A"]}, [deep], "id")
    assert said == Attribution({}, {0: [FAILED]}, [], is_whole=True)


@pytest.mark.parametrize(
    ("node", "word"),
    [
        ({"property": "id", "message": "is odd"}, "is odd"),
        ({"property": "id", "constraints": ["is odd"]}, "is odd"),
        ({"property": "id", "constraints": "is odd"}, "is odd"),
        ({"id": "A", "error": "is odd"}, "is odd"),
        ({"key": "0.id", "detail": "is odd"}, "is odd"),
    ],
)
def test_a_node_is_read_in_whatever_field_its_text_stands(node: dict[str, Any], word: str) -> None:
    said = attributed([{"target": {"id": "A"}, **node}], [refund("A")], "id")

    ((problem,),) = [*said.certain.values(), *said.hinted.values()]
    assert (problem.message, said.unknown) == (word, [])


@pytest.mark.parametrize(
    ("errors", "problem"),
    [
        ({"id": ["must be text"]}, Problem("id", "must be text")),
        ({"id": "must be text"}, Problem("id", "must be text")),
    ],
)
def test_errors_by_field_are_told_with_the_field(errors: Any, problem: Problem) -> None:
    assert attributed({"errors": errors}, [refund("A")], "id").unknown == [problem]


@pytest.mark.parametrize(
    "answer",
    ["Bad Request", {"message": "no"}, {"errors": [{"key": "1.id", "message": "no"}]}, {"errors": ["no"]}, None],
)
def test_an_object_is_decoded_only_for_an_error_that_names_one_by_what_is_in_it(answer: Any) -> None:
    attribute_errors(answer, [b"no JSON", b"no JSON"], "id")
    with pytest.raises(NotJSONError, match="not valid JSON"):
        attribute_errors({"failedOrderIds": ["A"]}, [b"no JSON"], "id")
