"""What is known of a step's effect, and what its handlers answer about it.

The rule of this file: values only. Who is asked, and in which order, is settling.py's; how it is undone, rollback.py's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from squidmesh.core.calls import seconds
from squidmesh.core.retry import matches_any
from squidmesh.errors import Cancelled, EffectUnknown, PartialEffect

if TYPE_CHECKING:
    from squidmesh.core.step import Step

T_co = TypeVar("T_co", covariant=True)


class Effect(StrEnum):
    """How much of a failed step's effect may be there."""

    NONE = "none"  # the step says that it did not happen
    PARTIAL = "partial"
    UNKNOWN = "unknown"
    APPLIED = "applied"  # it happened, and there is no result to tell of it


_BADNESS = (Effect.NONE, Effect.PARTIAL, Effect.UNKNOWN, Effect.APPLIED)


def worse(one: Effect, other: Effect) -> Effect:
    """The less certain of two effects."""
    return max(one, other, key=_BADNESS.index)


def after(before: Effect, latest: Effect, *, idempotent: bool) -> Effect:
    """What several attempts leave: the worst, unless a later attempt under the same key gave a definite answer."""
    if idempotent and latest in (Effect.NONE, Effect.PARTIAL):
        return latest
    return worse(before, latest)


_NO_ANSWER: Final = (
    TimeoutError, ConnectionError, Cancelled, EffectUnknown,
    "httpx.TransportError", "asyncio.exceptions.CancelledError",
)  # fmt: skip
"""What a step raises that has asked for something and heard no answer; by name where the core may not import it."""


def effect_of(error: BaseException, step: Step[..., Any]) -> Effect:
    """What an attempt may have left that raised this. Its class and that one's bases tell, not what it came from."""
    if step.pure or step.transactional:
        return Effect.NONE
    if matches_any(error, _NO_ANSWER) or matches_any(error, step.unknown_on):
        return Effect.UNKNOWN
    return Effect.PARTIAL if isinstance(error, PartialEffect) else Effect.NONE


class Trait(StrEnum):
    """What the code said of a step when it was scheduled, as history records it."""

    UNDO = "undo"  # it has an undo
    PURE = "pure"
    IRREVERSIBLE = "irreversible"
    PIVOT = "pivot"
    TRANSACTIONAL = "transactional"
    ONCE = "once"  # not idempotent
    ATTEMPTED = "attempted"  # undone also where only an attempt is known of
    GROUP = "group"  # a transaction of several steps


# ------------------------------------------------------------------------------------- what a compensate returns


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Return from a compensate: the step fails with its own failure, and nothing of it is left."""

    note: str = ""


@dataclass(frozen=True, slots=True)
class RetryStep:
    """Return from a compensate: a fresh cycle of attempts, ``after`` so many seconds (or a timedelta)."""

    after: float | timedelta = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "after", max(0.0, seconds("RetryStep: after", self.after)))


# ---------------------------------------------------------------------------------------- what an undo returns


@dataclass(frozen=True, slots=True)
class NotNeeded:
    """Return from an undo: there was nothing to undo; the entry is undone, with this note."""

    note: str = ""


# ------------------------------------------------------------------ what a check, or a person, says of an effect


@dataclass(frozen=True, slots=True)
class Applied(Generic[T_co]):
    """The effect happened; ``value`` is the step's result."""

    value: T_co = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class NotApplied:
    """The effect did not happen: the step has failed, and nothing of it is left."""


@dataclass(frozen=True, slots=True)
class StillUnknown:
    """Return from a check: it cannot tell either."""


Verdict = Applied[Any] | NotApplied | StillUnknown


def told(traits: Sequence[str], trait: Trait) -> bool:
    return trait.value in traits
