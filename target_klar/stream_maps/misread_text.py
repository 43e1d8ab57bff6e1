"""What text the expressions of a stream map misread, in how many records, and what is said of it."""

from __future__ import annotations

import ast
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from target_klar.records.formatting import counted, shorten
from target_klar.settings.map_conditions import shown_part
from target_klar.stream_maps.spelled import FALSE, NOTHING, is_false_as_answer

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_COUNTED: Final = 5
"""How many conditions and comparisons of the maps of a source stream are warned of."""
_RECORDS: Final = "N records"
"""Stands for the number, which is not known until the end."""
_EXAMPLE: Final = "EXAMPLE"
"""Stands for an example, of which it is not known until the end whether it is one."""


class MisreadText:
    """Counts the records in which the maps of a source stream misread text."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, bool]] = Counter()
        """By what is misread, as a part of a sentence, and whether it is misread only if it is an answer, yes or no."""
        self._noted: set[tuple[str, bool]] = set()
        self._examples: dict[tuple[str, bool], str] = {}
        """Of each condition, the first text that it misread."""
        self._no_answers: set[str] = set()
        """The conditions whose text is not always yes or no."""

        self._as_written: set[str] = set()
        """The comparisons that have found text as they have it."""

    def begin(self) -> None:
        """Forget what was noted of a record that does not count."""
        self._noted.clear()

    def count(self) -> None:
        """Count what was noted of a record."""
        for what, as_answer in self._noted:
            known = {each for each, _ in self._counts}
            if (what in known or len(known) < _MAX_COUNTED) and not (as_answer and (what, False) in self._noted):
                self._counts[what, as_answer] += 1
        self._noted.clear()

    def true(self, node: ast.AST, value: str) -> None:
        """Note a condition whose value is text that says false."""
        shown, as_answer = shown_part(node), is_false_as_answer(value)
        if as_answer and shown in self._no_answers:
            return
        what = _taken_for_true(node, shown)
        self._examples.setdefault((what, as_answer), repr(value.strip()))
        self._noted.add((what, as_answer))

    def no_answer(self, node: ast.AST) -> None:
        """Note a condition whose value is text that is neither yes nor no: in this column `NO` says something else."""
        shown = shown_part(node)
        self._no_answers.add(shown)
        self._counts.pop((_taken_for_true(node, shown), True), None)
        self._noted.discard((_taken_for_true(node, shown), True))

    def in_other_letters(self, node: ast.Compare, part: ast.AST) -> None:
        """Note that text, the value of a part, is compared with itself in other letters, which it does not equal."""
        if (shown := shown_part(node)) not in self._as_written:
            self._note(_in_other_letters(shown, part))

    def as_written(self, node: ast.Compare) -> None:
        """Note that a comparison has found text as it is written there: that in other letters is another."""
        self._as_written.add(shown := shown_part(node))
        for part in (node.left, *node.comparators):
            self._counts.pop((_in_other_letters(shown, part), False), None)
            self._noted.discard((_in_other_letters(shown, part), False))

    def list_beside_another(self, node: ast.Compare, *, of_left: bool) -> None:
        """Note that a list, the value of the left side or of the other, is compared with what is none, or another."""
        item, held = (node.comparators[0], node.left) if of_left else (node.left, node.comparators[0])
        among = "in" if isinstance(node.ops[0], ast.Eq) else "not in"
        what = f"compares a list with what is none, which it never equals: `{shown_part(node)}`, in {_RECORDS}. "
        self._note(f"{what}If it is meant to, write `{shown_part(item)} {among} {shown_part(held)}`.")

    def unequal(self, node: ast.Compare, part: ast.AST, text: Any, other: object) -> None:
        """Note that text, or texts, the value of a part, are compared with what they never equal."""
        shown = shown_part(node)
        if isinstance(part, ast.Constant | ast.List | ast.Tuple | ast.Set):
            advice = "take the quotes off"
        elif type(text) is not str:
            advice = f"read the other as text, `str({shown_part(node.left)})`"
        elif type(other) is bool:
            example = self._examples.setdefault((shown, False), repr(text.strip()))
            advice = f"compare it with the text that it holds, such as {example}"
        else:
            advice = f"read it as a number, `float({shown_part(part)})`"
        what = f"compares text with a number or a boolean, which it never equals: `{shown}`, in {_RECORDS}. "
        self._note(f"{what}If it is meant to, {advice}.")

    def nothing(self, node: ast.Compare, operation: ast.cmpop, part: ast.AST, spelled: str) -> None:
        """Note that a part whose value is nothing, `spelled` so, is compared with nothing in another spelling."""
        shown = shown_part(node)
        example = self._examples.setdefault((shown, False), spelled)
        among = "not in" if isinstance(operation, ast.NotEq | ast.IsNot | ast.NotIn) else "in"
        advice = f"(str({shown_part(part)}).strip().lower()[:{len(NOTHING[-1])}] {among} {NOTHING})"
        what = f"compares one spelling of nothing with another, which it never equals: `{shown}`, "
        self._note(f"{what}of {example} or the like, in {_RECORDS}. If it is meant to, write `{advice}`.")

    def order(self, node: ast.Compare, part: ast.AST, meant: tuple[object, object], *, have_points: bool) -> None:
        """Note that texts are ordered otherwise than what they spell, which is `meant`; dates may `have_points`."""
        shown, asked = shown_part(node), shown_part(part)
        if isinstance(meant[0], Decimal):
            spelled, advice = "numbers", f"Read both as numbers, `float({asked})`."
        elif have_points:
            parsed = f"datetime.datetime.strptime({asked}.split()[0], '%d.%m.%Y')"
            spelled, advice = "dates", f"Read both as dates, `{parsed}`."
        else:
            spelled, advice = "dates", "Both have to be as in 2026-05-04, with all zeros, whose order is that of dates."
        what = f"orders {spelled} as text, which puts them otherwise: `{shown}`, in {_RECORDS}. "
        self._note(f"{what}{advice}")

    def letters(self, part: ast.AST) -> None:
        """Note that objects are made of the letters of text."""
        shown = shown_part(part)
        what = f"makes an object of each letter of text: `{shown}`, in {_RECORDS}. "
        self._note(f"{what}`json.loads({shown})` reads JSON, `{shown}.split(',')` splits text at commas.")

    def _note(self, what: str) -> None:
        self._noted.add((what, False))

    def lines(self, source_stream: str) -> Iterator[str]:
        """Yield a warning for each condition or comparison that misread text: what, in how many records, what to do."""
        for what in dict.fromkeys(each for each, _ in self._counts):
            kinds = [(what, as_answer) for as_answer in (True, False) if (what, as_answer) in self._counts]
            told = what.replace(_EXAMPLE, self._examples.get(kinds[0], ""))
            records = counted(sum(self._counts[kind] for kind in kinds), "record")
            yield f"The stream map of {shorten(source_stream)} {told.replace(_RECORDS, records)}"


def _in_other_letters(shown: str, part: ast.AST) -> str:
    what = f"compares text with itself in other letters, which it never equals: `{shown}`, in {_RECORDS}. "
    return f"{what}Write it as the column has it, or compare `{shown_part(part)}.strip().lower()` with small letters."


def _taken_for_true(node: ast.AST, shown: str) -> str:
    part = shown if isinstance(node, ast.Name | ast.Call | ast.Subscript | ast.Attribute) else f"({shown})"
    advice = f"(str({part} or '').strip().lower().strip('0.') not in {FALSE})"
    what = f"takes text for true that says the opposite: `{shown}` is {_EXAMPLE} or the like in {_RECORDS}. "
    return f"{what}Write `{advice}`."
