"""A setting's value as text: read alike from a file, where it may stand in quotes, and from the environment."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

from target_klar.settings.settings import SETTINGS

_INTEGER = re.compile(r"-?[0-9]{1,18}")
_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


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
        return json.loads(text, parse_float=Decimal)  # as the SDK reads a configuration file
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at character {error.pos + 1}") from None
    except (ValueError, RecursionError):
        raise ValueError("nested too deep, or a number is too long") from None
