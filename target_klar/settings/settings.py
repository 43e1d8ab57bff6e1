"""What the user sets, and what is wrong with it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from singer_sdk import typing as th
from singer_sdk.helpers.capabilities import STREAM_MAPS_CONFIG
from singer_sdk.plugin_base import JSONSchemaValidator

from target_klar.api.client import is_loopback
from target_klar.contract.streams import CONTRACTS
from target_klar.records.formatting import shorten
from target_klar.settings.spelling import meant
from target_klar.settings.stream_maps import map_mistakes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jsonschema import ValidationError

PREFIX = "TARGET_KLAR_"
"""What the name of a variable begins with; the name of the setting follows in capitals."""

_DAY = 86_400
_VERSION = r"^(0[1-9]|1[0-2])\.[0-9]{4}$"
_BUILT_IN = {"add_record_metadata", "load_method", "batch_config", "process_activate_version_messages"}

_MAX_NAME = 60
_MAX_SHOWN = 12
"""A longer text may be the token in the wrong place."""


def _whole(least: int, most: int) -> th.IntegerType:
    return th.IntegerType(minimum=least, maximum=most)


SETTINGS: dict[str, Any] = th.PropertiesList(
    th.Property(
        "api_token",
        th.StringType,
        required=True,
        secret=True,
        title="API token",
        description=(
            "The access token of a data source in Klar: Settings, Store Configurator, the store, Data Sources, the "
            "data source, tab Access Token. One token belongs to one data source."
        ),
    ),
    th.Property(
        "api_url",
        th.StringType,
        default="https://open-api.getklar.com",
        title="API URL",
        description="Where Klar's API is: https, or http to a loopback address such as the local Klar's.",
    ),
    *(
        th.Property(
            contract.version_setting,
            th.StringType(pattern=_VERSION),
            default=contract.version,
            title=f"API version of {contract.named}",
            description=f"The version in the path of the {contract.named} endpoint, MM.YYYY.",
        )
        for contract in CONTRACTS.values()
    ),
    th.Property(
        "batch_size_rows",
        _whole(1, 1000),
        default=1000,
        title="Batch size",
        description="How many records are read into one request, 1 to 1000.",
    ),
    th.Property(
        "batch_delay_seconds",
        _whole(0, _DAY),
        default=60,
        title="Batch delay",
        description="The longest wait before an incomplete batch is sent, in seconds.",
    ),
    th.Property(
        "max_parallel_requests",
        _whole(1, 16),
        default=4,
        title="Requests in parallel",
        description="How many requests are in flight at once, 1 to 16.",
    ),
    th.Property(
        "request_timeout_seconds",
        _whole(1, _DAY),
        default=60,
        title="Request timeout",
        description="How long one attempt of a request may take, in seconds, until the last byte of its answer.",
    ),
    th.Property(
        "retry_timeout_seconds",
        _whole(0, _DAY),
        default=300,
        title="Retry timeout",
        description="How long a request that gets no answer is tried again, in seconds since the first try.",
    ),
    th.Property(
        "status_timeout_seconds",
        _whole(0, _DAY),
        default=60,
        title="Status timeout",
        description=(
            "How long Klar's status may take to show a load, in seconds. 0: the status must answer, counts are not "
            "checked."
        ),
    ),
    th.Property(
        "checkpoint_interval_seconds",
        _whole(0, _DAY),
        default=10,
        title="Checkpoint interval",
        description="How often a STATE is written, in seconds. 0: after every batch that is confirmed.",
    ),
    th.Property(
        "rejects_path",
        th.StringType(min_length=1),
        title="Rejects file",
        description=(
            "The file to which refused records are appended, as a Singer stream that can be sent again. Without it "
            "the first refused record stops the run."
        ),
    ),
    th.Property(
        "rejects_limit",
        _whole(0, 1_000_000_000),
        default=100,
        title="Rejects limit",
        description="How many records may be refused in one run; one more stops it.",
    ),
    th.Property(
        "extra_fields",
        th.ArrayType(th.StringType),
        title="Extra fields",
        description="Names of fields outside the contract that are sent as they are, at any level.",
    ),
    th.Property(
        "hard_delete",
        th.BooleanType,
        default=False,
        title="Hard delete",
        description="Cancel deleted refunds and orders at Klar instead of skipping them. Costs cannot be deleted.",
    ),
    th.Property(
        "validate_only",
        th.BooleanType,
        default=False,
        title="Validate only",
        description="Check everything, at Klar's validate endpoints where there is one, and load nothing.",
    ),
    th.Property(
        "validate_records",
        th.BooleanType,
        default=True,
        title="Validate records",
        description=(
            "Check records against Klar's contract before they are sent. If not, only keys, times and NaN are checked "
            "here, and Klar checks the rest."
        ),
    ),
).to_dict()
SETTINGS["properties"] |= STREAM_MAPS_CONFIG["properties"]


def checked(config: dict[str, Any]) -> tuple[dict[str, Any], list[str], list[str]]:
    """Return the settings with their defaults, what is wrong in one line each, and the names that are passed over.

    No line shows the token, nor a value that could be the token in the wrong place. What the SDK has built in and this
    target does not offer is left out: the SDK's mapper and sink would follow some of it all the same.
    """
    known = SETTINGS["properties"]
    settings = {name: value for name, value in config.items() if name in known and value is not None}
    if isinstance(token := settings.get("api_token"), str):
        settings["api_token"] = token.rstrip("\r\n")  # files that hold a secret tend to end so
    misspelled, foreign = _unknown(name for name in config if name not in known)
    # The SDK's schema of stream maps is no valid one (`"anyOf": [..., "null"]`) and fails with a traceback.
    schema = SETTINGS | {"properties": known | {"stream_maps": {}}}
    errors = [
        *misspelled,
        *map(_worded, JSONSchemaValidator(schema).iter_errors(settings)),
        *_wrong_token(settings.get("api_token")),
        *_wrong_url(settings.get("api_url")),
        *map_mistakes(settings.get("stream_maps", {})),
    ]
    return settings, errors, foreign


def _unknown(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Say which names were meant to be a setting's, and return the others that the SDK does not have either."""
    misspelled, foreign = [], []
    for name in names:
        setting = name.removeprefix(PREFIX)
        right = meant(setting, SETTINGS["properties"])
        if right:
            variable = f" (in the environment `{PREFIX}{right.upper()}`)" if setting != name else ""
            misspelled.append(f"`{shorten(name, _MAX_NAME)}` is no setting. Did you mean `{right}`{variable}?")
        elif not _is_built_in(setting.lower()):
            foreign.append(shorten(name, _MAX_NAME))
    return misspelled, foreign


def _is_built_in(name: str) -> bool:
    return name in _BUILT_IN or name.startswith("flattening_")


def _worded(error: ValidationError) -> str:
    if error.validator == "required":
        missing = error.message.split("'")[1]
        variable = PREFIX + missing.upper()
        hint = f" {variable} is set: add `--config=ENV`, which reads it." if os.environ.get(variable) else ""
        return f"`{missing}` is not set.{hint} {SETTINGS['properties'][missing]['description']}"
    names = [part for part in error.absolute_path if isinstance(part, str)]
    schema = SETTINGS["properties"][names[0]]
    return f"`{'.'.join(names)}` must be {_allowed(schema)}{'' if schema.get('secret') else _found(error.instance)}."


def _found(value: object) -> str:
    if isinstance(value, list | dict):
        return ""
    shown = str(value)
    return f" (found {shorten(shown)})" if len(shown) <= _MAX_SHOWN else f" (found {len(shown)} characters)"


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
        return "a version such as 12.2022 (MM.YYYY)"
    return "text that is not empty" if "minLength" in schema else "text"


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
