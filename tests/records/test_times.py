"""Times as sources write them: which are read, as which second, and which are not."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thoroughness import size

from target_klar.records.times import is_empty_time, parse_time

NEW_YEAR = 1704067200  # 2024-01-01T00:00:00Z
TEN = NEW_YEAR + 36000

ZONED = {
    "ISO 8601": ("2024-01-01T10:00:00Z", TEN),
    "milliseconds": ("2024-01-01T10:00:00.999Z", TEN),
    "nanoseconds": ("2024-01-01T10:00:00.123456789Z", TEN),
    "a comma before the fraction": ("2024-01-01T10:00:00,5+00:00", TEN),
    "no seconds": ("2024-01-01T10:00Z", TEN),
    "lower case": ("2024-01-01t10:00:00z", TEN),
    "ISO 8601 basic": ("20240101T100000Z", TEN),
    "east": ("2024-01-01T10:00:00+05:30", TEN - 19800),
    "west": ("2024-01-01T10:00:00-08:00", TEN + 28800),
    "PostgreSQL": ("2024-01-01 10:00:00+00", TEN),
    "PostgreSQL before standard time": ("2024-01-01 10:00:00+00:53:28", TEN - 3208),
    "Snowflake": ("2024-01-01 10:00:00.000 -0800", TEN + 28800),
    "BigQuery": ("2024-01-01 10:00:00.123456 UTC", TEN),
    "a leap second": ("2016-12-31T23:59:60Z", 1483228800),
    "blanks around": (" 2024-01-01T10:00:00Z\n", TEN),
    "ten digits": ("1704103200", TEN),
    "nine digits": ("999999999", 999999999),
    "digits and a fraction": ("1704103200.000000", TEN),
    "datetime": (datetime(2024, 1, 1, 12, 0, 0, 999999, tzinfo=timezone(timedelta(hours=2))), TEN),
    "before 1970": ("1969-12-31T23:59:59Z", -1),
    "datetime before 1970": (datetime(1969, 12, 31, 23, 59, 59, 500000, tzinfo=UTC), -1),
}
UNZONED = {
    "ISO 8601": ("2024-01-01T10:00:00", TEN),
    "MySQL": ("2024-01-01 10:00:00", TEN),
    "a fraction": ("2024-01-01 10:00:00.123456", TEN),
    "date": ("2024-01-01", NEW_YEAR),
    "a leap day": ("2024-02-29", NEW_YEAR + 59 * 86400),
    "datetime": (datetime(2024, 1, 1, 10, 0, 0, 5), TEN),  # noqa: DTZ001 - the zone that is missing is the case
    "date object": (date(2024, 1, 1), NEW_YEAR),
}
UNREADABLE = {
    "a German date": "01.02.2024",
    "an American date": "01/02/2024",
    "a date without separators": "20240101",
    "milliseconds": "1704103200000",
    "a day number": "45292",
    "a month": "2024-01",
    "no such month": "2024-13-01",
    "no such day": "2023-02-29",
    "no such hour": "2024-01-01T24:00:01Z",
    "no such minute": "2024-01-01T10:60:00Z",
    "no such offset": "2024-01-01T10:00:00+24:00",
    "a zone by its name": "2024-01-01 10:00:00 CET",
    "a week": "2024-W01-1",
    "mixed forms": "2024-01-01T100000Z",
    "digits of another script": "٢٠٢٤-٠١-٠١",  # noqa: RUF001 - the case
    "infinity": "infinity",
    "an exponent": "1.7e9",
    "a sign": "-1704103200",
    "words": "yesterday",
    "more after it": "2024-01-01T10:00:00Z?",
    "nothing": "",
}


@pytest.mark.parametrize(("written", "seconds"), ZONED.values(), ids=ZONED)
def test_a_time_with_its_zone_is_read_as_whole_seconds(written: object, seconds: object) -> None:
    assert parse_time(written) == (seconds, False)


@pytest.mark.parametrize(("written", "seconds"), UNZONED.values(), ids=UNZONED)
def test_a_time_without_a_zone_is_read_as_utc_and_says_so(written: object, seconds: object) -> None:
    assert parse_time(written) == (seconds, True)


@pytest.mark.parametrize("written", UNREADABLE.values(), ids=UNREADABLE)
def test_text_that_is_not_clearly_a_time_is_not_read(written: object) -> None:
    assert parse_time(written) is None


@pytest.mark.parametrize("value", [None, True, 1704103200, b"2024-01-01", [], {}], ids=repr)
def test_only_text_and_dates_are_read(value: object) -> None:
    assert parse_time(value) is None


@pytest.mark.parametrize(
    "written",
    [
        *("", " ", "0", "0000", "0000000000", "0.0", "0."),
        *("0000-00-00", "0000-00-00 00:00", "0000-00-00 00:00:00", "0000-00-00 00:00:00.000000"),
        *("0000-00-00T00:00:00Z", "0000-00-00 00:00:00+00:00"),
    ],
)
def test_empty_text_zeros_and_zero_dates_say_that_there_is_no_time(written: str) -> None:
    assert is_empty_time(written)


@pytest.mark.parametrize("written", ["1", "0000-00-01", "0000-00-00 00:00:01", "null", "-", ".", "0,0"])
def test_other_text_does_not_say_that_there_is_no_time(written: str) -> None:
    assert not is_empty_time(written)


HOLES = st.sampled_from(["2024-01-31T10:00:00", "2024-02-30 23:59:59", "2024-01-31 24:00:00", "0000-00-00 00:00:00"])
ZONES = st.sampled_from(
    ["", "Z", "z", "+01", " +0100", "-08:00", "+00:53:28", "+24:00", "+1", " UTC", "CET", "+01:0", "Z "]
)
FRACTIONS = st.sampled_from(["", ".", ".5", ",123456789", ".1a", "..5", ".\u0661"])
near_times = st.tuples(HOLES, FRACTIONS, ZONES).map("".join)


def changed(text: str, place: int, character: str) -> str:
    return text[:place] + character + text[place + 1 :]


@settings(max_examples=size(200, 8_000), deadline=None)
@given(near_times | st.builds(changed, near_times, st.integers(0, 30), st.sampled_from([*"-:T tWZ+0129., ", "\u0662"])))
def test_the_quick_way_reads_no_time_that_the_pattern_of_all_forms_does_not(text: str) -> None:
    # A blank in front, which times may have, keeps the quick way from reading it.
    assert parse_time(text) == parse_time(" " + text)
