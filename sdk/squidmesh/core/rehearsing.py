"""A history against the code at hand: whether the code still yields what was recorded, and where the two part.

    the history ─▶ an interpreter that notes the first difference ─▶ what it would decide next ─▶ ``Rehearsal``

The rule of this file: nothing is called and nothing recorded. What comes out is a value, of a run that may live
elsewhere meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from squidmesh.core import events as ev
from squidmesh.core.applying import is_over
from squidmesh.core.effects import Trait
from squidmesh.core.events import Event
from squidmesh.core.interpreter import Decision, Interpreter
from squidmesh.core.step import Step
from squidmesh.core.workflow import Workflow
from squidmesh.errors import NonDeterminism


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a replay has shown. ``decision`` is what the code would do next."""

    decision: Decision
    differs: NonDeterminism | None  # the first place where the code is another one
    patches: Mapping[str, bool]  # whether the new branch of ``patched(id)`` was taken, where the code has come to it
    needs_code: bool = True  # its body is not over
    without_undo: tuple[str, ...] = ()  # ``step at position`` of what has completed, and today's code cannot undo

    @property
    def blocked(self) -> ev.RunBlocked | None:
        """How the run would be blocked, if it would."""
        return self.decision.blocked


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a run could not be rehearsed. ``elsewhere``: no version of its workflow is at hand at all."""

    why: str
    elsewhere: bool = False


class _Witness(Interpreter):
    """An interpreter that keeps the first difference."""

    differs: NonDeterminism | None = None

    def _changed(self, differs: NonDeterminism) -> Any:
        self.differs = self.differs or differs
        return super()._changed(differs)

    def without_undo(self) -> Iterator[str]:
        """What is armed with an undo that today's code does not have."""
        for entry in self.chain.armed():
            if entry.kind == "step" and entry.has(Trait.UNDO) and not self.has_undo(entry.step):
                yield f"{entry.step} at {entry.position}"


def rehearse(
    workflow: Workflow[..., Any],
    history: Sequence[Event],
    run_id: str,
    steps: Mapping[str, Step[..., Any]],
    max_payload: int = 1_048_576,
    now: int = 0,
) -> Rehearsal:
    """Replay a history and take the decision that follows.

    :param steps: today's steps by name, in which undos are looked up.
    :param now: microseconds since the epoch, for timers that would be set.
    """
    witness = _Witness(workflow, run_id, max_payload, steps)
    try:
        witness.replay(history, now)
        decision = witness.take()
        needs_code = not any(map(is_over, history))
        return Rehearsal(
            decision, witness.differs, dict(witness.script.patches), needs_code, tuple(witness.without_undo())
        )
    finally:
        witness.close()


def of_the_body(history: Sequence[Event]) -> Sequence[Event]:
    """The history up to where the body was over: behind it the code is not needed, and would not be looked at."""
    end = next((n for n, event in enumerate(history) if is_over(event)), len(history))
    return history[:end]
