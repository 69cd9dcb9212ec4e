"""Every decision of a test taken again: a fresh interpreter, fed what the live one knew, must decide what it decided.

    the live interpreter decides ─▶ noted: how long the history was, what was decided ─▶ at the end of the test, for
    each of these: the history that far ─▶ a fresh interpreter ─▶ the same, or ``Redriven``

And from every prefix between two decisions the code comes as far as the history goes. A workflow that looks at the
clock, at chance or at a global is found by this, on the day it is written.

The rule of this file: off, it costs one look at a switch. On, it only looks: what the test does is not changed.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from squidmesh.core import events as ev
from squidmesh.core.codec import decode_rows, encode
from squidmesh.core.events import Event
from squidmesh.core.interpreter import Decision, Interpreter
from squidmesh.core.payloads import dumps, mask
from squidmesh.core.rehearsing import Rehearsal, rehearse
from squidmesh.core.workflow import Workflow
from squidmesh.engine.engine import Engine
from squidmesh.errors import MeshError

if TYPE_CHECKING:
    from squidmesh.testing.virtual import VirtualMesh

MOST = 400
"""Decisions of one run, and prefixes of its history, that are taken again: of more, so many, evenly."""


class Redriven(MeshError, AssertionError):
    """A fresh interpreter came out elsewhere than the live one: ``run_id``, after event ``seq``."""

    def __init__(self, run_id: str, seq: int, told: str) -> None:
        self.run_id, self.seq = run_id, seq
        super().__init__(
            f"run {run_id}, driven again from its first {seq} events: {told}. The workflow (or a helper) does not do "
            "the same when it is replayed: it may look at the clock, at chance, or at something that changes; use "
            "now(), rng(), new_uuid() of squidmesh, or a step"
        )


@dataclass(slots=True)
class Taken:
    """A decision: ``length`` events were known; ``now`` is the time that it had."""

    length: int
    decision: Decision
    now: int
    workflow: Workflow[..., Any]  # as it was then


@dataclass(slots=True)
class Log:
    """What was decided in one mesh, by run; ``unsure`` as long as it is not recorded."""

    taken: dict[str, list[Taken]] = field(default_factory=dict)
    unsure: dict[str, list[Taken]] = field(default_factory=dict)

    def recorded(self, run_id: str, workflow: str, first: int, events: Sequence[Event]) -> None:
        """Hears what was committed."""
        end, left = first - 1 + len(events), list[Taken]()
        for taken in self.unsure.pop(run_id, ()):
            sure = taken.length + len(taken.decision.events) <= end
            (self.taken.setdefault(run_id, []) if sure else left).append(taken)
        if left:
            self.unsure[run_id] = left


_take: Callable[[Interpreter], Decision] | None = None  # the real one, while this is on
_unsure: dict[str, list[Taken]] = {}
_logs: WeakKeyDictionary[VirtualMesh, Log] = WeakKeyDictionary()


def on() -> None:
    """From here on decisions are noted, and taken again when their mesh is closed, or ``check_all`` is called."""
    global _take
    if _take is None:
        _take, Interpreter.take = Interpreter.take, _noted  # type: ignore[method-assign,assignment]


def is_on() -> bool:
    return _take is not None


def off() -> None:
    """Note nothing any more, and forget what was noted."""
    global _take
    if _take is not None:
        Interpreter.take, _take = _take, None  # type: ignore[method-assign,assignment]
    _unsure.clear()
    _logs.clear()


def _noted(run: Interpreter) -> Decision:
    """Stands for ``Interpreter.take``."""
    assert _take is not None
    length = run.length
    decision = _take(run)
    if type(run) is Interpreter:
        taken = Taken(length, decision, run.now(), copy.copy(run.workflow))
        _unsure.setdefault(run.run_id, []).append(taken)
    return decision


def watch(mesh: VirtualMesh, engine: Engine) -> None:
    """Have a mesh's commits confirm what was decided."""
    if _take is not None and mesh not in _logs:
        log = _logs[mesh] = Log(unsure=_unsure)
        engine.observers.append(log.recorded)


def forget(mesh: VirtualMesh) -> None:
    _logs.pop(mesh, None)


def forget_all() -> None:
    _logs.clear()
    _unsure.clear()


def check_all() -> None:
    """Take again what was decided in all meshes that are open."""
    for mesh in list(_logs):
        check(mesh)


def check(mesh: VirtualMesh) -> None:
    """Take again what was decided in a mesh since the last time.

    :raises Redriven: something else comes of it.
    """
    __tracebackhide__ = True
    log = _logs.get(mesh)
    if _take is None or log is None or mesh._engine is None:
        return
    store, taken = mesh._engine.store, dict(log.taken)
    log.taken.clear()
    for run_id, several in taken.items():
        rows = store.history(run_id)
        again = _Again(run_id, decode_rows([(row.seq, row.events) for row in rows]), mesh)
        again.decisions(several)
        again.prefixes(several)


class _Again:
    """The history of one run, and fresh interpreters that are fed with it."""

    def __init__(self, run_id: str, history: Sequence[Event], mesh: VirtualMesh) -> None:
        self.run_id, self.history, self.mesh = run_id, history, mesh

    def rehearsed(self, length: int, workflow: Workflow[..., Any], now: int) -> Rehearsal:
        steps, most = self.mesh._code.steps, self.mesh.settings.max_payload
        return rehearse(workflow, self.history[:length], self.run_id, steps, most, now)

    def decisions(self, several: Sequence[Taken]) -> None:
        __tracebackhide__ = True  # values of the run, secrets too, are in the arguments
        for taken in several[:: 1 + len(several) // MOST]:
            if taken.decision.blocked is not None:
                continue  # the code was broken, and may have been mended since
            seen = self.rehearsed(taken.length, taken.workflow, taken.now)
            was, comes = list(_told(taken.decision)), list(_told(seen.decision))
            if was != comes:
                n = next((n for n, (one, two) in enumerate(zip(was, comes, strict=False)) if one != two), None)
                n = min(len(was), len(comes)) if n is None else n
                lost, found = (_shown((*listed, "nothing")[n]) for listed in (was, comes))
                raise Redriven(self.run_id, taken.length, f"the live run had decided {lost}, and now it is {found}")

    def prefixes(self, several: Sequence[Taken]) -> None:
        """Replay what was recorded before the code broke for the first time, from each length."""
        __tracebackhide__ = True
        broken = (n for n, event in enumerate(self.history) if isinstance(event, ev.RunBlocked))
        end = next(broken, len(self.history))
        blocked = {taken.length for taken in several if taken.decision.blocked is not None}
        for length in range(1, end + 1, 1 + end // MOST):
            after = next((taken for taken in several if taken.length >= length), None)
            if after is None or length in blocked:
                continue
            seen = self.rehearsed(length, after.workflow, self.history[length - 1].at)
            if seen.differs is not None:
                raise Redriven(self.run_id, length, str(seen.differs))


def _shown(told: Any) -> str:
    """Part of a decision, for people: secrets masked."""
    return dumps(mask(json.loads(encode([told]))[0])) if isinstance(told, Event) else str(told)


def _told(decision: Decision) -> Iterator[Any]:
    """What of a decision is the same each time: not when it was recorded, nor who got the step."""
    for event in decision.events:
        plain = replace(event, seq=0, at=0)
        yield replace(plain, elsewhere=False) if isinstance(plain, ev.StepScheduled) else plain
    if decision.blocked is not None:
        yield replace(decision.blocked, seq=0, at=0)
    if decision.ended:
        yield "its end"
