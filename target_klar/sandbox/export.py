"""What the local Klar holds as JSON lines, to be compared with the source that it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_klar.sandbox.answers import json_text
from target_klar.sandbox.objects import STREAMS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_klar.sandbox.klar import Klar


def json_lines(klar: Klar) -> Iterator[str]:
    """Yields `{"stream": ..., "object": ...}` for each object held, by stream and then by key.

    Fields stand in the order in which they came and numbers digit for digit, so that two loads of the same objects
    give the same bytes, in whatever order their requests arrived.
    """
    for stream in STREAMS:
        for sent in klar.by_key(stream):
            yield json_text({"stream": stream, "object": sent}) + "\n"
