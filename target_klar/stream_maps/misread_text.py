"""What text the expressions of a stream map misread, in how many records, and what is said of it."""

from __future__ import annotations

import ast
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from target_klar.records.formatting import counted, shorten
from target_klar.settings.map_conditions import shown_part
from target_klar.stream_maps.spelled import FALSE, NOTHING, is_false_as_answer

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_COUNTED: Final = 5
"""How many conditions and comparisons of the maps of a source stream are warned of."""
_TAKEN_FOR_TRUE: Final = "takes text for true that says the opposite"
_OTHER_LETTERS: Final = "compares text with the same in other letters, which it never equals"


class _Finding(NamedTuple):
    """Something that a part of an expression misreads; what to do is said of the first record."""

    what: str
    shown: str
    """The part."""


class _Told(NamedTuple):
    """What the first record of a finding says of it."""

    advice: str
    example: str


class MisreadText:
    """Counts the records in which the maps of a source stream misread text."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[_Finding, bool]] = Counter()
        """By what is misread, and whether only as long as no other record rules it out."""
        self._noted: set[tuple[_Finding, bool]] = set()
        self._told: dict[tuple[_Finding, bool], _Told] = {}
        self._ruled_out: set[_Finding] = set()
        """What is not misread after all: a record has shown it."""

    def begin(self) -> None:
        """Forget what was noted of a record that does not count."""
        self._noted.clear()

    def count(self) -> None:
        """Count what was noted of a record."""
        for finding, may_be in self._noted:
            known = {each for each, _ in self._counts}
            if (finding in known or len(known) < _MAX_COUNTED) and not (may_be and (finding, False) in self._noted):
                self._counts[finding, may_be] += 1
        self._noted.clear()

    def true(self, node: ast.AST, value: str) -> None:
        """Note a condition whose value is text that says false."""
        shown = shown_part(node)
        part = shown if isinstance(node, ast.Name | ast.Call | ast.Subscript | ast.Attribute) else f"({shown})"
        advice = f"Write `(str({part} or '').strip().lower().strip('0.') not in {FALSE})`."
        finding = _Finding(_TAKEN_FOR_TRUE, shown)
        self._note(finding, advice, repr(value.strip()), may_be=is_false_as_answer(value))

    def no_answer(self, node: ast.AST) -> None:
        """Note a condition whose value is text that is neither yes nor no: in this column `NO` says something else."""
        self._rule_out(_Finding(_TAKEN_FOR_TRUE, shown_part(node)))

    def in_other_letters(self, node: ast.Compare, part: ast.AST) -> None:
        """Note that text, the value of a part, is compared with the same in other letters."""
        advice = f"Write it as the column has it, or compare `{shown_part(part)}.strip().lower()` with small letters."
        self._note(_Finding(_OTHER_LETTERS, shown_part(node)), advice, may_be=True)

    def as_written(self, node: ast.Compare) -> None:
        """Note that a comparison has found text as it is written there: that in other letters is another."""
        self._rule_out(_Finding(_OTHER_LETTERS, shown_part(node)))

    def list_beside_another(self, node: ast.Compare, *, of_left: bool) -> None:
        """Note that a list, the value of the left side or of the other, is compared with no list, or another."""
        item, held = (node.comparators[0], node.left) if of_left else (node.left, node.comparators[0])
        among = "in" if isinstance(node.ops[0], ast.Eq) else "not in"
        advice = f"If they should be equal, write `{shown_part(item)} {among} {shown_part(held)}`."
        self._note(_Finding("compares a list with what is no list, which it never equals", shown_part(node)), advice)

    def unequal(self, node: ast.Compare, part: ast.AST, text: Any, other: object) -> None:
        """Note that text, or texts, the value of a part, are compared with what they never equal."""
        if isinstance(part, ast.Constant | ast.List | ast.Tuple | ast.Set):
            advice = "take the quotes off"
        elif type(text) is not str:
            advice = f"read the other as text, `str({shown_part(node.left)})`"
        elif type(other) is bool:
            advice = f"compare it with the text that it holds, such as {text.strip()!r}"
        else:
            advice = f"read it as a number, `float({shown_part(part)})`"
        finding = _Finding("compares text with a number or a boolean, which it never equals", shown_part(node))
        self._note(finding, f"If they should be equal, {advice}.")

    def nothing(self, node: ast.Compare, operation: ast.cmpop, part: ast.AST, spelled: str) -> None:
        """Note that a part whose value is nothing, `spelled` so, is compared with nothing in another spelling."""
        among = "not in" if isinstance(operation, ast.NotEq | ast.IsNot | ast.NotIn) else "in"
        advice = f"(str({shown_part(part)}).strip().lower()[:{len(NOTHING[-1])}] {among} {NOTHING})"
        finding = _Finding("compares one spelling of nothing with another, which it never equals", shown_part(node))
        self._note(finding, f"If they should be equal, write `{advice}`.", spelled)

    def order(self, node: ast.Compare, part: ast.AST, meant: tuple[object, object], *, have_points: bool) -> None:
        """Note that texts are ordered otherwise than what they spell, which is `meant`; dates may `have_points`."""
        asked = shown_part(part)
        if isinstance(meant[0], Decimal):
            spelled, advice = "numbers", f"Read both as numbers, `float({asked})`."
        elif have_points:
            parsed = f"datetime.datetime.strptime({asked}.split()[0], '%d.%m.%Y')"
            spelled, advice = "dates", f"Read both as dates, `{parsed}`."
        else:
            spelled, advice = "dates", "Both have to be as in 2026-05-04, with all zeros, whose order is that of dates."
        self._note(_Finding(f"orders {spelled} as text, which puts them otherwise", shown_part(node)), advice)

    def letters(self, part: ast.AST) -> None:
        """Note that objects are made of the letters of text."""
        shown = shown_part(part)
        advice = f"`json.loads({shown})` reads JSON, `{shown}.split(',')` splits text at commas."
        self._note(_Finding("makes an object of each letter of text", shown), advice)

    def _note(self, finding: _Finding, advice: str, example: str = "", *, may_be: bool = False) -> None:
        if not (may_be and finding in self._ruled_out):
            self._told.setdefault((finding, may_be), _Told(advice, example))
            self._noted.add((finding, may_be))

    def _rule_out(self, finding: _Finding) -> None:
        self._ruled_out.add(finding)
        self._counts.pop((finding, True), None)
        self._noted.discard((finding, True))

    def lines(self, source_stream: str) -> Iterator[str]:
        """Yield a warning for each condition or comparison that misread text: what, in how many records, what to do."""
        for finding in dict.fromkeys(each for each, _ in self._counts):
            kinds = [(finding, may_be) for may_be in (True, False) if (finding, may_be) in self._counts]
            advice, example = self._told[kinds[0]]
            of = f", of {example} or the like" if example else ""
            records = counted(sum(self._counts[kind] for kind in kinds), "record")
            where = f"`{finding.shown}`{of}, in {records}"
            yield f"The stream map of {shorten(source_stream)} {finding.what}: {where}. {advice}"
