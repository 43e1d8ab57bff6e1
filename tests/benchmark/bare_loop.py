"""The least that loads a stream which is in Klar's own form: `python tests/benchmark/bare_loop.py --config FILE`.

Every line is read as a typed object with its record in it, and the records of a batch are written as JSON again, in
one call; no value is checked beyond its type, no answer at all; nothing is tried again. The file gives `api_url` and
`api_token`.
"""

from __future__ import annotations

import http.client
import sys
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Raw, Struct
from msgspec.json import Decoder

_BATCH = 1000
_CHUNK = 1 << 20
_T = TypeVar("_T")


class _LineItem(Struct, rename="camel", omit_defaults=True):
    line_item_id: str
    refunded_quantity: float
    id: str | None = None
    reason_descriptor: str | None = None
    created_at: float | None = None
    processed_at: float | None = None


class _Refund(Struct, rename="camel", omit_defaults=True):
    id: str
    created_at: float
    line_items: list[_LineItem]
    updated_at: float | None = None


class _Cost(Struct, rename="camel"):
    order_id: str
    transaction_costs: float


class _SchemaLine(Struct, tag_field="type", tag="SCHEMA"):
    stream: str


class _RecordLine(Struct, Generic[_T], tag_field="type", tag="RECORD"):
    record: _T


class _StateLine(Struct, tag_field="type", tag="STATE"):
    value: Raw


# For each stream its path, what stands around the records in a body, and what reads a line.
_STREAMS = {
    "refunds": ("/12.2022/refunds/json", b"%b", Decoder(_RecordLine[_Refund] | _StateLine).decode),
    "transaction_costs": (
        "/06.2024/transaction-costs/json",
        b'{"items":%b}',
        Decoder(_RecordLine[_Cost] | _StateLine).decode,
    ),
}


def main() -> None:
    """Load the stream on stdin, whose SCHEMA is the first line, and write its last STATE."""
    config = msgspec.json.decode(Path(sys.argv[2]).read_bytes())
    connection = http.client.HTTPConnection(urlsplit(config["api_url"]).netloc)
    headers = {"Authorization": f"Bearer {config['api_token']}", "Content-Type": "application/json"}
    batch: list[object] = []
    state = b""

    def send() -> None:
        connection.request("POST", path, body % msgspec.json.encode(batch), headers)
        connection.getresponse().read()
        batch.clear()

    with open(0, "rb", buffering=_CHUNK) as stdin:
        path, body, decode = _STREAMS[msgspec.json.decode(stdin.readline(), type=_SchemaLine).stream]
        for line in stdin:
            message = decode(line)
            if type(message) is _StateLine:
                state = bytes(message.value)
                continue
            batch.append(message.record)
            if len(batch) == _BATCH:
                send()
    if batch:
        send()
    sys.stdout.write(state.decode())


if __name__ == "__main__":
    main()
