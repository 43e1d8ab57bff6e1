"""Which streams a stream map is for, and which of several patterns decides: the last one that matches a stream."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any, Final

from singer_sdk.mapper import MAPPER_ELSE_OPTION, MAPPER_SOURCE_OPTION, NULL_STRING

from target_klar.records.formatting import shorten

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CLASS: Final = re.compile(r"\[!?+\]?+[^\]]*\]")
"""In a pattern: what stands for one of some characters, such as `[0-9]`."""


def has_source(definition: object) -> bool:
    """Tell whether a map has a `__source__`, so that it applies beside any other."""
    return isinstance(definition, dict) and MAPPER_SOURCE_OPTION in definition


def source_of(name: str, definition: object) -> str:
    """Return the stream, or the pattern of streams, that a map is for."""
    return str(definition[MAPPER_SOURCE_OPTION]) if isinstance(definition, dict) and has_source(definition) else name


def meets(stream: str, source: str) -> bool:
    """Tell whether the SDK's mapper applies a map of `source` to a stream."""
    return stream == source or fnmatch(stream, source)


def own_maps(maps: Mapping[str, Any], stream: str) -> list[str]:
    """Return the maps without a `__source__` that match a stream; the last one decides, or that of its own name."""
    own = [name for name, each in maps.items() if not has_source(each) and meets(stream, name)]
    return [stream] if stream in own else own


def patterns_without_effect(maps: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each pattern behind others that matches all that they match and does something else.

    A name that has brackets alone may be that of a stream, and then counts as it stands.
    """
    own = [(name, each) for name, each in maps.items() if name != MAPPER_ELSE_OPTION and not has_source(each)]
    behind: dict[str, list[str]] = {}
    for place, (name, each) in enumerate(own):
        if {"*", "?"}.isdisjoint(_CLASS.sub("", name)):
            continue
        others = [other for other, made in own[place + 1 :] if _differ(each, made) and _covers(other, name)]
        if others:
            behind.setdefault(others[-1], []).append(name)
    for decides, names in behind.items():
        shown = ", ".join(f"`stream_maps.{shorten(name)}`" for name in names)
        them = "them" if len(names) > 1 else "it"
        yield (
            f"{shown} can never have an effect: of patterns the last one that matches a stream is used, and "
            f"`{shorten(decides)}`, further down, matches all the same streams. Write it before {them}."
        )


def overridden_patterns(maps: Mapping[str, Any], stream: str) -> str | None:
    """Say which of the patterns that match a stream decides, unless each of the others is broader than that one."""
    *own, decides = own_maps(maps, stream) or [stream]
    others = [name for name in own if _differ(maps[name], maps[decides]) and not _covers(name, decides)]
    if not others:
        return None
    shown, last = ", ".join(f"`{shorten(name)}`" for name in others), f"`{shorten(decides)}`"
    return (
        f"{shorten(stream)} matches the stream maps {shown} and {last}. The last one is used, which is {last}, and not "
        f"{shown}. To choose, write a map of the stream's own name."
    )


def _differ(one: object, other: object) -> bool:
    return (None if one == NULL_STRING else one) != (None if other == NULL_STRING else other)


def _covers(broad: str, narrow: str) -> bool:
    """Tell whether a pattern matches every stream that another one matches; not for sure where it says no."""
    # Of a broad one without other wildcards only a star matches a wildcard as text, and then all that it stands for.
    return broad == narrow or ({"?", "["}.isdisjoint(broad) and fnmatch(_CLASS.sub("*", narrow), broad))
