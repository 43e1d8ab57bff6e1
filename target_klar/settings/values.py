"""A setting's value as text: read alike from a file, where it may stand in quotes, and from the environment."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from singer_sdk.exceptions import ConfigurationError

from target_klar.records.formatting import listed, shorten
from target_klar.records.json_codec import TwoValuesError, each_once
from target_klar.settings.settings import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Mapping

_INTEGER = re.compile(r"-?[0-9]{1,18}")
_CONFIG_NAME = re.compile(r"[\w ./~-]{1,300}\.json", re.ASCII)  # no JSON text looks like that, and no token
_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def read_file(path: str) -> dict[str, Any]:
    """Return the settings in a configuration file, which may be a pipe and is read once.

    Raises:
        ConfigurationError: It has none, or two values for one of its names; the message shows no value.
    """
    try:
        read = _read_json(Path(path).read_text(encoding="utf-8"))
    except TwoValuesError as error:
        name = shown_argument(path)
        raise ConfigurationError(f"The configuration {name} has {_repeated(error)}. Keep one of the two.") from None
    except OSError as error:
        why = error.strerror or type(error).__name__
    except json.JSONDecodeError as error:
        why = str(error)
    except (ValueError, RecursionError) as error:
        why = "not UTF-8" if isinstance(error, UnicodeError) else "nested too deep, or a number is too long"
    else:
        if isinstance(read, dict):
            return read
        why = "not a JSON object"
    raise ConfigurationError(
        f"The configuration {shown_argument(path)} cannot be read ({why}). `--config` takes the path of a file with a "
        "JSON object, or ENV."
    )


def require_no_map_lost(earlier: Mapping[str, Any], later: Mapping[str, Any], name: str) -> None:
    """Check that `stream_maps` of a `later` configuration, called by its `name`, has the maps and options that it had.

    One that drops a stream, or is empty, says that it has none of the options.

    Raises:
        ConfigurationError: It has not. As any setting it takes the place of the `earlier` one whole, filters too.
    """
    if "stream_maps" not in later:
        return
    maps = _maps(later)
    lost = [f"the map of {shorten(stream)}" for stream in _maps(earlier) if stream not in maps]
    for stream, before in _maps(earlier).items():
        after = maps.get(stream)
        if isinstance(before, dict) and isinstance(after, dict) and after:
            options = (option for option in before if option.startswith("__") and option not in after)
            lost += [f"`{shorten(option)}` of {shorten(stream)}" for option in options]
    if lost:
        raise ConfigurationError(
            f"`stream_maps` of {name} replaces the one before it entirely, and would lose {listed(lost)}. Write all "
            "maps into one of the two."
        )


def _maps(config: Mapping[str, Any]) -> Mapping[str, Any]:
    maps = config.get("stream_maps")
    with suppress(ValueError):
        maps = _read_json(maps) if isinstance(maps, str) else maps
    return maps if isinstance(maps, dict) else {}


def shown_argument(argument: str) -> str:
    """Return what a message may show of an argument: the path of a file, else its length, since it may be a token."""
    with suppress(OSError, ValueError):  # too long for a path, or not one
        if argument and (_CONFIG_NAME.fullmatch(argument) or Path(argument).exists()):
            return argument
    return f"a text of {len(argument):,} characters"


def read_text(name: str, text: str) -> Any:
    """Return the value that a text spells for a setting; the text itself where it spells none, to be rejected.

    Raises:
        ValueError: The setting is a list or an object, and the text is not JSON; the message says why.
    """
    schema = SETTINGS["properties"][name]
    types = schema["type"]
    if "string" in types:
        return text.rstrip("\r\n") if schema.get("secret") else text  # files that hold a secret tend to end so
    if "integer" in types:
        return int(text) if _INTEGER.fullmatch(text) else text
    if "boolean" in types:
        return _BOOLEANS.get(text.strip().lower(), text)
    try:
        return _read_json(text)
    except TwoValuesError as error:
        raise ValueError(_repeated(error)) from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at character {error.pos + 1}") from None
    except (ValueError, RecursionError):
        raise ValueError("nested too deep, or a number is too long") from None


def _read_json(text: str) -> Any:
    return json.loads(text, parse_float=Decimal, object_pairs_hook=each_once)


def _repeated(error: TwoValuesError) -> str:
    return f"`{shorten(error.name)}` twice in one object, with different values"
