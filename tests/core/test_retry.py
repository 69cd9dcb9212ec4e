import json
import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squidmesh.core.failure import Failure, describe
from squidmesh.core.retry import Retry, next_delay
from squidmesh.errors import GiveUp, RetryAfter


class Declined(ValueError):
    pass


def seconds(highest: float = 1e9) -> st.SearchStrategy[float]:
    return st.floats(0, highest, allow_nan=False)


POLICIES = st.builds(
    Retry,
    max_attempts=st.none() | st.integers(1, 10_000),
    initial=seconds(),
    factor=st.floats(1, 1e6),
    maximum=seconds(),
    jitter=st.floats(0, 10),
    give_up_on=st.sampled_from([(), (Declined,), ("shop.Declined", KeyError)]),
    max_elapsed=st.none() | seconds(),
)
ATTEMPTS = st.integers(1, 10**9)
LUCK = st.floats(0, 1, exclude_max=True)


def after(policy: Retry | None, attempt: int = 1, error: Any = None, elapsed: float = 0.0) -> float | None:
    return next_delay(policy, attempt=attempt, error=error or OSError("down"), elapsed=elapsed, luck=0.0)


def test_delays_grow_by_the_factor_up_to_the_maximum() -> None:
    policy = Retry(max_attempts=None, initial=1, factor=2, maximum=10, jitter=0)
    assert [policy.delay(k, 0.5) for k in range(1, 7)] == [1, 2, 4, 8, 10, 10]


def test_jitter_adds_up_to_its_fraction_of_the_delay() -> None:
    policy = Retry(initial=10, jitter=0.1)
    assert policy.delay(1, 0.0) == 10
    assert policy.delay(1, 0.5) == pytest.approx(10.5)


@given(POLICIES, ATTEMPTS, LUCK)
def test_a_delay_is_finite_and_never_over_the_maximum_with_its_jitter(policy: Retry, attempt: int, luck: float) -> None:
    delay = policy.delay(attempt, luck)
    assert math.isfinite(delay)
    assert 0 <= delay <= policy.maximum * (1 + policy.jitter)  # type: ignore[operator]


@given(POLICIES, st.integers(1, 10_000), LUCK)
def test_without_jitter_delays_never_shrink(policy: Retry, attempt: int, luck: float) -> None:
    assert policy.delay(attempt, 0.0) <= policy.delay(attempt + 1, 0.0)


@given(POLICIES, ATTEMPTS, seconds(), LUCK)
def test_a_retry_is_within_attempts_and_elapsed_time(policy: Retry, attempt: int, elapsed: float, luck: float) -> None:
    delay = next_delay(policy, attempt=attempt, error=OSError(), elapsed=elapsed, luck=luck)
    if delay is not None:
        assert policy.max_attempts is None or attempt < policy.max_attempts
        assert policy.max_elapsed is None or elapsed + delay <= policy.max_elapsed  # type: ignore[operator]
    elif policy.max_elapsed is None:
        assert policy.max_attempts is not None
        assert attempt >= policy.max_attempts


@given(POLICIES)
def test_a_policy_comes_back_from_its_json(policy: Retry) -> None:
    back = Retry.from_json(json.loads(json.dumps(policy.to_json())))
    names = tuple(c if isinstance(c, str) else f"{c.__module__}.{c.__qualname__}" for c in policy.give_up_on)
    assert back == Retry(
        policy.max_attempts,
        policy.initial,
        policy.factor,
        policy.maximum,
        policy.jitter,
        names,
        policy.max_elapsed,
    )


def test_the_default_policy_is_stored_as_nothing() -> None:
    assert Retry().to_json() == {}
    assert Retry.from_json({}) == Retry()


def test_a_stored_policy_may_have_fields_of_a_later_version() -> None:
    assert Retry.from_json({"max_attempts": None, "added_later": 1}) == Retry(max_attempts=None)


def test_attempts_are_counted_with_the_first() -> None:
    assert after(Retry(max_attempts=3), attempt=2) == 2.0
    assert after(Retry(max_attempts=3), attempt=3) is None


def test_without_attempts_limit_there_is_always_a_next() -> None:
    assert after(Retry(max_attempts=None), attempt=10**9) == 60.0


def test_without_a_policy_the_first_error_is_final() -> None:
    assert after(None) is None


def test_giving_up_is_final_whatever_the_policy() -> None:
    assert after(Retry(max_attempts=None), error=GiveUp("closed")) is None
    assert after(Retry(max_attempts=None), error=describe(GiveUp("closed"))) is None


def test_retry_after_sets_the_delay_and_uses_an_attempt() -> None:
    asked = RetryAfter(timedelta(minutes=5), "busy")
    assert after(Retry(max_attempts=2, maximum=1), error=asked) == 300.0
    assert after(Retry(max_attempts=2, maximum=1), error=describe(asked)) == 300.0
    assert after(Retry(max_attempts=2), attempt=2, error=asked) is None


def test_retry_after_without_a_policy_is_tried_again_as_by_the_default_one() -> None:
    assert after(None, error=RetryAfter(5)) == 5.0
    assert after(None, attempt=2, error=RetryAfter(5)) == 5.0
    assert after(None, attempt=3, error=RetryAfter(5)) is None


def test_an_error_to_give_up_on_is_known_by_its_class_and_its_bases() -> None:
    policy = Retry(give_up_on=(ValueError,))
    assert after(policy, error=Declined()) is None
    assert after(policy, error=OSError()) is not None


@pytest.mark.parametrize("named", [f"{__name__}.Declined", "builtins.ValueError", "ValueError"])
def test_an_error_to_give_up_on_may_be_named(named: str) -> None:
    policy = Retry(give_up_on=(named,))
    assert after(policy, error=Declined()) is None
    assert after(policy, error=describe(Declined())) is None
    assert after(policy, error=OSError()) is not None


def test_a_cause_is_not_what_failed() -> None:
    failure = Failure(type="shop.Down", message="", cause=describe(Declined()))
    assert after(Retry(give_up_on=(Declined,)), error=failure) is not None


def test_no_attempt_begins_after_the_elapsed_time() -> None:
    policy = Retry(max_attempts=None, initial=10, max_elapsed=timedelta(minutes=1))
    assert after(policy, elapsed=50.0) == 10.0
    assert after(policy, elapsed=50.1) is None
    assert after(policy, elapsed=0.0, error=RetryAfter(61)) is None


def test_durations_may_be_timedeltas() -> None:
    assert Retry(initial=timedelta(milliseconds=500), maximum=timedelta(hours=1)) == Retry(initial=0.5, maximum=3600)


def test_one_class_stands_for_a_tuple_of_it() -> None:
    assert Retry(give_up_on=Declined).give_up_on == (Declined,)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_attempts", 0),
        ("max_attempts", True),
        ("max_attempts", 2.5),
        ("initial", -1),
        ("initial", "1"),
        ("initial", math.nan),
        ("factor", 0.5),
        ("factor", math.inf),
        ("factor", 10**400),
        ("maximum", -1),
        ("maximum", None),
        ("jitter", -0.1),
        ("give_up_on", (1,)),
        ("give_up_on", (int,)),
        ("max_elapsed", timedelta(seconds=-1)),
    ],
)
def test_a_wrong_field_is_named(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"Retry: {field} "):
        Retry(**{field: value})


def test_a_policy_does_not_change() -> None:
    with pytest.raises(AttributeError):
        Retry().initial = 5  # type: ignore[misc]
