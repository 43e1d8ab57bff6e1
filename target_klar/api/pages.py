"""What answers in Klar's place: a page of a gateway or a login, plain text, or nothing where there should be something.

Every body of Klar's is a JSON object or array (both help pages), so one that begins in another way is not Klar's.
"""

from __future__ import annotations

import html
import re
from typing import Final

from target_klar.records.formatting import shorten

_KLARS: Final = re.compile(rb"\s*[{\[]")
_TITLE: Final = re.compile(rb"<title\b[^<>]*+>([^<]*+)</title", re.IGNORECASE)  # nothing of a page is read twice
_MAX_QUOTED: Final = 120
_MAX_TITLE: Final = 60


def is_klars(body: bytes) -> bool:
    """Tell whether a body can be Klar's: whether it begins as a JSON object or array."""
    return _KLARS.match(body) is not None


def describe_body(body: bytes) -> str:
    """Describe a body that is not Klar's: an HTML page with its title, plain text with its start, or an empty body."""
    text = body.strip()
    if not text:
        return "an empty body"
    if not text.startswith(b"<"):
        return f'plain text ("{_on_one_line(text, _MAX_TITLE)}")'
    title = _TITLE.search(text)
    shown = _on_one_line(html.unescape(title[1].decode(errors="replace")).encode(), _MAX_TITLE) if title else ""
    return f'an HTML page ("{shown}")' if shown else "an HTML page"


def quote(body: bytes) -> str:
    """Return the start of an answer's text, on one line and fit for a message."""
    return _on_one_line(body, _MAX_QUOTED) or "(an empty body)"


def _on_one_line(text: bytes, limit: int) -> str:
    return shorten(" ".join(text[: 4 * limit].decode(errors="replace").split()), limit)
