"""dlt on the benchmark's work: Singer records from stdin, a thousand objects a request, by a destination function.

A process that runs `python tests/benchmark/dlt_pipeline.py --config FILE`; the file gives `url` and `parallel`. The
records keep their shape: no nested tables, no columns of dlt's own, no other names. dlt writes no STATE of Singer's.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dlt
import requests

if TYPE_CHECKING:
    from collections.abc import Iterator

_PAGE = 1000


def _records() -> Iterator[list[dict[str, Any]]]:
    messages = map(json.loads, sys.stdin.buffer)
    records = (message["record"] for message in messages if message["type"] == "RECORD")
    while page := list(islice(records, _PAGE)):
        yield page


def main() -> None:
    """Load everything from stdin."""
    config = json.loads(Path(sys.argv[2]).read_text())
    os.environ |= {
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "DATA_WRITER__FILE_MAX_ITEMS": str(_PAGE),  # what is loaded in parallel are files
        "LOAD__WORKERS": str(config["parallel"]),
    }
    session = requests.Session()

    @dlt.destination(  # type: ignore[untyped-decorator]  # dlt is not here where types are checked
        name="klar",
        batch_size=_PAGE,
        loader_file_format="typed-jsonl",
        naming_convention="direct",
        skip_dlt_columns_and_tables=True,
        max_parallel_load_jobs=config["parallel"],
    )
    def klar(items: list[dict[str, Any]], _: object) -> None:
        response = session.post(
            f"{config['url']}/12.2022/refunds/json",
            data=json.dumps(items),
            headers={"Content-Type": "application/json"},
            timeout=60,
        )
        response.raise_for_status()

    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline("benchmark", destination=klar, pipelines_dir=folder)
        refunds = dlt.resource(_records, name="refunds", max_table_nesting=0)
        pipeline.run(refunds).raise_on_failed_jobs()


if __name__ == "__main__":
    main()
