"""The environment: variables that begin with `TARGET_KLAR_`, a `.env` file, and what Meltano sets there."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from singer_sdk.exceptions import ConfigurationError

from target_klar.records.convert import fold
from target_klar.settings.settings import PREFIX, RENAMED, SETTINGS
from target_klar.settings.values import read_text

if TYPE_CHECKING:
    from collections.abc import Mapping

_logger = logging.getLogger("target-klar")
_ENV_FILE = ".env"
_MELTANO = "MELTANO_LOADER_NAME"
"""Which Meltano sets for a loader that it runs."""
_VARIABLES = {f"{PREFIX}{name.upper()}": name for name in SETTINGS["properties"]}
_LOG_LEVELS = (f"{PREFIX}LOGLEVEL", "LOGLEVEL")
"""The variables that the SDK takes its log level from, the first one that is set; neither is a setting."""
_DRY_RUN = "validate_only"
_DRY_RUN_NAMES = {fold(name) for name in (_DRY_RUN, *(old for old, new in RENAMED.items() if new == _DRY_RUN))}
_ONE_VALUE = {"string", "integer", "boolean"}


def variables() -> dict[str, str]:
    """Return the variables of this process, and those of a `.env` file in the working directory that it does not have.

    An empty variable counts as one that is not there: containers and CI pass what is not set that way.

    Raises:
        ConfigurationError: There is such a file and it cannot be read, or not a line of it that has one of ours.
    """
    given = _in_env_file()
    if given:
        _logger.info("Variables are read from %s too; those of the environment win.", Path(_ENV_FILE).absolute())
    return given | _set_variables()


def _in_env_file() -> dict[str, str]:
    file = Path(_ENV_FILE)
    if not file.is_file():
        return {}
    file = file.absolute()
    try:
        content = file.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{file} cannot be read ({error}).") from None
    for line in parse_stream(StringIO(content)):
        if line.error and PREFIX in line.original.string:
            raise ConfigurationError(
                f"{file} cannot be read from line {line.original.line} on: it is not `NAME=value`, or its quotes do "
                "not match. A value that has quotes, such as JSON, needs none around it."
            )
    return {name: text for name, text in dotenv_values(stream=StringIO(content)).items() if text}


def settings_in(environment: Mapping[str, str]) -> dict[str, str | None]:
    """Return the text of each setting that a variable sets; an unknown variable keeps its name and has no value."""
    return {
        _VARIABLES.get(variable, variable): text if variable in _VARIABLES else None
        for variable, text in environment.items()
        if variable.startswith(PREFIX) and variable not in _LOG_LEVELS
    }


def unread_variables(config: Mapping[str, Any]) -> list[str]:
    """Return the variables that a run without `--config=ENV` does not read and that say something else than `config`.

    Compared are settings of one value: maps and lists are spread over several variables by Meltano. Whatever looks like
    the name of a dry run is one, since the run would load.

    Raises:
        ConfigurationError: One of them, or of a `.env` file, asks for another address, or may ask for a dry run, which
            is whatever is no form of false: the run would load, or load there.
    """
    unread, beside = {}, {}
    if not os.environ.get(_MELTANO):  # which reads the file itself
        with suppress(ConfigurationError):
            beside = _in_env_file()
    for variable, text in (beside | _set_variables()).items():
        name = _VARIABLES.get(variable) or (_DRY_RUN if _asks_for_dry_run(variable) else None)
        if name and _ONE_VALUE.intersection(SETTINGS["properties"][name]["type"]):
            value = read_text(name, text)
            if _comparable(name, value) != _comparable(name, config.get(name)):
                unread[variable] = name, value
    ignored = [
        (variable if variable in _VARIABLES else f"{variable} (its name is {PREFIX}{name.upper()})")
        + f" of {_ENV_FILE}" * (variable not in os.environ)
        for variable, (name, value) in unread.items()
        if name == "api_url" or (name == _DRY_RUN and value is not False and config.get(name) is not True)
    ]
    if ignored:
        raise ConfigurationError(
            f"{' and '.join(ignored)} would be ignored: this run does not read variables. {how_to_read_variables()}"
        )
    return [variable for variable in unread if variable in os.environ]


def substitute_log_level() -> str | None:
    """Put INFO in the place of a log level that Python does not have, and return the variable that asked for it."""
    variable = next((name for name in _LOG_LEVELS if os.environ.get(name)), None)
    if variable is None or os.environ[variable].upper() in logging.getLevelNamesMapping():
        return None
    os.environ[variable] = "INFO"
    return variable


def _set_variables() -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if text}


def _asks_for_dry_run(variable: str) -> bool:
    return variable.startswith(PREFIX) and fold(variable.removeprefix(PREFIX)) in _DRY_RUN_NAMES


def _comparable(name: str, value: object) -> object:
    return value.strip().rstrip("/") if name == "api_url" and isinstance(value, str) else value


def how_to_read_variables() -> str:
    """Return a sentence that says how to have a variable read that this run ignores."""
    if os.environ.get(_MELTANO):
        return (
            "Declare the setting for this loader in meltano.yml, so that Meltano passes it on, or unset the variable."
        )
    return "Add `--config=ENV`, which reads the environment, or unset the variable."
