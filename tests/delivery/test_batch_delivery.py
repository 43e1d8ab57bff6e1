"""The first request of a stream, counted: against servers that count in their own way."""

from __future__ import annotations

import json
from time import monotonic, sleep
from typing import TYPE_CHECKING

import msgspec
import pytest
from byte_server import Reply, Request, serve
from clients import answer, client_of
from klar_objects import REFUNDS, refund

from target_klar.delivery.batch_delivery import BatchDelivery, DeliveryReport

if TYPE_CHECKING:
    from collections.abc import Mapping

WAY_OUT = (
    "After a run that was killed, run again. Else check `refunds_api_version`, and that nothing else loads into this "
    "data source at the same time. `status_timeout_seconds: 0` turns the comparison off."
)


def load(
    counted: str,
    refused: list[str],
    *,
    status_timeout: float = 5,
    time: str = "2026-01-01T00:00:0{}Z",
    before: dict[str, str] | None = None,
    frozen: float = 0,
) -> tuple[DeliveryReport, list[list[str]]]:
    """Load three refunds into a Klar that answers 207 where it refuses some, and then counts as it is told.

    For so many seconds the first reading of the load is `frozen`, and shows what was before.
    """
    posts: list[list[str]] = []
    pauses = [frozen] if frozen else []

    def reply(request: Request) -> Reply:
        if request.head.startswith(b"GET"):
            figures: Mapping[str, str] = {"lastBatchCount": counted, "lastSuccess": time.format(len(posts))}
            if before is not None and not posts:
                figures = before
            if posts and pauses:
                sleep(pauses.pop())
                figures = {"lastBatchCount": counted, "lastSuccess": time.format(0)}
            return Reply(answer("200 OK", json.dumps(figures).encode()))
        ids = [sent["id"] for sent in json.loads(request.body)]
        posts.append(ids)
        failed = [name for name in ids if name in refused]
        said = json.dumps({"status": "PARTIALLY_VALID", "failedOrderIds": failed}).encode()
        if failed == ids:
            return Reply(answer("400 Bad Request", b'{"message": "no"}'))
        return Reply(answer("207 Multi-Status", said) if failed else answer("201 Created"))

    delivery = BatchDelivery(
        contract=REFUNDS,
        objects=[msgspec.Raw(msgspec.json.encode(refund(key))) for key in ("R-1", "R-2", "R-3")],
        remaining=100,
        verified=False,
        status_timeout=status_timeout,
        dry_run=False,
    )
    with serve(choose=reply) as (url, _):
        return delivery.run(client_of(url)), posts


def test_a_reading_that_took_longer_than_the_timeout_is_followed_by_one_more_and_is_no_longer_lag() -> None:
    """As where the process stood still: Klar's status has had all the time."""
    report, _ = load("3", [], status_timeout=0.5, frozen=1.5)
    assert report.error is None
    assert report.confirmed
    assert 0 < report.lag <= 0.5


@pytest.mark.parametrize("counted", ["2", "3"])
def test_after_a_207_klar_may_count_what_was_sent_or_what_it_accepted(counted: str) -> None:
    report, posts = load(counted, ["R-2"])
    assert report.error is None
    assert report.bisection is not None
    assert (report.accepted, set(report.bisection.rejected)) == ({0, 2}, {1})
    assert posts == [["R-1", "R-2", "R-3"], ["R-2"]]


@pytest.mark.parametrize("counted", ["0", "1", "4", "3.0", "many"])
def test_any_other_count_after_a_207_stops_and_the_message_names_both_and_the_way_out(counted: str) -> None:
    report, posts = load(counted, ["R-2"], status_timeout=0.5)
    assert str(report.error) == (
        f"refunds: Klar accepted the first request, but its status counts {counted}, not the 3 sent or the 2 accepted, "
        f"so it may have misread them. {WAY_OUT}"
    )
    assert len(posts) == 1


@pytest.mark.parametrize("counted", ["0", "2", "4"])
def test_after_an_acceptance_only_the_number_sent_will_do(counted: str) -> None:
    report, posts = load(counted, [], status_timeout=0.5)
    assert str(report.error) == (
        f"refunds: Klar accepted the first request, but its status counts {counted}, not the 3 sent, so it may have "
        f"misread them. {WAY_OUT}"
    )
    assert len(posts) == 1


def test_a_count_of_nothing_is_told_at_once_since_no_other_load_has_it() -> None:
    began = monotonic()
    report, _ = load("0", [], status_timeout=300)
    assert "counts 0, not the 3 sent" in str(report.error)
    assert monotonic() - began < 30


@pytest.mark.parametrize("refused", [[], ["R-2"]])
def test_the_way_out_compares_no_count(refused: list[str]) -> None:
    assert load("77", refused, status_timeout=0)[0].error is None


@pytest.mark.parametrize("time", ["17000000{}", "Thu, 01 Jan 2026 00:00:0{} GMT"])
def test_a_status_whose_time_cannot_be_read_is_said_to_be_so_at_once(time: str) -> None:
    report, posts = load("3", [], status_timeout=300, time=time, before={})
    assert str(report.error).startswith(
        f"refunds: Klar's status has a `lastSuccess` that is no time in ISO 8601 ({time.format(1)}), so it cannot"
    )
    assert len(posts) == 1


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ({"lastSuccess": "n/a"}, "`lastSuccess` that is no time in ISO 8601 (n/a)"),
        ({"lastSuccess": "1764313200000"}, "`lastSuccess` that is no time in ISO 8601 (1764313200000)"),
        ({"error": "try later"}, "Unexpected response from"),
    ],
)
def test_nothing_is_sent_after_a_status_that_does_not_say_which_load_is_the_newest(
    before: dict[str, str], said: str
) -> None:
    """Or the load of an earlier run, of as many records, would be taken for one of this run."""
    report, posts = load("3", [], before=before)
    assert said in str(report.error)
    assert posts == []


@pytest.mark.parametrize("before", [{}, {"total": "0"}, {"lastSuccess": ""}])
def test_a_data_source_without_any_load_has_a_status_without_a_time(before: dict[str, str]) -> None:
    report, posts = load("3", [], before=before)
    assert (report.error, len(posts)) == (None, 1)
