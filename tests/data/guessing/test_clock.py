"""Times as logs write them: read by the very expression that reads them in a log."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from clickflow.data.guessing.clock import clocks, positions
from clickflow.data.guessing.profile import Table

MOMENTS = [datetime(2023, 11, 1, 7, 30, tzinfo=UTC) + timedelta(hours=7 * number, seconds=number) for number in range(60)]


def first(values, name="time"):
    found = clocks(Table(pl.DataFrame({name: values})))
    return (found[0].unit, found[0].text_format) if found else None


@pytest.mark.parametrize(("unit", "ticks"), [("seconds", 1), ("milliseconds", 10**3), ("microseconds", 10**6)])
def test_the_unit_of_integers_follows_from_their_size(unit, ticks):
    values = [int(one.timestamp() * ticks) for one in MOMENTS]
    assert first(values) == (unit, None)
    assert first(list(map(str, values))) == (unit, None)
    assert first([value + 0.25 for value in values]) == (unit, None)


@pytest.mark.parametrize("text_format", ["%Y%m%d", "%y%m%d%H", "%Y%m%d%H", "%Y%m%d%H%M", "%Y%m%d%H%M%S", "%y%m%d"])
def test_dates_that_are_integers_are_no_seconds(text_format):
    values = [int(one.strftime(text_format)) for one in MOMENTS]
    assert first(values) == ("seconds", text_format)
    assert first(list(map(str, values))) == ("seconds", text_format)


@pytest.mark.parametrize(
    "text_format", ["%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.%f+02:00"]
)
def test_iso_needs_no_format(text_format):
    assert first([one.strftime(text_format) for one in MOMENTS]) == ("seconds", None)


@pytest.mark.parametrize(
    "text_format",
    [
        "%d.%m.%Y %H:%M",
        "%d/%m/%Y %H:%M:%S",
        "%m/%d/%Y %I:%M:%S %p",
        "%Y/%m/%d %H:%M:%S",
        "%d %b %Y",
        "%b %d, %Y",
        "%m %d, %Y",
        "%Y%m%d %H:%M:%S",
    ],
)
def test_other_texts_get_their_format(text_format):
    assert first([one.strftime(text_format) for one in MOMENTS]) == ("seconds", text_format)


def test_dates_and_date_times_are_times_under_any_name():
    assert first(MOMENTS, "x") == ("seconds", None)
    assert first([date(2024, 5, one) for one in range(1, 9)], "x") == ("seconds", None)


def test_a_date_that_reads_both_ways_is_the_narrower_one_and_a_question():
    [clock] = clocks(Table(pl.DataFrame({"day": [f"11/{day:02}/2019" for day in range(6, 13)]})))
    assert clock.text_format == "%m/%d/%Y"
    assert clock.question == "timestamp_format: %m/%d/%Y or %d/%m/%Y? Every date can be read as both"


@pytest.mark.parametrize("values", [[1, 2, 3], ["a", "b"], [0.5, 1.5], ["K-1", "K-2"], [True, False], [None, None], [[1], [2]]])
def test_other_values_are_no_times(values):
    assert first(values) is None


def test_small_integers_named_as_a_time_are_positions():
    assert clocks(table := Table(pl.DataFrame({"timestamp": [5, 1, 2, 9]}))) == []
    assert [clock.unit for clock in positions(table)] == ["order"]


def test_seconds_within_an_hour_are_no_dates():
    assert first([1_512_111_000 + number for number in range(60)]) == ("seconds", None)


def test_of_two_times_the_finer_one_is_taken():
    table = Table(pl.DataFrame({"date": [one.date() for one in MOMENTS], "time_ms": [int(one.timestamp() * 1000) for one in MOMENTS]}))
    assert [clock.column.name for clock in clocks(table)] == ["time_ms", "date"]
