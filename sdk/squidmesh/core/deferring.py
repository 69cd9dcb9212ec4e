"""``defer``: a call that waits, in a run of its own, until a condition holds.

The run is one of a companion that every workflow has: ``checkout`` has ``checkout:deferred``, which is served wherever
``checkout`` is, for it calls the same steps. The companion is ordinary workflow code.

The rule of this file: the command, what is recorded of it, and the companion; who starts the run is the engine's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from squidmesh.core.calls import Call, Command, Options, positive
from squidmesh.core.commands import micros, sleep
from squidmesh.core.deterministic import instant, now
from squidmesh.core.registry import REGISTRY
from squidmesh.core.step import result_type
from squidmesh.core.workflow import Flow, Workflow
from squidmesh.errors import DeadlineExceeded, DefinitionError

if TYPE_CHECKING:
    from squidmesh.core.step import Step

T = TypeVar("T")

SUFFIX = ":deferred"


@dataclass(frozen=True, slots=True)
class Deferred:
    """A call that was deferred: the run in which it waits, and will run."""

    run_id: str


class Defer(Command[Deferred]):
    __slots__ = ("call", "until", "every", "deadline")

    def __init__(self, call: Call[Any], until: Call[Any], every: float, deadline: float | int | None) -> None:
        super().__init__(3)
        self.call, self.until, self.every = call, until, every
        self.deadline = deadline  # seconds from when it is yielded, or an instant in microseconds
        call.taken = until.taken = True

    def told(self) -> str:
        return f"`defer` of {self.call.told()}"

    def input(self, at: int) -> dict[str, Any]:
        """The input of the companion's run, which begins at ``at`` (microseconds)."""
        due = self.deadline
        if isinstance(due, float):
            due = at + round(due * 1e6)
        return {"call": _stored(self.call), "until": _stored(self.until), "every": self.every, "deadline": due}


def defer(
    call: Call[T],
    until: Call[bool],
    every: float | timedelta,
    deadline: float | timedelta | datetime | None = None,
) -> Command[Deferred]:
    """Have a call run later, in a run of its own, once a condition holds; gives a ``Deferred`` at once.

    This workflow may complete meanwhile, and a deferred failure never fails it; its rollback reaches the call, too.

    :param until: the call of a pure step that gives a bool: asked at once, and then again and again.
    :param every: seconds (or a timedelta) between two questions.
    :param deadline: a duration from now, or an aware datetime: past it the run fails with ``DeadlineExceeded``, and the
        call never runs.
    :raises DefinitionError: something else than calls; ``until`` is no pure step, or gives no bool.
    """
    for name, given in (("call", call), ("until", until)):
        if not isinstance(given, Call):
            raise DefinitionError(f"defer(): {name} takes the call of a step{_or(name)}, not {given!r}")
    asked: Any = until.definition
    if not asked.is_step or not asked.pure or result_type(asked.fn) is not bool:
        raise DefinitionError(
            f"defer(): until takes the call of a pure step that is declared to return bool, not {until.told()}: "
            "write @step(pure=True) and `-> bool`"
        )
    limit: float | int | None = None
    if isinstance(deadline, datetime):
        limit = micros("deadline", deadline)
    elif deadline is not None:
        limit = positive("defer(): deadline", deadline)
    return Defer(call, until, positive("defer(): every", every), limit)


def _or(name: str) -> str:
    return " or workflow" if name == "call" else ""


def _stored(call: Call[Any]) -> dict[str, Any]:
    found: Any = call.definition
    named = {"step": found.name} if found.is_step else {"workflow": found.name, "version": found.version}
    return named | {"input": call.input, "options": call.overrides.to_json()}


def _again(stored: dict[str, Any]) -> Call[Any]:
    """The call that was stored, with today's code."""
    found: Step[..., Any] | Workflow[..., Any] | None
    if (name := stored.get("step")) is not None:
        found = REGISTRY.steps.get(name)
    else:
        found = REGISTRY.workflows.get((stored["workflow"], stored["version"]))
    if found is None:
        what = ", ".join(f"{key} {stored[key]!r}" for key in ("step", "workflow", "version") if key in stored)
        raise LookupError(f"what was deferred is not in the code at hand: {what}")
    return Call(found, stored["input"], Options.from_json(stored["options"]))


def deferred(call: dict[str, Any], until: dict[str, Any], every: float, deadline: int | None) -> Flow[Any]:
    """Ask until the condition holds or the time is over; then make the call."""
    while not (yield from _again(until)):
        left = every if deadline is None else min(every, (instant(deadline) - now()).total_seconds())
        if left <= 0:
            raise DeadlineExceeded(f"what was waited for was not so by {instant(deadline or 0).isoformat()}")
        yield from sleep(left)
    return (yield from _again(call))


def companion(flow: Workflow[..., Any]) -> Workflow[..., Any]:
    """The workflow in which the deferred calls of another one wait."""
    made: Workflow[..., Any] = Workflow(deferred, name=f"{flow.name}{SUFFIX}", version=flow.version, queue=flow.queue)
    made.beside = flow
    return made
