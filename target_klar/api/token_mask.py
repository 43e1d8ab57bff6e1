"""The API token, taken out of everything that a server sends, however it is spelled there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE: Final = 8
"""Characters in a row that give the token away; a shorter token is not masked: any answer may hold its letters."""
_MASK: Final = b"***"
# One character as JSON (also as JSON within JSON), as in an address, or as HTML writes it. Of several backslashes only
# the first begins one: a megabyte of them would else take for ever.
_ESCAPE: Final = re.compile(
    rb"(?<!\\)\\++(?:u00([0-9a-f]{2})|/)|%(?:25)*([0-9a-f]{2})|&#x0*([0-9a-f]{2});|&#0*([0-9]{2,3});", re.IGNORECASE
)
_NEVER_UNESCAPED: Final = b'"\\'  # it would end a text of JSON


class TokenMask:
    """Masks a token in bytes: all of it, and each piece of it of eight characters or more."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        self._pieces = set(_pieces(self._token))
        self._candidates = re.compile(rb"[%b]{%d,}" % (re.escape(self._token or b"?"), _PIECE))

    def __call__(self, text: bytes) -> bytes:
        """Return the text with `***` for the token; JSON stays JSON."""
        plain = _ESCAPE.sub(self._unescaped, text)
        present = {piece for run in self._candidates.findall(plain) for piece in _pieces(run) if piece in self._pieces}
        if not present:
            return text
        return re.sub(rb"(?s)(?:(?=%b).)+.{%d}" % (b"|".join(map(re.escape, present)), _PIECE - 1), _MASK, plain)

    def __repr__(self) -> str:
        """Show nothing of the token."""
        return "TokenMask()"

    def _unescaped(self, escape: re.Match[bytes]) -> bytes:
        """Return the character of the token that an escape stands for; any other escape stays as it is."""
        digits = escape[1] or escape[2] or escape[3]
        code = int(digits, 16) if digits else int(escape[4] or ord("/"))
        character = bytes([code]) if code <= 0xFF else b""  # noqa: PLR2004  # a byte
        return character if character and character in self._token and character not in _NEVER_UNESCAPED else escape[0]


def _pieces(text: bytes) -> Iterator[bytes]:
    return (text[start : start + _PIECE] for start in range(len(text) - _PIECE + 1))
