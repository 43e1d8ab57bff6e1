"""The recipes of MySQL and MariaDB: changes without a time, times that are not in UTC, a first run that fails."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from mariadb import Server, mariadb
from pipelines import Project, project, recipe
from test_recipes_of_orders import ERP

from target_klar.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("MariaDB")]

HEADING = "The same in MySQL or MariaDB"
LOCAL_KLAR = "A local Klar for several nights"
STATE = "prod:tap-mysql-to-target-klar"
CREATED = 1777879800  # 2026-05-04 09:30 at +02:00
# Orders, refunds and lines that go with each other, as a shop may have them; refund 6 has an amount and no line.
SHOP = """
    CREATE TABLE erp.sale (id bigint PRIMARY KEY);
    INSERT INTO erp.sale VALUES (1), (2);
    DELETE FROM erp.refund_line;
    DELETE FROM erp.refund;
    ALTER TABLE erp.refund ADD COLUMN sale_id bigint NOT NULL REFERENCES erp.sale (id) ON DELETE CASCADE;
    ALTER TABLE erp.refund_line ADD PRIMARY KEY (id),
      ADD FOREIGN KEY (refund_id) REFERENCES erp.refund (id) ON DELETE CASCADE;
    INSERT INTO erp.refund SELECT seq, '2026-05-04 09:30', '2026-05-04 09:30', IF(seq = 5, 2, 1) FROM erp.seq_1_to_7;
    INSERT INTO erp.refund_line VALUES
      (11, 1, 101, 2), (12, 1, 102, 1), (21, 2, 103, 1), (31, 3, 104, 1), (32, 3, 105, 1), (41, 4, 106, 3),
      (51, 5, 107, 1), (71, 7, 108, 1);
    """
# None of them touches the row of a refund that stays.
CHANGES = """
    UPDATE erp.refund_line SET quantity = 1 WHERE id = 11;
    INSERT INTO erp.refund_line VALUES (22, 2, 109, 4);
    DELETE FROM erp.refund_line WHERE refund_id = 3;
    DELETE FROM erp.refund WHERE id = 4;
    DELETE FROM erp.sale WHERE id = 2;
    UPDATE erp.refund_line SET refund_id = 1 WHERE id = 71;
    INSERT INTO erp.refund VALUES
      (8, '2026-05-04 09:30', '2026-05-04 09:30', 1), (9, '2026-05-04 09:30', '2026-05-04 09:30', 1);
    INSERT INTO erp.refund_line VALUES (91, 9, 110, 1);
    """


@pytest.fixture(scope="module")
def mariadb_server() -> Iterator[Server]:
    with mariadb() as running:
        running.execute("SET GLOBAL time_zone = '+02:00';")
        yield running


@pytest.fixture
def erp(mariadb_server: Server) -> Server:
    """The server with the ERP and its views, anew for each test."""
    mariadb_server.execute("DROP DATABASE IF EXISTS klar; DROP DATABASE IF EXISTS erp;")
    mariadb_server.execute(ERP + recipe(HEADING, "sql"))
    return mariadb_server


def pipeline(folder: Path, erp: Server, klar: Sandbox) -> Project:
    environment = erp.tap_settings | {"TARGET_KLAR_API_TOKEN": klar.token}
    return project(folder, recipe(HEADING, "meltano"), {"target-klar": klar.url}, **environment)


def shell(folder: Path, erp: Server, script: str) -> str:
    """Run commands of the recipes, whose `mariadb` finds the server as a user's does."""
    (folder / ".my.cnf").write_text(f"[client]\nsocket={erp.folder}/socket\nuser=root\n")
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


def pieces(klar: Sandbox) -> dict[str, dict[str, Any]]:
    """Return the pieces of each line of each refund that Klar holds."""
    assert {held["createdAt"] for held in klar.refunds.values()} == {CREATED}
    return {
        key: {item["lineItemId"]: item["refundedQuantity"] for item in held["lineItems"]}
        for key, held in klar.refunds.items()
    }


def test_changed_late_lost_and_deleted_lines_arrive_although_no_time_of_the_refund_tells_of_them(
    tmp_path: Path, erp: Server
) -> None:
    with Sandbox() as klar:
        erp.execute(SHOP + recipe("MySQL or MariaDB where lines have no time", "sql"))
        erp.execute("UPDATE erp.klar_refund SET changed_at = '2026-05-04 09:30' WHERE id <> 7;")  # long ago
        shop = project(tmp_path, recipe(HEADING, "meltano"), {}, **erp.tap_settings)
        serve, settings, compare = (
            block.replace("http://127.0.0.1:8010", klar.url).replace("a-local-token", klar.token)
            for block in (
                recipe(LOCAL_KLAR, "bash", holds="--port"),
                recipe(LOCAL_KLAR, "text"),
                recipe(LOCAL_KLAR, "bash", holds="diff"),
            )
        )
        (tmp_path / ".env").write_text(settings)
        assert (tmp_path / serve.split()[0]).exists()
        first = shop.run("tap-mysql", "target-klar")

        assert first.code == 0, first.log
        before = {
            "1": {"101": 2, "102": 1},
            "2": {"103": 1},
            "3": {"104": 1, "105": 1},
            "4": {"106": 3},
            "5": {"107": 1},
            "7": {"108": 1},
        }
        assert pieces(klar) == before
        assert f"pieces {sum(sum(lines.values()) for lines in before.values())}," in first.log
        assert shell(tmp_path, erp, compare) == ""

        erp.execute(CHANGES)
        second = shop.run("tap-mysql", "target-klar")

        assert second.code == 0, second.log
        after = {
            "1": {"101": 1, "102": 1, "108": 1},
            "2": {"103": 1, "109": 4},
            "3": {},
            "4": {},
            "5": {"107": 1},
            "7": {},
            "9": {"110": 1},
        }
        assert pieces(klar) == after
        assert shell(tmp_path, erp, compare) == "5c5\n< 5 []\n---\n> 5 [('107', 1.0)]\n"

        weekly = shop.run("--full-refresh", "tap-mysql", "target-klar")

        assert weekly.code == 0, weekly.log
        assert pieces(klar) == {**after, "5": {}}
        assert shell(tmp_path, erp, compare) == ""


def test_a_first_run_that_failed_is_made_up_for_by_one_full_refresh(tmp_path: Path, erp: Server) -> None:
    with Sandbox() as klar:
        shop = pipeline(tmp_path, erp, klar)
        failed = shop.run("tap-mysql", "target-klar", TARGET_KLAR_API_TOKEN="mistyped")

        assert failed.code == 1
        assert klar.posts() == []
        assert shop.state(STATE) == {"currently_syncing": "klar-cogs"}

        next_run = shop.run("tap-mysql", "target-klar")

        assert next_run.code == 0, next_run.log
        assert klar.count("cogs") == 0, "the tap skips the stream, which is why the recipe asks for --full-refresh"

        refreshed = shop.run("--full-refresh", "tap-mysql", "target-klar")

        assert refreshed.code == 0, refreshed.log
        assert refreshed.lines("did not come") == []
        streams = ("refunds", "transaction_costs", "logistics_costs", "cogs")
        assert {stream: klar.count(stream) for stream in streams} == {
            "refunds": 1,
            "transaction_costs": 2,
            "logistics_costs": 1,
            "cogs": 2,
        }


def test_local_times_become_utc_once_the_server_has_time_zone_tables(tmp_path: Path, erp: Server) -> None:
    erp.execute("""
        CREATE OR REPLACE VIEW klar.refunds AS
        SELECT at, CONVERT_TZ(at, 'Europe/Berlin', 'UTC') AS created_at, now() AS updated_at
        FROM (SELECT timestamp'2026-05-04 09:30' AS at UNION ALL SELECT timestamp'2026-10-25 02:30') AS local;
        """)
    load, check = recipe(HEADING, "bash").splitlines()

    assert shell(tmp_path, erp, check).split() == ["count(*)", "2"]
    shell(tmp_path, erp, load)
    assert shell(tmp_path, erp, check).split() == ["count(*)", "0"]
    assert erp.execute("SELECT created_at FROM klar.refunds ORDER BY at;").splitlines() == [
        "2026-05-04 07:30:00",
        "2026-10-25 00:30:00",
    ]
