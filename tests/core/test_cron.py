"""The calendar: cron expressions in time zones, against another implementation."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from squidmesh import Cron, DefinitionError, Every
from squidmesh.core.commands import micros
from squidmesh.core.deterministic import instant

NEW_YORK = ZoneInfo("America/New_York")
MINUTE = timedelta(minutes=1)


def ticks(when: Cron | Every, after: datetime, count: int) -> list[datetime]:
    return [instant(at) for at in islice(when.ticks(0, micros("after", after)), count)]


def shown(when: Cron, after: datetime, count: int) -> list[str]:
    """The next ticks as a clock on the wall shows them."""
    return [at.astimezone(ZoneInfo(str(when.tz))).strftime("%m-%d %H:%M %Z") for at in ticks(when, after, count)]


# -------------------------------------------------------------------------------------------------- clocks that jump


def test_a_wall_time_that_occurs_twice_fires_once_at_the_first() -> None:
    when = Cron("30 1 * * *", tz="America/New_York")
    assert shown(when, datetime(2026, 10, 31, tzinfo=UTC), 4) == [
        "10-31 01:30 EDT", "11-01 01:30 EDT", "11-02 01:30 EST", "11-03 01:30 EST",
    ]  # fmt: skip
    assert ticks(when, datetime(2026, 11, 1, 5, 30, tzinfo=UTC), 1) == [datetime(2026, 11, 2, 6, 30, tzinfo=UTC)]


def test_every_time_of_an_hour_that_occurs_twice_fires_once() -> None:
    when = Cron("*/20 * * * *", tz="America/New_York")
    assert shown(when, datetime(2026, 11, 1, 4, 50, tzinfo=UTC), 5) == [
        "11-01 01:00 EDT", "11-01 01:20 EDT", "11-01 01:40 EDT", "11-01 02:00 EST", "11-01 02:20 EST",
    ]  # fmt: skip


def test_asked_from_within_the_second_of_two_hours_it_goes_on_after_it() -> None:
    when = Cron("*/20 * * * *", tz="America/New_York")
    within = datetime(2026, 11, 1, 1, 10, tzinfo=NEW_YORK, fold=1)
    assert shown(when, within, 1) == ["11-01 02:00 EST"]


def test_a_wall_time_that_does_not_occur_fires_at_the_next_instant_that_does() -> None:
    when = Cron("30 2 * * *", tz="America/New_York")
    assert shown(when, datetime(2026, 3, 7, tzinfo=UTC), 3) == ["03-07 02:30 EST", "03-08 03:00 EDT", "03-09 02:30 EDT"]


def test_several_times_that_do_not_occur_fire_once_together() -> None:
    when = Cron("*/15 * * * *", tz="America/New_York")
    assert shown(when, datetime(2026, 3, 8, 6, 30, tzinfo=UTC), 3) == [
        "03-08 01:45 EST", "03-08 03:00 EDT", "03-08 03:15 EDT",
    ]  # fmt: skip


def test_a_day_that_does_not_occur_fires_as_the_next_begins() -> None:
    when = Cron("0 12 * * *", tz="Pacific/Apia")
    found = ticks(when, datetime(2011, 12, 29, 12, tzinfo=UTC), 3)
    assert found == [
        datetime(2011, 12, 29, 22, tzinfo=UTC),
        datetime(2011, 12, 30, 10, tzinfo=UTC),  # midnight of the 31st: the 30th was left out
        datetime(2011, 12, 30, 22, tzinfo=UTC),
    ]


def test_midnight_that_does_not_occur_fires_at_one() -> None:
    when = Cron("@daily", tz="America/Sao_Paulo")
    assert shown(when, datetime(2018, 11, 3, 12, tzinfo=UTC), 2) == ["11-04 01:00 -02", "11-05 00:00 -02"]


# ------------------------------------------------------------------------------------------------------ the calendar


def test_leap_days_and_ends_of_months() -> None:
    after = datetime(2026, 1, 31, tzinfo=UTC)
    assert [at.year for at in ticks(Cron("0 0 29 2 *"), after, 3)] == [2028, 2032, 2036]
    assert [at.month for at in ticks(Cron("0 0 31 * *"), after, 5)] == [3, 5, 7, 8, 10]
    assert [at.day for at in ticks(Cron("0 0 L * *"), after, 3)] == [28, 31, 30]


def test_a_day_of_month_and_a_day_of_week_are_alternatives() -> None:
    assert [at.day for at in ticks(Cron("0 0 13 * 5"), datetime(2026, 1, 1, tzinfo=UTC), 4)] == [2, 9, 13, 16]
    starred = ticks(Cron("0 0 */10 * 5"), datetime(2026, 1, 1, tzinfo=UTC), 3)  # one that begins with a star is none
    assert [(at.month, at.day) for at in starred] == [(5, 1), (7, 31), (8, 21)]
    assert [at.day for at in ticks(Cron("0 0 31 2 mon"), datetime(2026, 2, 1, tzinfo=UTC), 2)] == [2, 9]


def test_a_span_of_one_is_that_one() -> None:
    after = datetime(2026, 5, 4, tzinfo=UTC)
    assert ticks(Cron("5-5 07-7/2 * * mon-Mon"), after, 3) == ticks(Cron("5 7 * * 1"), after, 3)
    assert [at.hour for at in ticks(Cron("0 22-2/2 * * *"), after, 4)] == [2, 22, 0, 2]


@pytest.mark.parametrize(
    ("alias", "same"),
    [
        ("@yearly", "0 0 1 1 *"), ("@annually", "0 0 1 1 *"), ("@monthly", "0 0 1 * *"), ("@weekly", "0 0 * * 0"),
        ("@daily", "0 0 * * *"), ("@midnight", "0 0 * * *"), ("@hourly", "0 * * * *"), ("@HOURLY", "0 * * * *"),
        ("0 9 * * mon-fri", "0 9 * * 1-5"), ("0  9 *   jan 7", "0 9 * 1 0"),
    ],
)  # fmt: skip
def test_aliases_and_names(alias: str, same: str) -> None:
    after = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
    assert ticks(Cron(alias), after, 10) == ticks(Cron(same), after, 10)


def test_a_tick_is_after_the_instant_asked_for_and_at_the_full_minute() -> None:
    nine = datetime(2026, 5, 4, 9, tzinfo=UTC)
    assert ticks(Cron("0 * * * *"), nine - timedelta(microseconds=1), 1) == [nine]
    assert ticks(Cron("0 * * * *"), nine, 1) == [nine + timedelta(hours=1)]
    assert ticks(Cron("0 * * * *"), nine + timedelta(microseconds=1), 1) == [nine + timedelta(hours=1)]


def test_the_zone_of_the_machine_does_not_matter() -> None:
    asked = (
        "from squidmesh import Cron; from itertools import islice; "
        "print(list(islice(Cron('30 2 * * *', tz='Europe/Sofia').ticks(0, 1774000000000000), 20)))"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", asked], env={**os.environ, "TZ": tz}, capture_output=True, text=True, check=True
        ).stdout
        for tz in ("UTC", "America/New_York", "Asia/Kolkata")
    }
    assert len(told) == 1


# ------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("0 0 31 2 *", "never fires"), ("0 0 30 2 *", "never fires"), ("0 0 31 4,6,9,11 *", "never fires"),
        ("* * * * * *", "6 fields"), ("0 0 1 1 * 0 2026", "7 fields"), ("* * * *", "4 fields"), ("", "0 fields"),
        ("R * * * *", "by chance"), ("0 r(1-3) * * *", "by chance"), ("H H * * *", "by chance"),
        ("60 * * * *", "out of range"), ("0 24 * * *", "out of range"), ("*/0 * * * *", "not acceptable"),
        ("x * * * *", "no cron expression"), ("@reboot", "no such alias"), (5, "takes an expression"),
    ],
)  # fmt: skip
def test_what_is_no_expression_or_never_fires_is_refused(expression: object, told: str) -> None:
    with pytest.raises(DefinitionError, match=told):
        Cron(expression)  # type: ignore[arg-type]


@pytest.mark.parametrize("tz", ["", "Nowhere/Land", "../etc/passwd", "/etc/localtime", "Europe", 5, None])
def test_what_is_no_time_zone_is_refused(tz: object) -> None:
    with pytest.raises(DefinitionError, match="time zone"):
        Cron("@daily", tz=tz)  # type: ignore[arg-type]


@pytest.mark.parametrize("interval", [0, -1, 0.000_1, float("nan"), float("inf"), "60", True, None])
def test_what_is_no_interval_is_refused(interval: object) -> None:
    with pytest.raises(DefinitionError, match="interval"):
        Every(interval)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------- intervals


@given(
    anchor=st.integers(-(10**16), 10**16),
    after=st.integers(-(10**16), 10**16),
    interval=st.floats(0.001, 10**6, allow_nan=False),
)
def test_intervals_lie_at_whole_multiples_from_their_anchor(anchor: int, after: int, interval: float) -> None:
    when = Every(interval)
    found = list(islice(when.ticks(anchor, after), 3))
    assert found[0] - when.micros <= after < found[0]
    assert [(at - anchor) % when.micros for at in found] == [0, 0, 0]
    assert found[2] - found[1] == found[1] - found[0] == when.micros


# ---------------------------------------------------------------------------------- against another implementation

ZONES = (
    "UTC", "Europe/Sofia", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Pacific/Apia",
    "Africa/Casablanca", "Asia/Kathmandu", "Europe/Dublin", "America/Havana", "Antarctica/Troll",
)  # fmt: skip


def field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    span = st.tuples(number, number).map(lambda ends: f"{min(ends)}-{max(ends)}")
    real = span.filter(lambda span: len({*span.split("-")}) == 2)  # the other one takes 5-5/2 for 5/2
    stepped = st.tuples(st.one_of(st.just("*"), real), st.integers(1, high)).map(lambda parts: f"{parts[0]}/{parts[1]}")
    several = st.lists(number, min_size=1, max_size=3).map(lambda some: ",".join(map(str, some)))
    return st.one_of(st.just("*"), number.map(str), span, stepped, several)


expressions = st.tuples(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 6)).map(" ".join)


def utc_of(wall: datetime, zone: ZoneInfo) -> datetime:
    """The instant of a wall time, found by looking at the clock every minute."""
    at = wall.replace(tzinfo=UTC) - timedelta(hours=26)
    while True:
        on_the_wall = at.astimezone(zone).replace(tzinfo=None)
        if on_the_wall >= wall:
            return at
        at += min(MINUTE, wall - on_the_wall)


courses = {
    "expression": expressions,
    "tz": st.sampled_from(ZONES),
    "after": st.integers(0, 40 * 366 * 24 * 60).map(
        lambda minutes: datetime(2000, 1, 1, tzinfo=UTC) + minutes * MINUTE
    ),
}


@settings(max_examples=30, deadline=None)
@given(**courses)
@example("5-5 7-7 * * 0-0", "UTC", datetime(2026, 3, 28, tzinfo=UTC))
@example("30 2 * * *", "Europe/Sofia", datetime(2026, 3, 28, tzinfo=UTC))
@example("30 3 * * *", "Europe/Sofia", datetime(2026, 10, 24, tzinfo=UTC))
@example("*/10 * * * *", "Australia/Lord_Howe", datetime(2026, 4, 4, 14, 20, tzinfo=UTC))
@example("0 0 * * *", "America/Havana", datetime(2026, 3, 7, tzinfo=UTC))
@example("15 1,2 * * *", "Antarctica/Troll", datetime(2026, 3, 28, tzinfo=UTC))
def test_it_agrees_with_another_calendar(expression: str, tz: str, after: datetime) -> None:
    agrees(expression, tz, after)


@pytest.mark.slow
@settings(max_examples=1_000, deadline=None)
@given(**courses)
def test_a_thousand_times_it_agrees_with_another_calendar(expression: str, tz: str, after: datetime) -> None:
    agrees(expression, tz, after)


def agrees(expression: str, tz: str, after: datetime) -> None:
    zone = ZoneInfo(tz)
    try:
        walls = CronSim(expression, after.astimezone(zone).replace(tzinfo=None) - timedelta(hours=26))
        several = list(islice(walls, 100))
        assume(several)
    except CronSimError:
        return  # it refuses more: steps that are larger than the field
    try:
        when = Cron(expression, tz=tz)
    except DefinitionError as never:
        pytest.fail(str(never))
    wanted: list[datetime] = []
    for wall in several:
        at = utc_of(wall, zone)
        if at > after and at not in wanted:
            wanted.append(at)
        if len(wanted) == 3:
            break
    assert ticks(when, after, len(wanted)) == wanted
