"""When a failed attempt is tried again, and how long after.

The rule of this file: pure arithmetic. Chance comes in as a number, elapsed time as seconds; nothing waits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, cast

from squidmesh.core.failure import Failure, type_name
from squidmesh.errors import GiveUp, RetryAfter

_FIELDS: Final = ("max_attempts", "initial", "factor", "maximum", "jitter", "give_up_on", "max_elapsed")


@dataclass(frozen=True, slots=True)
class Retry:
    """How a step's failed attempts are tried again.

    The delay after failed attempt k is ``min(initial * factor ** (k - 1), maximum)``, plus up to
    ``jitter`` (a fraction) of it. ``initial``, ``maximum`` and ``max_elapsed`` are seconds or a
    ``timedelta``; they are kept as seconds.

    ``max_attempts``: how many attempts in all, None without limit. ``give_up_on``: exception classes, or
    their names as ``module.QualName``, that are final at once. ``max_elapsed``: no attempt begins later
    than this after the first.

    Raises: ValueError, naming the field.
    """

    max_attempts: int | None = 3
    initial: float | timedelta = 1.0
    factor: float = 2.0
    maximum: float | timedelta = 60.0
    jitter: float = 0.1
    give_up_on: tuple[type[BaseException] | str, ...] = ()
    max_elapsed: float | timedelta | None = None

    def __post_init__(self) -> None:
        most: object = self.max_attempts
        if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 1):
            raise ValueError(f"Retry: max_attempts is a count from 1, or None without limit, not {most!r}")
        _set(self, "initial", _seconds("initial", self.initial))
        _set(self, "maximum", _seconds("maximum", self.maximum))
        if self.max_elapsed is not None:
            _set(self, "max_elapsed", _seconds("max_elapsed", self.max_elapsed))
        _set(self, "factor", _number("factor", self.factor, least=1.0))
        _set(self, "jitter", _number("jitter", self.jitter, least=0.0))
        _set(self, "give_up_on", exception_classes("Retry: give_up_on", self.give_up_on))

    def delay(self, attempt: int, luck: float) -> float:
        """Seconds from the end of failed attempt number ``attempt`` (from 1) to the next.

        ``luck`` is a random number in [0, 1), for the jitter.
        """
        initial, maximum = cast(float, self.initial), cast(float, self.maximum)
        if initial == 0.0:
            return 0.0
        try:
            plain = min(initial * self.factor ** (attempt - 1), maximum)
        except OverflowError:  # far beyond any maximum
            plain = maximum
        return plain * (1.0 + self.jitter * luck)

    def gives_up_on(self, error: BaseException | Failure) -> bool:
        """Whether ``give_up_on`` names the error's class or one of its bases (not its causes)."""
        return matches_any(error, self.give_up_on)

    def to_json(self) -> dict[str, Any]:
        """The policy as a JSON object; what is at its default is left out, classes are stored by name."""
        stored: dict[str, Any] = {}
        for name in _FIELDS:
            value = getattr(self, name)
            if value != getattr(_DEFAULT, name):
                stored[name] = value
        if self.give_up_on:
            stored["give_up_on"] = [c if isinstance(c, str) else type_name(c) for c in self.give_up_on]
        return stored

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Retry:
        """The policy that ``to_json`` gave; fields that it does not know are ignored."""
        known: dict[str, Any] = {name: stored[name] for name in _FIELDS if name in stored}
        known["give_up_on"] = tuple(stored.get("give_up_on", ()))
        return cls(**known)


def next_delay(
    policy: Retry | None, *, attempt: int, error: BaseException | Failure, elapsed: float, luck: float
) -> float | None:
    """Seconds until the next attempt, or None when this failure is final.

    ``attempt``: number of the attempt that failed, from 1. ``elapsed``: seconds since the first one began.
    ``luck``: a random number in [0, 1), for the jitter.

    Without a policy an error is final at attempt 1, except RetryAfter: a step that asks in so many words
    to be tried again is, as by ``Retry()``. RetryAfter sets the delay, and uses an attempt like any other
    error.
    """
    if _is(error, GiveUp):
        return None
    asked = _asked(error)
    if policy is None:
        if asked is None:
            return None
        policy = _DEFAULT
    if policy.max_attempts is not None and attempt >= policy.max_attempts:
        return None
    if policy.gives_up_on(error):
        return None
    delay = policy.delay(attempt, luck) if asked is None else asked
    if policy.max_elapsed is not None and elapsed + delay > cast(float, policy.max_elapsed):
        return None
    return delay


def matches_any(error: BaseException | Failure, classes: Iterable[type[BaseException] | str]) -> bool:
    """Whether the error is one of ``classes``, by class or by stored name; its causes do not count."""
    return any(_is(error, cls) for cls in classes)


def exception_classes(what: str, value: object) -> tuple[type[BaseException] | str, ...]:
    """A tuple of classes and names; a single one, or another collection of them, will do.

    Raises: ValueError, with ``what`` it was given to.
    """
    several: tuple[Any, ...] = tuple(value) if isinstance(value, tuple | list | set | frozenset) else (value,)
    for one in several:
        if not isinstance(one, str) and not (isinstance(one, type) and issubclass(one, BaseException)):
            raise ValueError(f"{what} takes exception classes or their names, not {one!r}")
    return several


def _asked(error: BaseException | Failure) -> float | None:
    """The delay that the step itself asked for."""
    match error:
        case RetryAfter(delay=delay):
            return delay
        case Failure(data={"delay": int() | float() as delay}) if _is(error, RetryAfter):
            return float(delay)
        case _:
            return None


def _is(error: BaseException | Failure, cls: type[BaseException] | str) -> bool:
    if isinstance(error, BaseException):
        if isinstance(cls, type):
            return isinstance(error, cls)
        return any(_same(cls, type_name(own)) for own in type(error).__mro__)
    wanted = cls if isinstance(cls, str) else type_name(cls)
    return Failure(type=error.type, message="", bases=error.bases).matches(wanted)


def _same(wanted: str, stored: str) -> bool:
    return stored == (wanted if "." in wanted else f"builtins.{wanted}")


def _set(policy: Retry, name: str, value: object) -> None:
    object.__setattr__(policy, name, value)  # frozen: only while it is made


def _number(name: str, value: object, least: float) -> float:
    number = _finite(value)
    if number is None or number < least:
        raise ValueError(f"Retry: {name} is a number of at least {least:g}, not {value!r}")
    return number


def _seconds(name: str, value: object) -> float:
    seconds = _finite(value.total_seconds() if isinstance(value, timedelta) else value)
    if seconds is None or seconds < 0:
        raise ValueError(f"Retry: {name} is a duration, zero or more seconds or a timedelta, not {value!r}")
    return seconds


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # an int beyond all floats
        return None
    return number if math.isfinite(number) else None


_DEFAULT: Final = Retry()
