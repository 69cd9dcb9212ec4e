"""The facts of a run's history: one frozen class per kind, past tense.

The rule of this file: an event is a value. ``seq`` (its number in the history, from 1) and ``at`` (microseconds since
the epoch) are 0 until it is recorded. The stored kind is the class name; a field at its default is not stored.
Payloads are JSON values as payloads.py makes them. The seams of later concerns (undo, gates, children) are new
classes here; nothing that is recorded is ever changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from squidmesh.core.failure import Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    seq: int = 0
    at: int = 0

    @property
    def kind(self) -> str:
        return type(self).__name__


# -------------------------------------------------------------------------------------------------------- run


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    workflow: str
    version: int
    input: dict[str, Any]
    interpreter_version: int
    key: str | None = None
    queue: str = "default"
    priority: int = 0
    attributes: dict[str, Any] | None = None
    parent: str | None = None
    start_at: int | None = None
    deadline: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunBlocked(Event):
    reason: str
    message: str
    file: str | None = None
    line: int | None = None
    function: str | None = None
    position: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunUnblocked(Event):
    code: str | None = None
    actor: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequested(Event):
    actor: str | None = None
    note: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCompleted(Event):
    result: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFailed(Event):
    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCancelled(Event):
    actor: str | None = None
    note: str | None = None


# ------------------------------------------------------------------------------------------------------- step


@dataclass(frozen=True, slots=True, kw_only=True)
class StepScheduled(Event):
    position: str
    step: str
    input: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    elsewhere: bool = False  # a task row has it; else the holder of the run drives it


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarted(Event):
    position: str
    number: int = 1
    worker: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSaved(Event):
    position: str
    value: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFailed(Event):
    position: str
    number: int = 1
    failure: Failure
    retry_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptLost(Event):
    position: str
    number: int = 1
    worker: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCompleted(Event):
    position: str
    result: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFailed(Event):
    position: str
    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCancelled(Event):
    position: str


# ------------------------------------------------------------------------------------------- time, races, notes


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerSet(Event):
    position: str
    due: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerFired(Event):
    position: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerCancelled(Event):
    position: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceWon(Event):
    position: str
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ValuePublished(Event):
    position: str
    name: str
    value: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageLogged(Event):
    position: str
    message: str
    level: str = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchTaken(Event):
    position: str  # of the next command
    name: str


ALL: tuple[type[Event], ...] = (
    RunStarted, RunBlocked, RunUnblocked, CancelRequested, RunCompleted, RunFailed, RunCancelled,
    StepScheduled, AttemptStarted, CheckpointSaved, AttemptFailed, AttemptLost,
    StepCompleted, StepFailed, StepCancelled,
    TimerSet, TimerFired, TimerCancelled, RaceWon,
    ValuePublished, MessageLogged, PatchTaken,
)  # fmt: skip
BY_KIND: dict[str, type[Event]] = {cls.__name__: cls for cls in ALL}

__all__ = [  # noqa: RUF022 - in the order of the file
    "Event",
    "RunStarted",
    "RunBlocked",
    "RunUnblocked",
    "CancelRequested",
    "RunCompleted",
    "RunFailed",
    "RunCancelled",
    "StepScheduled",
    "AttemptStarted",
    "CheckpointSaved",
    "AttemptFailed",
    "AttemptLost",
    "StepCompleted",
    "StepFailed",
    "StepCancelled",
    "TimerSet",
    "TimerFired",
    "TimerCancelled",
    "RaceWon",
    "ValuePublished",
    "MessageLogged",
    "PatchTaken",
]
