"""JSON as taps write it: everything that Python's `json` writes and reads, every number with all of its digits."""

from __future__ import annotations

import json
import re
from decimal import MAX_PREC, MIN_EMIN, Context, Decimal, DefaultContext, Inexact, InvalidOperation, Overflow, Rounded
from typing import Any, Final

import msgspec


class NotJSONError(ValueError):
    """Not JSON, or nested deeper than this Python reads; the text says where and why, and quotes nothing."""


class NestedTooDeepError(NotJSONError):
    """It is nested deeper than this Python reads."""


class UnrepresentableNumber:
    """Stands for a number that Python cannot calculate with: of 5,000 digits, or 1e1000000. Is never written."""

    def __init__(self, text: str) -> None:
        self.description = f"a number of {len(text):,} characters, too large to read"

    def __str__(self) -> str:
        # As Python itself has it for a long integer: a stream map must not make an id out of this.
        raise ValueError("a number that Python cannot calculate with")


# Without it a number could be read that any comparison fails on later, wherever its value is first looked at.
_exact: Final = Context(
    prec=MAX_PREC, Emin=MIN_EMIN, Emax=DefaultContext.Emax, traps=[Inexact, InvalidOperation, Overflow, Rounded]
).create_decimal
"""Returns the number of a text digit for digit; raises an `ArithmeticError` if Python cannot calculate with it."""


def _integer(text: str) -> int | UnrepresentableNumber:
    try:
        return int(text)
    except ValueError:  # more digits than Python converts
        return UnrepresentableNumber(text)


def _decimal(text: str) -> Decimal | UnrepresentableNumber:
    try:
        return _exact(text)
    except ArithmeticError:
        return UnrepresentableNumber(text)


encode: Final = msgspec.json.Encoder(decimal_format="number").encode
"""Returns the JSON of what Python's JSON types hold, every number digit for digit, or raises `ENCODE_ERRORS`.

Beware: of other types msgspec writes some as text, and a float that is no number as `null`.
"""
ENCODE_ERRORS: Final = (ValueError, TypeError, RecursionError)
"""What `encode` raises for a value of an unknown type, text that UTF-8 does not have, deep nesting."""
_decode_fast: Final = msgspec.json.Decoder(float_hook=_exact).decode
_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_any: Final = json.JSONDecoder(parse_int=_integer, parse_float=_decimal, parse_constant=float).decode
# Inside a text a backslash hides what follows it; outside of texts JSON has none.
_STRUCTURE: Final = re.compile(rb'\\.|["\[\]{}:,]', re.DOTALL)
_BLANKS: Final = b" \t\r\n"


def decode(text: bytes | msgspec.Raw | str) -> Any:
    """Return the JSON of a text; where a name comes twice the last value counts, as in Python's `json`.

    Raises:
        NotJSONError: It is not JSON.
    """
    try:
        return _decode_fast(text)
    except (msgspec.MsgspecError, UnicodeError, ArithmeticError, RecursionError):
        pass  # NaN, half a surrogate pair, a number out of bounds; or not JSON at all
    try:
        return _decode_any(text if isinstance(text, str) else bytes(text).decode("utf-8", "surrogatepass"))
    except UnicodeDecodeError as error:
        raise NotJSONError(f"not valid JSON (after byte {error.start}: not UTF-8)") from None
    except json.JSONDecodeError as error:
        valid = len(error.doc[: error.pos].encode("utf-8", "surrogatepass"))
        raise NotJSONError(f"not valid JSON (after byte {valid}: {error.msg.rstrip(': ')})") from None
    except RecursionError:
        raise NestedTooDeepError("not usable JSON (nested deeper than this Python reads)") from None


def quoted(text: str) -> bytes:
    """Return the JSON of any text, also of half a surrogate pair."""
    return json.dumps(text).encode()


def read_strictly(text: bytes | str) -> Any:
    """Return the JSON of a text, read strictly; None if it is not JSON, or a number is an `UnrepresentableNumber`."""
    try:
        return _decode_fast(text)
    except (ValueError, ArithmeticError, RecursionError):  # as JSON or UTF-8, an exponent of 20 digits, too deep
        return None


class TwoValuesError(ValueError):
    """A name comes twice in one object, with different values."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of its members, as the `object_pairs_hook` of Python's `json`.

    Raises:
        TwoValuesError: One would be lost.
    """
    read = dict(pairs)
    if len(read) < len(pairs):
        for name, value in pairs:
            if read[name] != value:
                raise TwoValuesError(name)
    return read


require_each_once: Final = json.JSONDecoder(
    object_pairs_hook=each_once, parse_int=str, parse_float=str, parse_constant=str
).decode
"""Checks that no name comes twice in one object of a JSON text, at any level, with different values; if one does, it
raises a `TwoValuesError`, a `RecursionError` if that is nested too deep to tell, a `ValueError` if it is not JSON."""


def has_two_values(text: str) -> bool:
    """Tell whether a JSON text may have two values for one name; not if it is no JSON."""
    try:
        require_each_once(text)
    except (TwoValuesError, RecursionError):
        return True
    except ValueError:  # no JSON
        pass
    return False


def members(text: bytes) -> dict[str, bytes]:
    """Return the members of an object, each as the text that it is; none of what is no object.

    Of a name that comes twice it is the last value, as in `decode`.

    Raises:
        NotJSONError: It is nested too deep to be read whole, and a name in it is not JSON.
    """
    try:
        return {name: bytes(value) for name, value in _decode_members(text).items()}
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        pass  # what Python's `json` reads all the same, or no object
    try:
        decode(text)
    except NestedTooDeepError:
        pass  # but it may have been read before, where fewer calls were open
    except NotJSONError:
        return {}
    return _members_of(text) if text.lstrip(_BLANKS).startswith(b"{") else {}


def _members_of(text: bytes) -> dict[str, bytes]:
    """Return the members of an object whose values are not parsed, so that neither nesting nor numbers matter."""
    found: dict[str, bytes] = {}
    depth = start = 0
    name = ""
    quoted = False
    for token in _STRUCTURE.finditer(text):
        match token[0]:
            case b'"':
                quoted = not quoted
            case _ if quoted:
                continue
            case b"{" | b"[":
                depth += 1
                start = token.end() if depth == 1 else start
            case b":" if depth == 1:
                name = decode(text[start : token.start()])
                start = token.end()
            case b"}" | b"]" | b",":
                if depth == 1 and (value := text[start : token.start()].strip(_BLANKS)):
                    found[name] = value
                    start = token.end()
                depth -= token[0] != b","
    return found
