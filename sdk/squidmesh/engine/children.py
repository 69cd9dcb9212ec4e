"""What passes between runs: who is started, and who is told, by an append of another run.

    parent                                       child
    ChildStarted           ── its rows ────────▶  RunStarted
    ChildStarted, joined   ── RunJoined ───────▶  (whose key it was)
    ChildCancelRequested   ── CancelRequested ─▶
    ChildEnded             ◀─────────────────── ─ RunCompleted, RunFailed …
    UndoStarted            ── RollbackStarted ─▶  (opened again)
    UndoCompleted          ◀── its report ───── ─ RollbackEnded

The rule of this file: all of it follows from the events that are recorded and travels in the append that records them,
as rows of new runs and as letters into the inboxes of others. So a kill leaves neither a link without a child nor an
end of which nobody hears, and what was told is never told again by a replay.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from squidmesh.core import events as ev
from squidmesh.core.applying import BODY_OVER
from squidmesh.core.calls import Options
from squidmesh.core.chain import Rollback
from squidmesh.core.codec import encode
from squidmesh.core.deferring import SUFFIX
from squidmesh.core.events import Event
from squidmesh.core.failure import describe
from squidmesh.core.interpreter import INTERPRETER_VERSION, Interpreter
from squidmesh.core.report import report
from squidmesh.core.status import RunStatus
from squidmesh.core.trace import at_place
from squidmesh.engine.continuing import passed_on, successor
from squidmesh.engine.engine import Engine
from squidmesh.engine.known import OWN
from squidmesh.engine.live import Live
from squidmesh.engine.start import bells_of, new_run, show
from squidmesh.errors import RunCancelled, RunTerminated
from squidmesh.ports import Bell, BellKind, Letter, NewRun

if TYPE_CHECKING:
    from squidmesh.engine.worker import Worker


@dataclass(frozen=True, slots=True)
class Told:
    """What an append brings to others."""

    runs: tuple[NewRun, ...] = ()
    letters: tuple[Letter, ...] = ()

    def bells(self, engine: Engine, awake: Container[str] = ()) -> list[Bell]:
        """For those who have something to do now, but not for whom is ``awake``."""
        letters = [
            Bell(BellKind.ADVANCE, letter.queue, letter.run_id) for letter in self.letters if letter.run_id not in awake
        ]
        return [*letters, *bells_of(engine, self.runs)]


NOBODY = Told()
KIN = (
    ev.ChildStarted, ev.StepDeferred, ev.ChildCancelRequested, ev.UndoStarted, ev.RunTerminated, ev.RunJoined,
)  # fmt: skip
"""Kinds of events of which another run may hear; and those that end a run."""


def told(engine: Engine, live: Live, recorded: Sequence[Event], over: str | None) -> Told:
    """What others hear of events that are about to be recorded; ``over``: the status that the run ends with."""
    of_concern = [event for event in recorded if isinstance(event, KIN)]
    if over is None and not of_concern and not live.passed:
        return NOBODY
    runs = [*_children(live, of_concern)]
    letters = [*_to_children(live, of_concern)]
    if live.passed and (row := engine.store.newest(live.run.chain or live.run_id)) is not None:
        letters += passed_on(live.passed, row)
    if over == RunStatus.CONTINUED:
        runs += [successor(live, event) for event in recorded if isinstance(event, ev.RunContinued)]
        letters += _answer(live.interpreter)
    elif over is not None:
        letters += _at_the_end(live, recorded, over)
    return Told(tuple(runs), tuple(_one_each(letters)))


def _children(live: Live, events: Sequence[Event]) -> Iterator[NewRun]:
    """The rows of new children."""
    for event in events:
        if isinstance(event, ev.StepDeferred) or (isinstance(event, ev.ChildStarted) and not event.joined):
            yield _child(live, event)


def _child(live: Live, asked: ev.ChildStarted | ev.StepDeferred) -> NewRun:
    """The rows of a child, as its parent has asked for it."""
    first = live.interpreter.first
    options = Options.from_json(getattr(asked, "options", {}))
    priority = live.run.priority if options.priority is None else options.priority
    started = ev.RunStarted(
        at=asked.at, workflow=asked.workflow, version=asked.version, input=asked.input,
        interpreter_version=INTERPRETER_VERSION, key=options.key, queue=asked.queue, priority=priority,
        parent=live.run_id, parent_position=asked.position, parent_queue=live.run.queue, depth=first.depth + 1,
        deadline=None if options.timeout is None else asked.at + round(options.timeout * 1e6),
        trace=at_place(live.run_id, first.trace, asked.position),
    )  # fmt: skip
    return replace(new_run(started), run_id=asked.run_id)


# ---------------------------------------------------------------------------------------------- down the tree


def _to_children(live: Live, events: Iterable[Event]) -> Iterator[Letter]:
    chain = live.interpreter.chain
    for event in events:
        match event:
            case ev.ChildStarted(joined=True) if (
                event.position in live.interpreter.open
            ):  # one that is over says so at once; one that is gone would never
                joined = ev.RunJoined(at=event.at, run_id=live.run_id, position=event.position, queue=live.run.queue)
                yield replace(_letter(event.run_id, event.queue, joined, opens=""), must=True)
            case ev.ChildCancelRequested() if (child := chain.children_out().get(event.position)) is not None:
                note = f"run {live.run_id}, which had started it, does not need it any more"
                yield _letter(child.run_id, child.queue, ev.CancelRequested(at=event.at, note=note), opens="")
            case ev.UndoStarted() if (entry := chain.entries.get(event.entry)) is not None and entry.child is not None:
                if not chain.active:
                    continue  # it was terminated in the same breath
                by = chain.active[0].begun
                asked = ev.RollbackStarted(
                    at=event.at, cause="parent", actor=by.actor, note=by.note, asked_by=live.run_id,
                    asked_entry=entry.id, asked_queue=live.run.queue,
                )  # fmt: skip
                yield _letter(entry.child, entry.queue, asked, opens=RunStatus.UNDOING.value)
            case ev.RunTerminated():
                out: list[ev.ChildStarted | ev.StepDeferred] = [
                    child
                    for child in chain.children_out().values()
                    if not (child.joined or child.options.get("detached"))
                ]
                for other in [*out, *chain.deferred.values()]:
                    yield _letter(other.run_id, other.queue, replace(event, seq=0, key=None), opens="")
            case _:
                pass


# ------------------------------------------------------------------------------------------------ up the tree


def _at_the_end(live: Live, recorded: Sequence[Event], over: str) -> Iterator[Letter]:
    """The run is over (again): who waits for its end is told of that, who waits for its rollback of this."""
    run = live.interpreter
    ended_now = any(isinstance(event, BODY_OVER) for event in recorded)
    over_again = ended_now or any(isinstance(event, ev.RollbackEnded) for event in recorded)  # some came meanwhile
    if ended_now and run.first.parent is not None and run.first.parent_position is not None:
        end = ended(run, run.first.parent_position, over)
        yield _letter(run.first.parent, run.first.parent_queue or "default", end, opens="" if _deferred(live) else None)
    for waiting in run.joined if over_again else [event for event in recorded if isinstance(event, ev.RunJoined)]:
        yield _letter(waiting.run_id, waiting.queue, ended(run, waiting.position, over))
    yield from _answer(run)


def _answer(run: Interpreter) -> Iterator[Letter]:
    """To the run whose rollback has come to this one."""
    owed = run.owed
    if owed is not None and owed.asked_by is not None and owed.asked_entry is not None:
        answer = ev.UndoCompleted(at=run.now(), entry=owed.asked_entry, result=_report(run))
        yield _letter(owed.asked_by, owed.asked_queue or "default", answer)


def ended(run: Interpreter, position: str, over: str) -> ev.ChildEnded:
    """The end of a run, as one that waits for it records it."""
    end, told = run.end, _report(run)
    failure = None
    match end:
        case ev.RunFailed():
            failure = end.failure
        case ev.RunCancelled():
            failure = describe(RunCancelled(run.run_id, end.note))
        case ev.RunTerminated():
            failure = describe(RunTerminated(run.run_id, end.note))
        case _:
            pass
    left = next(run.chain.armed(), None) is not None or (told is not None and told["outcome"] != "clean")
    return ev.ChildEnded(
        at=run.now(), position=position, run_id=run.run_id, outcome=over,
        result=end.result if isinstance(end, ev.RunCompleted) else None, failure=failure, rollback=told, effects=left,
    )  # fmt: skip


def _report(run: Interpreter) -> dict[str, Any] | None:
    """The newest rollback of the whole run, as JSON; None: there was none."""
    own: Rollback | None = next((r for r in reversed(run.chain.rollbacks) if r.begun.cause in OWN), None)
    if own is None:
        return None
    return report(run.chain, own, run.run_id, run.workflow.name).model_dump(mode="json", exclude_defaults=True)


def _deferred(live: Live) -> bool:
    """Whether its parent may be over long before it."""
    return live.run.workflow.endswith(SUFFIX)


# --------------------------------------------------------------------------------------------------- letters


def _letter(run_id: str, queue: str, event: Event, opens: str | None = None) -> Letter:
    return Letter(run_id, event.kind, encode([event]), queue, opens=opens)


def _one_each(letters: Sequence[Letter]) -> Iterator[Letter]:
    """One letter a run, with all that it is told; of several messages the run itself tells which it has had."""
    merged: dict[str, Letter] = {}
    for letter in letters:
        if (before := merged.get(letter.run_id)) is None:
            merged[letter.run_id] = letter
        else:
            events = f"{before.events[:-1]},{letter.events[1:]}"
            opens = before.opens if letter.opens is None else letter.opens
            must = before.must or letter.must
            merged[letter.run_id] = replace(before, events=events, key=None, opens=opens, must=must)
    yield from merged.values()


def ring(worker: Worker, said: Told, awake: Container[str], follow: list[Bell]) -> None:
    """Wake those who have something to do now: the first is served here, the others by whoever is idle."""
    show(worker.engine, said.runs)
    bells = said.bells(worker.engine, awake)
    follow.extend(bells[:1])
    if len(bells) > 1:
        worker.engine.doorbell.ring(bells[1:])
