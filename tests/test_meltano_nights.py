"""Nine nights: what an operator finds in the morning, and what one command later.

Each is a story under the real `meltano run` with Meltano's own state, without a terminal: the exit code, the STATE that
is kept, what Klar holds, and the one line that says what happened.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from pipelines import ROOT, Finished, Project, with_plugins

from target_klar.sandbox import Request, Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("nights")]  # one worker imports Meltano, and forks it

STATE = "dev:tap-jsonfile-to-target-klar"
PIPELINE = ("tap-jsonfile", "target-klar")
QUICK_TAP = {"TAP_JSONFILE_STREAM_NAME": "refunds", "TAP_JSONFILE_STREAM_MAPS": "{}", "TAP_JSONFILE_SAMPLES": "1"}
"""Without stream maps, and with a schema from one file, the tap reads several times faster."""
Row = dict[str, Any]


def shop(folder: Path, klar: Sandbox, **settings: object) -> Project:
    """Makes a project of this repository's meltano.yml, with folders of rows and a local Klar of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "meltano.yml", folder)
    (folder / "tests" / "data" / "rows").mkdir(parents=True)
    wanted = {"api_url": klar.url, "api_token": klar.token, "checkpoint_interval_seconds": 0, **settings}
    return with_plugins(folder, {f"TARGET_KLAR_{name.upper()}": str(value) for name, value in wanted.items()})


def put(project: Project, name: str, rows: Iterable[Row]) -> None:
    """Writes a file of rows where the tap finds it."""
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    (project.folder / "tests" / "data" / "rows" / f"{name}.jsonl").write_text(text, encoding="ascii")


def refund_rows(first: int, number: int) -> list[Row]:
    """Makes refunds as a shop's database has them."""
    return [
        {
            "id": refund,
            "created_at": "2026-05-04T09:30:00Z",
            "line_items": [{"line_item_id": refund * 10, "refunded_quantity": 1}],
        }
        for refund in range(first, first + number)
    ]


def files_read(project: Project) -> list[str]:
    """Returns the files that the kept STATE covers."""
    state = project.state(STATE) or {"bookmarks": {}}
    return sorted(Path(name).stem for mark in state["bookmarks"].values() for name in mark["file_hashes"])


def error_of(finished: Finished) -> str:
    """Returns the one ERROR line that the target wrote."""
    (line,) = said(finished, "error")
    return line


def summary_of(finished: Finished) -> str:
    """Returns what the one line about refunds says that was stored."""
    (line,) = (line for line in said(finished, "info") if line.startswith("refunds: ") and " stored, " in line)
    return f"refunds: {line.split(', ')[1]}"


def said(finished: Finished, level: str, plugin: str = "target-klar") -> list[str]:
    """Returns what a plugin said on a level."""
    opening = f"[{level:<9}] {plugin} "
    return [line.removeprefix(opening).strip() for line in finished.lines(opening)]


def test_a_wrong_token_stops_before_any_record_is_sent(tmp_path: Path) -> None:
    with Sandbox() as klar:
        project = shop(tmp_path, klar, api_token="mistyped")
        put(project, "refunds", refund_rows(1, 20))
        night = project.run(*PIPELINE)

        assert night.code == 1
        assert error_of(night) == (
            f"The API token was refused (HTTP 401, {klar.url}/refunds/status). Check `api_token`: Klar shows it under "
            "Settings, Store Configurator, the store, Data Sources, the data source, tab Access Token. "
            "No STATE was written."
        )
        assert "mistyped" not in night.log
        assert "Traceback" not in night.log
        assert klar.posts() == []
        assert project.state(STATE) is None

        morning = project.run(*PIPELINE, TARGET_KLAR_API_TOKEN=klar.token)

        assert morning.code == 0, morning.log
        assert summary_of(morning) == "refunds: 20 stored"
        assert len(klar.refunds) == 20
        assert files_read(project) == ["refunds"]
        assert klar.token not in morning.log


def test_a_killed_backfill_goes_on_where_klar_holds_everything(tmp_path: Path) -> None:
    killed = threading.Event()

    def hold(moment: str, _: Request) -> None:
        """Answer nothing behind the tap's first STATE, of 10,000 records, and the requests in flight with it."""
        if moment == "stored" and klar.count("refunds") >= 16_000:
            killed.wait(60)

    with Sandbox(observer=hold) as klar:
        project = shop(tmp_path, klar)
        project.environment |= QUICK_TAP
        for number in range(20):
            put(project, f"refunds-{number:02}", refund_rows(1 + 1_000 * number, 1_000))
        run = project.start("run", "--no-install", *PIPELINE)
        wait_until(lambda: klar.count("refunds") >= 16_000 and files_read(project) != [])
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
        killed.set()
        covered = files_read(project)
        held = klar.refunds.keys()

        assert run.returncode == -signal.SIGKILL
        assert 0 < len(covered) < 15
        assert all(str(refund["id"]) in held for name in covered for refund in rows_of(project, name))

        sent = objects_sent(klar)
        early = project.run(*PIPELINE)

        assert early.code == 1
        assert "pipeline is already running" in early.log, "Meltano waits five minutes for a run that was killed"
        assert objects_sent(klar) == sent

        morning = project.run("--force", *PIPELINE)

        assert morning.code == 0, morning.log
        assert summary_of(morning) == f"refunds: {1_000 * (20 - len(covered))} stored"
        assert klar.count("refunds") == 20_000
        assert len(files_read(project)) == 20
        assert objects_sent(klar) - sent == 1_000 * (20 - len(covered))


def test_one_bad_record_is_set_aside_and_the_others_arrive(tmp_path: Path) -> None:
    with Sandbox() as klar:
        project = shop(tmp_path, klar)
        rows = refund_rows(1, 500)
        rows[250]["line_items"][0]["refunded_quantity"] = "two"
        put(project, "refunds", rows)
        night = project.run(*PIPELINE)

        assert night.code == 1
        assert error_of(night) == (
            "target-klar rejected refunds 251: lineItems[0].refundedQuantity must be a number (found text of 3 "
            "characters). The run stops before this record. Set `rejects_path` to write rejected records to a file and "
            "continue. No STATE was written."
        )
        assert len(klar.refunds) == 250
        assert project.state(STATE) is None

        morning = project.run(*PIPELINE, TARGET_KLAR_REJECTS_PATH="rejects.jsonl")

        assert morning.code == 0, morning.log
        assert summary_of(morning) == "refunds: 499 stored"
        assert said(morning, "warning") == [
            (
                "target-klar rejected refunds 251: lineItems[0].refundedQuantity must be a number (found text of 3 "
                "characters). Written to rejects.jsonl."
            ),
            "Records rejected: 1, see rejects.jsonl. Most often: 1 x lineItems[].refundedQuantity must be a number",
        ]
        assert klar.refunds.keys() == {str(number) for number in range(1, 501)} - {"251"}
        assert files_read(project) == ["refunds"]
        assert [one["record"]["id"] for one in rejected(project)] == [251]


def test_a_renamed_column_stops_the_run_and_loses_nothing(tmp_path: Path) -> None:
    with Sandbox() as klar:
        project = shop(tmp_path, klar, rejects_path="rejects.jsonl")
        put(project, "refunds", [{"lines": row.pop("line_items"), **row} for row in refund_rows(1, 300)])
        night = project.run(*PIPELINE)

        assert night.code == 1
        assert error_of(night) == (
            "target-klar rejected refunds 101: lineItems is required. The run stops before this record. "
            "`rejects_limit` (100) is reached: correct the mapping, or raise the limit if the records themselves are "
            "bad. No STATE was written."
        )
        assert klar.refunds == {}
        assert project.state(STATE) is None
        assert len(rejected(project)) == 100

        mapping = json.dumps({"refunds": {"lineItems": "lines", "lines": "__NULL__"}})
        morning = project.run(*PIPELINE, TARGET_KLAR_STREAM_MAPS=mapping)

        assert morning.code == 0, morning.log
        assert summary_of(morning) == "refunds: 300 stored"
        assert len(klar.refunds) == 300
        assert files_read(project) == ["refunds"]
        assert len(rejected(project)) == 100, "nothing new was refused"


def test_rejects_are_sent_again_once_the_mapping_is_fixed(tmp_path: Path) -> None:
    with Sandbox() as klar:
        project = shop(tmp_path, klar, rejects_path="rejects.jsonl")
        rows = refund_rows(1, 50)
        for row in rows[:10]:
            row["line_items"] = [{"line_item_id": 7, "refunded_quantity": "1 piece"}]
        put(project, "refunds", rows)
        night = project.run(*PIPELINE)

        assert night.code == 0, night.log
        assert said(night, "warning")[-1] == (
            "Records rejected: 10, see rejects.jsonl. Most often: 10 x lineItems[].refundedQuantity must be a number"
        )
        assert len(klar.refunds) == 40
        assert len(rejected(project)) == 10
        kept = project.state(STATE)

        (project.folder / "rejects.jsonl").rename(project.folder / "again.jsonl")
        mapping = {
            "refunds": {
                "line_items": "[{'line_item_id': line['line_item_id'], "
                "'refunded_quantity': line['refunded_quantity'].split(' ')[0]} for line in line_items]"
            }
        }
        morning = project.meltano(
            *("invoke", "--no-install", "target-klar", "--input", "again.jsonl"),
            TARGET_KLAR_STREAM_MAPS=json.dumps(mapping),
        )

        assert morning.code == 0, morning.log
        assert len(klar.refunds) == 50
        assert klar.refunds["1"]["lineItems"] == [{"lineItemId": "7", "refundedQuantity": 1}]
        assert rejected(project) == []
        assert project.state(STATE) == kept


def test_a_token_revoked_halfway_keeps_what_klar_confirmed(tmp_path: Path) -> None:
    with Sandbox() as klar:
        good = klar.token

        confirmed = threading.Event()

        def revoke(moment: str, _: Request) -> None:
            """At a load, behind which a status has to be read: a reading itself may be the last request of all."""
            if moment == "status" and klar.count("refunds") >= 4_000:
                confirmed.set()
            if moment == "stored" and confirmed.is_set() and klar.count("refunds") >= 12_000:
                klar.token = "another one"

        klar.observer = revoke
        project = shop(tmp_path, klar)
        project.environment |= QUICK_TAP
        for number in range(6):
            put(project, f"refunds-{number}", refund_rows(1 + 4_000 * number, 4_000))
        night = project.run(*PIPELINE)
        covered = files_read(project)
        held = klar.refunds.keys()

        assert night.code == 1
        assert error_of(night).startswith("The API token was refused (HTTP 401, ")
        assert 0 < len(covered) < 6
        assert all(str(refund["id"]) in held for name in covered for refund in rows_of(project, name))

        klar.observer = None
        klar.token = good
        morning = project.run(*PIPELINE)

        assert morning.code == 0, morning.log
        assert summary_of(morning) == f"refunds: {4_000 * (6 - len(covered))} stored"
        assert klar.count("refunds") == 24_000
        assert len(files_read(project)) == 6


def test_the_wrong_token_of_one_store_leaves_the_other_alone(tmp_path: Path) -> None:
    with Sandbox() as vienna, Sandbox() as berlin:
        project = shop(tmp_path, vienna)
        both = yaml.safe_load((project.folder / "meltano.yml").read_text(encoding="utf-8"))
        for store in ("vienna", "berlin"):
            rows = {"paths": [f"tests/data/rows/*-{store}.jsonl"]}
            both["plugins"]["extractors"].append(
                {"name": f"tap-{store}", "inherit_from": "tap-jsonfile", "config": rows}
            )
            both["plugins"]["loaders"].append({"name": f"target-{store}", "inherit_from": "target-klar"})
        (project.folder / "meltano.yml").write_text(yaml.safe_dump(both), encoding="utf-8")
        put(project, "refunds-vienna", refund_rows(1, 30))
        put(project, "refunds-berlin", refund_rows(1001, 40))
        tokens = {"TARGET_VIENNA_API_TOKEN": vienna.token, "TARGET_VIENNA_API_URL": vienna.url}
        tokens |= {"TARGET_BERLIN_API_TOKEN": vienna.token, "TARGET_BERLIN_API_URL": berlin.url}
        blocks = ("tap-vienna", "target-vienna", "tap-berlin", "target-berlin")
        night = project.run(*blocks, **tokens)

        assert night.code == 1
        assert said(night, "error", "target-vienna") == []
        assert [line[:42] for line in said(night, "error", "target-berlin")] == [
            "The API token was refused (HTTP 401, http:"
        ]
        assert len(vienna.refunds) == 30
        assert berlin.posts() == []
        assert project.state("dev:tap-vienna-to-target-vienna") is not None
        assert project.state("dev:tap-berlin-to-target-berlin") is None

        posts = len(vienna.posts())
        morning = project.run(*blocks, **tokens | {"TARGET_BERLIN_API_TOKEN": berlin.token})

        assert morning.code == 0, morning.log
        assert len(vienna.posts()) == posts
        assert berlin.refunds.keys() == {str(number) for number in range(1001, 1041)}
        assert project.state("dev:tap-berlin-to-target-berlin") is not None


def test_klar_is_down_for_longer_than_the_retries_last(tmp_path: Path) -> None:
    with Sandbox(faults=["503@1+", "status:503@1+"]) as klar:
        project = shop(tmp_path, klar, retry_timeout_seconds=4)
        put(project, "refunds", refund_rows(1, 2500))
        night = project.run(*PIPELINE)

        assert night.code == 1
        assert re.fullmatch(
            rf"refunds: no usable response from {klar.url}/refunds/status after \d+ attempts? in \d+ s \(HTTP 503\)\. "
            r"Run again later; if it persists, check `api_url`\. No STATE was written\.",
            error_of(night),
        )
        assert klar.refunds == {}
        assert project.state(STATE) is None

        klar.misbehave()
        morning = project.run(*PIPELINE)

        assert morning.code == 0, morning.log
        assert summary_of(morning) == "refunds: 2500 stored"
        assert len(klar.refunds) == 2500
        assert files_read(project) == ["refunds"]


def test_fail_on_rejects_makes_the_job_red_and_keeps_the_state(tmp_path: Path) -> None:
    with Sandbox() as klar:
        project = shop(tmp_path, klar, rejects_path="rejects.jsonl", fail_on_rejects="true")
        rows = refund_rows(1, 50)
        rows[10]["line_items"][0]["refunded_quantity"] = "two"
        put(project, "refunds", rows)
        night = project.run(*PIPELINE)

        assert night.code == 1
        assert error_of(night) == (
            "fail_on_rejects: 1 record rejected, see rejects.jsonl; everything else is loaded and acknowledged. "
            "Correct the mapping, move the file away, and send it with `--input`."
        )
        assert len(klar.refunds) == 49
        assert files_read(project) == ["refunds"]

        posts = len(klar.posts())
        morning = project.run(*PIPELINE)

        assert morning.code == 0, morning.log
        assert len(klar.posts()) == posts


def wait_until(true: Callable[[], bool], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "It did not come to that in time."
        time.sleep(0.05)


def objects_sent(klar: Sandbox) -> int:
    return sum(post.count or 0 for post in klar.posts())


def rows_of(project: Project, name: str) -> list[Row]:
    text = (project.folder / "tests" / "data" / "rows" / f"{name}.jsonl").read_text(encoding="ascii")
    return [json.loads(line) for line in text.splitlines()]


def rejected(project: Project) -> list[Row]:
    """Returns what the rejects file holds of records."""
    lines = (project.folder / "rejects.jsonl").read_text(encoding="ascii").splitlines()
    return [message for message in map(json.loads, lines) if message["type"] == "RECORD"]
