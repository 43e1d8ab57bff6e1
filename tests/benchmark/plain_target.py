"""The yardstick of the benchmark: a target as the SDK's own template makes it, filled in the plainest way.

The SDK checks every record against the tap's schema with jsonschema; a full batch is written with `json.dumps` and
sent with `requests`, one request at a time. It promises nothing beyond that: no retry, no look at Klar's status.
"""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any

import requests
from singer_sdk import typing as th
from singer_sdk.sinks import BatchSink
from singer_sdk.target_base import Target


class PlainSink(BatchSink):
    """Sends a thousand records at a time."""

    max_size = 1000

    @cached_property
    def _session(self) -> requests.Session:
        return requests.Session()

    def process_record(self, record: dict[str, Any], context: dict[str, Any]) -> None:
        """Add a record to the batch."""
        context.setdefault("records", []).append(record)

    def process_batch(self, context: dict[str, Any]) -> None:
        """Send the batch and wait for the answer."""
        records = context["records"]
        if self.stream_name == "refunds":
            path, body = "12.2022/refunds/json", records
        else:
            path, body = "06.2024/transaction-costs/json", {"items": records}
        response = self._session.post(
            f"{self.config['api_url']}/{path}",
            data=json.dumps(body, default=float),  # the SDK's reader gives Decimals
            headers={"Authorization": f"Bearer {self.config['api_token']}", "Content-Type": "application/json"},
            timeout=60,
        )
        response.raise_for_status()


class PlainTarget(Target):
    """A target without anything that its template does not have."""

    name = "plain-target"
    package_name = "target-klar"  # whose version it shows: it is no package of its own
    config_jsonschema = th.PropertiesList(
        th.Property("api_url", th.StringType, required=True),
        th.Property("api_token", th.StringType, required=True, secret=True),
    ).to_dict()
    default_sink_class = PlainSink


if __name__ == "__main__":
    PlainTarget.cli()
