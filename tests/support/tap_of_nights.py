"""A tap as the recipe for the night has one: it reads rows from a file, from the newest `updated_at` of its state on.

`--config` names a file with `rows` and, where it is to break off after them, `fail`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any


def tell(**message: Any) -> None:
    print(json.dumps(message))


parser = argparse.ArgumentParser()
parser.add_argument("--config", type=Path)
parser.add_argument("--state", type=Path)
options = parser.parse_args()
config = json.loads(options.config.read_text())
since = json.loads(options.state.read_text())["updated_at"] if options.state else ""
rows = [row for row in config["rows"] if row["updated_at"] >= since]
tell(type="SCHEMA", stream="transaction_costs", schema={"properties": {}}, key_properties=["orderId"])
for row in rows:
    costs = {"orderId": row["order_id"], "transactionCosts": row["fee"]}
    tell(type="RECORD", stream="transaction_costs", record=costs)
if rows:
    tell(type="STATE", value={"updated_at": max(row["updated_at"] for row in rows)})
if config.get("fail"):
    sys.exit("The shop does not answer.")
