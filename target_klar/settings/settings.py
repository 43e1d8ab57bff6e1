"""The settings that there are: names, types, defaults, and what each one means."""

from __future__ import annotations

from typing import Any, Final

from singer_sdk import typing as th
from singer_sdk.helpers.capabilities import STREAM_MAPS_CONFIG

from target_klar.contract.streams import CONTRACTS

PREFIX: Final = "TARGET_KLAR_"
"""What the name of a variable begins with; the name of the setting follows in capitals."""

RENAMED: Final = {"batch_delay_seconds": "batch_wait_limit_seconds", "dry_run": "validate_only"}
"""Names that settings had in earlier versions, or that documents and messages suggest, each with its name today."""

_DAY = 86_400
_VERSION = r"^(0[1-9]|1[0-2])\.[0-9]{4}$"


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
            description=(
                f"The version in the path of the {contract.named} endpoint, MM.YYYY; leave it unless Klar names "
                "another."
            ),
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
        "batch_wait_limit_seconds",
        _whole(0, _DAY),
        default=60,
        title="Batch wait limit",
        description="How long a record waits for its batch to fill, in seconds, before the batch is sent as it is.",
    ),
    th.Property(
        "max_parallel_requests",
        _whole(1, 16),
        default=4,
        title="Requests in parallel",
        description="How many requests are in flight at once, 1 to 16; of COGS one at most.",
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
            "How long Klar's status may take to show a load, in seconds. 0: the status only has to answer, and need "
            "not show it."
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
            "The file to which rejected records are appended, as a Singer stream that can be sent again. Without it "
            "the first rejected record stops the run."
        ),
    ),
    th.Property(
        "rejects_limit",
        _whole(0, 1_000_000_000),
        default=100,
        title="Rejects limit",
        description="How many records may be rejected in one run; one more stops it.",
    ),
    th.Property(
        "fail_on_rejects",
        th.BooleanType,
        default=False,
        title="Fail on rejects",
        description=(
            "End with exit code 1 when records were written to the rejects file, once everything else is loaded and "
            "the last STATE is written."
        ),
    ),
    th.Property(
        "ignore_quality_rules",
        th.ArrayType(th.StringType),
        title="Ignored quality rules",
        description="Names of data quality rules that are not applied; a warning or rejection shows its rule's name.",
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
            "Check records against Klar's contract before they are sent. If not, only keys, times, NaN and objects in "
            "a wrong place are checked here, and Klar checks the rest."
        ),
    ),
).to_dict()
SETTINGS["properties"] |= STREAM_MAPS_CONFIG["properties"]
