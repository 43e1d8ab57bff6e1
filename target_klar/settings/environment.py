"""Settings from the environment: every variable that begins with `TARGET_KLAR_`, also from a `.env` file."""

from __future__ import annotations

import json
import os
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from singer_sdk.configuration._dict_config import parse_environment_config
from singer_sdk.exceptions import ConfigurationError

from target_klar.settings.settings import PREFIX, SETTINGS

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMES = {f"{PREFIX}{name.upper()}": name for name in SETTINGS["properties"]}
_OF_LOGGING = f"{PREFIX}LOGLEVEL"
"""The one variable of this prefix that the SDK reads and that is no setting."""
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def variables() -> dict[str, str]:
    """Return the variables of this process and of the `.env` file that the SDK finds, which win unless they are empty.

    Raises:
        ConfigurationError: There is such a file and it cannot be read.
    """
    given = dict(os.environ)
    try:
        # Without settings to look for, all it does is to put the file's variables into os.environ.
        parse_environment_config({}, PREFIX)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"The .env file cannot be read ({error}).") from None
    return given | {variable: text for variable, text in os.environ.items() if text}


def settings_in(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return what the variables set, by the setting's name; one that is no setting has its own name and no value.

    An empty variable sets nothing: containers and CI pass what is not there that way. A text that is no number, true
    or false where one is wanted stays the text, to be refused like one in a file; the SDK would take any other word for
    false.

    Raises:
        ConfigurationError: A variable is not the JSON that its setting wants.
    """
    return {
        _NAMES.get(variable, variable): _value(variable, text, SETTINGS["properties"][_NAMES[variable]]["type"])
        if variable in _NAMES
        else None
        for variable, text in environment.items()
        if variable.startswith(PREFIX) and text and variable != _OF_LOGGING
    }


def _value(variable: str, text: str, types: list[str]) -> Any:
    if "string" in types:
        return text
    if "integer" in types:
        return int(text) if _INTEGER.fullmatch(text) else text
    if "boolean" in types:
        return _BOOLEANS.get(text.lower(), text)
    try:
        return json.loads(text, parse_float=Decimal)  # as the SDK reads a configuration file
    except (ValueError, RecursionError) as error:
        why = f"{error.msg} at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else "too deep"
        raise ConfigurationError(f"The variable {variable} cannot be read as JSON ({why}).") from None
