"""What is wrong with a configuration, in words that never show the token."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from singer_sdk.plugin_base import JSONSchemaValidator

from target_klar.api.client import is_loopback
from target_klar.contract.streams import CONTRACTS, QUALITY_RULES
from target_klar.records.convert import fold
from target_klar.records.formatting import counted, is_text, shorten
from target_klar.records.spelling import closest_match
from target_klar.settings.settings import PREFIX, RENAMED, SETTINGS
from target_klar.settings.stream_maps import map_mistakes
from target_klar.settings.values import read_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jsonschema import ValidationError

_BUILT_IN = {"add_record_metadata", "load_method", "batch_config", "process_activate_version_messages"}

_PART = re.compile(r"\[\d*\]\.?|\.")
_HOLD_OBJECTS = {
    fold(field)
    for contract in CONTRACTS.values()
    for field, node in contract.schema["properties"].items()
    if "properties" in node.get("items", node)
}
"""The fields of Klar's that are objects or hold some, with which a path begins."""
_MAX_NAME = 60
_MAX_SHOWN = 12
"""A longer text may be the token in the wrong place."""


def checked(config: dict[str, Any]) -> tuple[dict[str, Any], list[str], list[str]]:
    """Return the settings with their defaults, the errors, one line each, and the unknown names, which are ignored.

    A text that spells a value, as the environment has it, is read as that value. No line shows the token, nor a value
    that could be the token in the wrong place. What the SDK has built in and this target does not offer is left out:
    the SDK's mapper and sink would follow some of it all the same.
    """
    known = SETTINGS["properties"]
    misspelled, foreign = _unknown(name for name in config if name not in known)
    settings, unreadable = _read({name: value for name, value in config.items() if name in known})
    # The SDK's schema of stream maps is invalid (`"anyOf": [..., "null"]`) and fails with a traceback.
    properties = known | {"stream_maps": {}}
    required = [name for name in SETTINGS["required"] if name not in unreadable]
    schema = SETTINGS | {"properties": properties, "required": required}
    errors = [
        *misspelled,
        *unreadable.values(),
        *map(_worded, JSONSchemaValidator(schema).iter_errors(settings)),
        *_wrong_token(settings.get("api_token")),
        *_wrong_url(settings.get("api_url")),
        *_unknown_rules(settings.get("ignore_quality_rules")),
        *_paths(settings.get("extra_fields")),
        *map_mistakes(settings.get("stream_maps", {}), settings.get("stream_map_config")),
    ]
    return settings, errors, foreign


def _read(config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the settings that have a value, read from text where they are text, and what is wrong with the others."""
    settings, errors = {}, {}
    for name, value in config.items():
        try:
            read = read_text(name, value) if isinstance(value, str) else value
        except ValueError as error:
            errors[name] = f"`{name}` must be {_allowed(SETTINGS['properties'][name])} ({error})."
            continue
        if not _is_writable(read):
            errors[name] = f"`{name}` must not have a NUL or half a surrogate pair in its text."
        elif read is not None:
            settings[name] = read
    return settings, errors


def _is_writable(value: object) -> bool:
    """Tell whether a value has only text that an address, a path and a request can carry."""
    pending = [value]
    while pending:  # not by recursion: JSON may be nested as deep as Python reads
        each = pending.pop()
        if isinstance(each, str) and ("\0" in each or not is_text(each)):
            return False
        if isinstance(each, dict):
            pending += [*each, *each.values()]
        elif isinstance(each, list):
            pending += each
    return True


def _unknown(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return an error for each misspelled setting, and the other names, which the SDK does not have either."""
    misspelled, foreign = [], []
    for name in names:
        setting = name.removeprefix(PREFIX)
        match = closest_match(setting, [*SETTINGS["properties"], *RENAMED])
        if match:
            right = RENAMED.get(match, match)
            variable = f" (in the environment `{PREFIX}{right.upper()}`)" if setting != name else ""
            misspelled.append(f"Unknown setting `{shorten(name, _MAX_NAME)}`. Did you mean `{right}`{variable}?")
        elif not _is_built_in(setting.lower()):
            foreign.append(shorten(name, _MAX_NAME))
    return misspelled, foreign


def _is_built_in(name: str) -> bool:
    return name in _BUILT_IN or name.startswith("flattening_")


def _worded(error: ValidationError) -> str:
    if error.validator == "required":
        missing = error.message.split("'")[1]
        return f"`{missing}` is not set.{_where_to_set(missing)} {SETTINGS['properties'][missing]['description']}"
    names = [part for part in error.absolute_path if isinstance(part, str)]
    schema = SETTINGS["properties"][names[0]]
    return f"`{'.'.join(names)}` must be {_allowed(schema)} (found {_found(error)})."


def _where_to_set(name: str) -> str:
    """Name the variable that sets a setting.

    Under Meltano it is the loader's own: that of the loader from which it inherits may hold another shop's token.
    """
    loader = os.environ.get("MELTANO_LOADER_NAME")
    if loader:
        variable = f"{loader}_{name}".replace("-", "_").upper()
        return f" Meltano passes on {variable} if meltano.yml declares the setting for the loader {shorten(loader)}."
    variable = PREFIX + name.upper()
    return f" {variable} is set: add `--config=ENV`, which reads it." if os.environ.get(variable) else ""


def _found(error: ValidationError) -> str:
    """Say what a value is, with its kind: of a secret, and of what could be one, no more than the length."""
    value, schema = error.instance, error.schema
    assert isinstance(schema, dict)
    match value:
        case None:
            return "null"
        case dict():
            return "an object"
        case list():
            return "a list"
        case str():
            kind, shown = "text", f'"{shorten(value)}"'
        case bool():
            kind, shown = "boolean", str(value).lower()
        case _:
            kind, shown = "number", str(value)
    advice = "; put it in quotes" * (kind == "number" and "string" in schema.get("type", ()))
    length = len(str(value))
    if schema.get("secret") or length > _MAX_SHOWN:
        return f"a {kind} of {counted(length, 'character')}{advice}"
    return f"the {kind} {shown}{advice}"


def _allowed(schema: dict[str, Any]) -> str:
    types = schema["type"]
    if "integer" in types:
        return f"a whole number from {schema['minimum']} to {schema['maximum']}"
    if "boolean" in types:
        return "true or false"
    if "array" in types:
        return "a list of names, as JSON"
    if "object" in types:
        return "an object in the form that the Singer SDK documents, as JSON"
    if "pattern" in schema:
        return "a version such as 12.2022, MM.YYYY"
    return "text that is not empty" if "minLength" in schema else "text"


def _unknown_rules(names: object) -> Iterator[str]:
    """Yield an error for each name that is not a data quality rule's: else a rule would stay on unnoticed."""
    for name in names if isinstance(names, list) else ():
        if isinstance(name, str) and name not in QUALITY_RULES:
            match = closest_match(name, QUALITY_RULES)
            hint = f"Did you mean `{match}`?" if match else f"There are {', '.join(sorted(QUALITY_RULES))}."
            yield f"`ignore_quality_rules` has the unknown rule `{shorten(name, _MAX_SHOWN * 3)}`. {hint}"


def _paths(names: object) -> Iterator[str]:
    """Yield an error for each extra field that is the path of one: only names are compared, so it would match none."""
    for name in names if isinstance(names, list) else ():
        first, *rest = _PART.split(name) if isinstance(name, str) else [""]
        last = next(filter(None, reversed(rest)), "")
        if last and fold(first) in _HOLD_OBJECTS:
            yield (
                f"`extra_fields` has the path `{shorten(name, _MAX_NAME)}`. List the name alone, "
                f"`{shorten(last, _MAX_NAME)}`: it counts at every level."
            )


def _wrong_token(token: object) -> Iterator[str]:
    if isinstance(token, str) and (not token or any(not "!" <= character <= "~" for character in token)):
        yield "`api_token` must be the token alone: it is empty, or has a blank, a line break or another odd character."


def _wrong_url(url: object) -> Iterator[str]:
    allowed = "`api_url` must be an address such as https://open-api.getklar.com, or http:// to a loopback address"
    if not isinstance(url, str):
        return
    try:
        parts = urlsplit(url)
        usable = parts.hostname and parts.port != 0 and not (parts.username or parts.query or parts.fragment)
    except ValueError:
        usable = False
    if not usable or any(character.isspace() for character in url):
        yield f"{allowed}, without user name, query or blanks."
    elif parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(url)):
        yield f"{allowed} (found {shorten(f'{parts.scheme}://{parts.hostname}')}): the token would travel in the open."
