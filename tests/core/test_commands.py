"""Commands check what they are given when they are made, and do nothing by themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from squidmesh.core.calls import NO_OPTIONS, Call, Options
from squidmesh.core.commands import (
    FanOut,
    FanOutCommand,
    Gather,
    Sleep,
    fan_out,
    gather,
    log,
    micros,
    publish,
    race,
    sleep,
    sleep_until,
    spawn,
)
from squidmesh.core.failure import Failure
from squidmesh.core.retry import Retry
from squidmesh.core.workflow import Flow, workflow
from squidmesh.errors import DefinitionError, InvalidPayload, PayloadError
from tests.core.shop import charge, ship

# ------------------------------------------------------------------------------------------------------ calls


def test_a_call_binds_and_validates_its_arguments_and_runs_nothing() -> None:
    call = charge(cents=5)
    assert isinstance(call, Call)
    assert call.input == {"cents": 5}
    assert repr(call) == "<Call of charge>"


@pytest.mark.parametrize(
    ("args", "kwargs", "named"),
    [((), {}, "cents"), (("many",), {}, "cents"), ((1, 2), {}, "argument 2"), ((1,), {"tip": 1}, "tip")],
    ids=["missing", "wrong", "too many", "unknown"],
)
def test_a_call_that_does_not_fit_names_each_argument(args: Any, kwargs: Any, named: str) -> None:
    with pytest.raises(InvalidPayload, match="step 'charge'") as raised:
        charge(*args, **kwargs)
    assert list(raised.value.errors) == [named]
    assert isinstance(raised.value, ValueError)


def test_options_override_for_one_use_and_add_up() -> None:
    call = charge(1)
    changed = call.options(timeout=timedelta(minutes=1), queue="slow").options(priority=3, retry=Retry(max_attempts=2))
    assert call.overrides == NO_OPTIONS
    assert changed.overrides == Options(retry=Retry(max_attempts=2), timeout=60.0, queue="slow", priority=3)
    assert changed.input == {"cents": 1}


@pytest.mark.parametrize(
    "options",
    [Options(), Options(timeout=1.5, queue="q", priority=0, key="k", detached=False), Options(retry=Retry(factor=3))],
)
def test_options_are_stored_and_read_back(options: Options) -> None:
    assert Options.from_json(options.to_json()) == options


def test_stored_options_of_a_later_release_are_ignored() -> None:
    assert Options.from_json({"timeout": 3, "colour": "red"}) == Options(timeout=3)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"timeout": 0}, "timeout must be above zero"),
        ({"timeout": timedelta(seconds=-1)}, "timeout must be above zero"),
        ({"queue": ""}, "queue is the name of a queue"),
        ({"queue": 3}, "queue is the name of a queue"),
        ({"queue": "a\0b"}, "queue is the name of a queue"),
        ({"retry": 3}, r"retry takes Retry\(max_attempts=…\), not 3"),
        ({"priority": "high"}, "priority is a whole number"),
        ({"priority": 2**40}, "priority is a whole number"),
        ({"key": "k"}, "are for workflows; `charge` is a step"),
        ({"detached": True}, "are for workflows; `charge` is a step"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: Any, told: str) -> None:
    with pytest.raises(DefinitionError, match=told):
        charge(1).options(**options)


def test_a_workflow_takes_a_key_and_may_be_detached() -> None:
    @workflow
    def child() -> Flow[None]:
        yield from sleep(1)

    assert child().options(key="k", detached=True).overrides == Options(key="k", detached=True)


# ------------------------------------------------------------------------------------------------------- time


@pytest.mark.parametrize(
    ("duration", "seconds"), [(1, 1.0), (0.5, 0.5), (timedelta(days=1), 86_400.0), (0, 0.0), (-3, -3.0)]
)
def test_a_duration_is_a_number_of_seconds_or_a_timedelta(duration: Any, seconds: float) -> None:
    command = sleep(duration)
    assert isinstance(command, Sleep)
    assert command.duration == seconds


@pytest.mark.parametrize("duration", ["1", None, True])
def test_another_kind_of_duration_is_refused(duration: Any) -> None:
    with pytest.raises(TypeError, match="duration is a number of seconds or a timedelta"):
        sleep(duration)


@pytest.mark.parametrize("duration", [float("nan"), float("inf"), 1e30, timedelta.max])
def test_a_duration_beyond_all_calendars_is_refused(duration: Any) -> None:
    with pytest.raises(ValueError, match="duration is a number of seconds"):
        sleep(duration)


def test_an_instant_must_be_aware() -> None:
    with pytest.raises(ValueError, match="must be aware"):
        sleep_until(datetime(2030, 1, 1))  # noqa: DTZ001 - naive on purpose
    with pytest.raises(TypeError, match="an aware datetime"):
        sleep_until(3)  # type: ignore[arg-type]


def test_an_instant_is_microseconds_since_the_epoch_in_any_zone() -> None:
    here = datetime(2030, 1, 1, 2, 0, 0, 1, tzinfo=timezone(timedelta(hours=2)))
    assert micros("when", here) == micros("when", datetime(2030, 1, 1, 0, 0, 0, 1, tzinfo=UTC)) == 1_893_456_000_000_001
    late = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    assert micros("when", late) % 1_000_000 == 999_999


# ----------------------------------------------------------------------------------------------------- groups


def test_gather_takes_commands_or_one_list_of_them() -> None:
    tuple_form, list_form = gather(charge(1), sleep(1)), gather([charge(1), charge(2)])
    assert isinstance(tuple_form, Gather)
    assert isinstance(list_form, Gather)
    assert (tuple_form.as_list, list_form.as_list) == (False, True)


@pytest.mark.parametrize("make", [lambda: gather(charge(1), 3), lambda: race(3), lambda: fan_out(lambda n: n, [1])])  # type: ignore[arg-type, call-overload, return-value]
def test_what_is_no_command_is_refused_by_a_group(make: Any) -> None:
    with pytest.raises(DefinitionError, match="takes calls and other commands; member"):
        make()


def test_a_race_of_nobody_is_refused() -> None:
    with pytest.raises(DefinitionError, match="at least one"):
        race()


@pytest.mark.parametrize("given", [sleep(1), 3, charge])
def test_only_calls_are_spawned(given: Any) -> None:
    with pytest.raises(DefinitionError, match=r"spawn\(\) takes the call of a step"):
        spawn(given)


@pytest.mark.parametrize("items", [{1, 2}, frozenset({1}), {"a": 1}, iter([1]), (n for n in range(3))])
def test_fan_out_refuses_what_has_no_order_of_its_own(items: Any) -> None:
    with pytest.raises(DefinitionError, match=r"write sorted\(items\) or list\(items\)"):
        fan_out(charge, items)


def test_fan_out_takes_a_step_a_workflow_or_a_function_that_builds_a_call() -> None:
    by_step, by_function = fan_out(charge, (1, 2)), fan_out(lambda n: ship(str(n)), range(2))
    assert isinstance(by_step, FanOutCommand)
    assert isinstance(by_function, FanOutCommand)
    assert [m.input for m in by_function.members if isinstance(m, Call)] == [{"order": "0"}, {"order": "1"}]


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "2"])
def test_a_limit_is_a_count_from_one(limit: Any) -> None:
    with pytest.raises(DefinitionError, match="fan_out: limit"):
        fan_out(charge, [1], limit=limit)


@pytest.mark.parametrize("tolerate", [-1, 1.5, True])
def test_what_is_tolerated_is_a_count_or_a_fraction(tolerate: Any) -> None:
    with pytest.raises(DefinitionError, match="fan_out: tolerate is a count, or a fraction below 1"):
        fan_out(charge, [1], tolerate=tolerate)


def test_a_fan_out_gives_results_and_failures_by_index() -> None:
    failure = Failure(type="builtins.ValueError", message="no")
    found = FanOut({2: "c", 0: "a"}, {1: failure})
    assert found.values() == list(found) == ["a", "c"]
    assert (len(found), found.failures[1]) == (3, failure)
    assert repr(found) == "<FanOut: 2 results, 1 failures>"


# ------------------------------------------------------------------------------------------------------ notes


def test_a_published_value_must_have_a_json_form_when_it_is_published() -> None:
    with pytest.raises(PayloadError, match="a published value"):
        publish("x", object())
    with pytest.raises(DefinitionError, match="takes a name first"):
        publish("", 1)


def test_a_log_line_has_a_known_level() -> None:
    with pytest.raises(DefinitionError, match="level is debug, info, warning"):
        log("x", level="loud")
