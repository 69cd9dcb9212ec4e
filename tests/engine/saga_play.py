"""Sagas as data: steps of every kind of effect, how they and their undos come out, and a person who sees to the run.

The rule of this file: what a call comes to follows from the program, and from what the world knows of its key; never
from how often it was made. So two plays of a program, with deaths and without, tell the same story. What calls did is
written down here by themselves, and by nothing of the engine.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hypothesis import strategies as st
from sqlalchemy import text

from squidmesh import (
    Applied,
    Cleaned,
    EffectUnknown,
    Failure,
    Flow,
    GiveUp,
    IllegalState,
    Irreversible,
    NoSuchEntry,
    NotApplied,
    NothingToUndo,
    NotNeeded,
    PartialEffect,
    Retry,
    RetryStep,
    StillUnknown,
    WorkflowError,
    add_undo,
    context,
    fan_out,
    gather,
    race,
    rollback,
    saga,
    sleep,
    spawn,
    step,
    transaction,
    workflow,
)
from squidmesh import events as ev
from squidmesh.core.status import ENDED

FAR = 10.0**9
"""Seconds that nobody sleeps: the run waits for a person."""


@dataclass(frozen=True, slots=True)
class Did:
    """One call of user code. ``applied``: it had its effect."""

    what: str  # forward, compensate, check, undo
    key: str
    attempt: int
    applied: bool


@dataclass(slots=True)
class World:
    """What is outside of the mesh."""

    log: list[Did] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)
    backs: dict[str, str] = field(default_factory=dict)  # how undos come out, by key
    mended: set[str] = field(default_factory=set)
    results: dict[str, str] = field(default_factory=dict)  # of what has had its effect
    rows: set[str] = field(default_factory=set)  # keys of what is written with its record, or not at all

    def clear(self) -> None:
        for known in (self.log, self.failed, self.backs, self.mended, self.results, self.rows):
            known.clear()

    def did(self, what: str, applied: bool) -> None:
        self.log.append(Did(what, context().key, context().attempt, applied))

    def once_more(self, key: str, times: int) -> bool:
        """Whether it is to fail again."""
        self.failed[key] += 1
        return self.failed[key] <= times


world = World()


# ------------------------------------------------------------------------------------------------------- calls


def forward(how: str) -> str:
    here = context()
    if how == "shaky" and world.once_more(here.key, 2):
        world.did("forward", applied=False)
        raise LookupError("not yet")
    world.did("forward", applied=how not in ("no", "lost"))
    if how not in ("no", "lost"):
        world.results[here.key] = f"{here.position}: {how}"
    match how:
        case "no":
            raise ValueError("it says no")
        case "vague" | "lost":
            raise EffectUnknown("it does not answer")
        case "partial":
            raise PartialEffect({"half": 1})
        case _:
            return world.results[here.key]


def undo_as(how: str) -> NotNeeded | None:
    key = context().key
    world.backs[key] = how
    if how == "twice" and world.once_more(key, 2):
        world.did("undo", applied=False)
        raise LookupError("not yet")
    if how in ("hard", "skip", "mark", "abandon") and key not in world.mended:
        world.did("undo", applied=False)
        raise GiveUp(f"it is {how} to undo")
    if how == "odd":
        world.did("undo", applied=False)
        raise Irreversible("too late")
    world.did("undo", applied=True)
    return NotNeeded("it was gone") if how == "needless" else None


GIVE_UP = Retry(max_attempts=None, initial=2, jitter=0, give_up_on=(ValueError, EffectUnknown, PartialEffect))
AGAIN = Retry(max_attempts=10, initial=3, jitter=0)
MANY = 10_000


@step(name="crash_saga_plain", retry=GIVE_UP, undo_retry=AGAIN, max_lost=MANY)
def plain(how: str, back: str) -> str:
    return forward(how)


@plain.undo
def unplain(done: str, how: str, back: str) -> NotNeeded | None:
    assert done.endswith(how)
    return undo_as(back)


@step(name="crash_saga_there", retry=GIVE_UP, undo_retry=AGAIN, max_lost=MANY, queue="other")
def there(how: str, back: str) -> str:
    context().checkpoint(how)
    return forward(how)


@there.undo
def unthere(done: str, how: str, back: str) -> NotNeeded | None:
    return undo_as(back)


@step(name="crash_saga_bare", retry=GIVE_UP, max_lost=MANY)
def bare(how: str, back: str) -> str:
    return forward(how)


@step(name="crash_saga_look", retry=GIVE_UP, max_lost=MANY, pure=True)
def look(how: str, back: str) -> str:
    return forward(how)


@step(name="crash_saga_mail", retry=GIVE_UP, max_lost=MANY, irreversible=True)
def mail(how: str, back: str) -> str:
    return forward(how)


@step(name="crash_saga_pay", retry=GIVE_UP, max_lost=MANY, pivot=True)
def pay(how: str, back: str) -> str:
    return forward(how)


@step(name="crash_saga_once", retry=GIVE_UP, undo_retry=AGAIN, max_lost=MANY, idempotent=False)
def once(how: str, back: str) -> str:
    return forward(how)


@once.undo
def unonce(done: str, how: str, back: str) -> NotNeeded | None:
    return undo_as(back)


@step(name="crash_saga_asked", retry=GIVE_UP, undo_retry=AGAIN, max_lost=MANY, idempotent=False)
def asked(how: str, back: str) -> str:
    return forward(how)


@asked.undo
def unasked(done: str, how: str, back: str) -> NotNeeded | None:
    return undo_as(back)


@asked.check
def probe(how: str, back: str) -> Applied[str] | NotApplied | StillUnknown:
    world.did("check", applied=False)
    if back == "hard":
        return StillUnknown()
    return answer(context().forward_key)


def answer(key: str) -> Applied[str] | NotApplied:
    """The truth about an effect."""
    return Applied(world.results[key]) if key in world.results else NotApplied()


@step(name="crash_saga_load", retry=GIVE_UP, undo_retry=AGAIN, max_lost=MANY)
def load(how: str, back: str) -> str:
    return forward(how)


@load.undo
def unload(done: str, how: str, back: str) -> NotNeeded | None:
    return undo_as(back)


@load.compensate
def finish(failure: Failure, how: str, back: str) -> str | Cleaned | RetryStep:
    world.did("compensate", applied=back in ("ok", "twice"))
    match back:
        case "ok" | "twice":
            return f"finished {how}"
        case "needless" | "odd":
            return Cleaned("swept")
        case "hard":
            return RetryStep(after=5)
        case _:
            raise ValueError("nothing to hold on to")


@step(name="crash_saga_tried", retry=GIVE_UP, undo_retry=AGAIN, max_lost=MANY, undo_when="attempted")
def tried(how: str, back: str) -> str:
    return forward(how)


@tried.undo
def untried(done: str | None, how: str, back: str) -> NotNeeded | None:
    return undo_as(back)


@step(name="crash_saga_says", retry=GIVE_UP, max_lost=MANY)
def says(how: str, back: str) -> str:
    context().add_undo(take_back, back)
    return forward(how)


@step(name="crash_saga_marks", retry=GIVE_UP, undo_retry=AGAIN, max_lost=MANY)
def marks(how: str, back: str) -> str:
    if back == "odd":
        context().mark_irreversible("posted")
    return forward(how)


@marks.undo
def unmarks(done: str, how: str, back: str) -> NotNeeded | None:
    return undo_as(back)


def take_back(back: str) -> NotNeeded | None:
    return undo_as(back)


def write(cents: int) -> None:
    world.rows.add(context().key)
    context().connection.execute(
        text("INSERT INTO crash_saga_rows VALUES (:key, :cents)"), {"key": context().key, "cents": cents}
    )


@step(name="crash_saga_row", retry=GIVE_UP, undo_retry=AGAIN, max_lost=MANY, transactional=True)
def row(how: str, back: str) -> str:
    write(1)
    return forward(how)


@row.undo
def unrow(done: str, how: str, back: str) -> NotNeeded | None:
    write(-1)
    return undo_as(back)


STEPS = {
    "plain": plain, "there": there, "bare": bare, "look": look, "mail": mail, "pay": pay, "once": once,
    "asked": asked, "load": load, "tried": tried, "says": says, "marks": marks, "row": row,
}  # fmt: skip


def rows_together(members: list[list[str]], fail: bool) -> Flow[list[str]]:
    done = []
    for kind, how, how_back in members:
        try:
            done.append((yield from STEPS[kind](how, how_back)))
        except WorkflowError as failed:
            if fail:
                raise
            done.append(str(failed))
    return done


def rows_apart(done: list[str], members: list[list[str]], fail: bool) -> NotNeeded | None:
    write(-len(members))
    return undo_as(members[0][2])


# --------------------------------------------------------------------------------------------------- the workflow


def crash_saga(program: list[Any]) -> Flow[list[str]]:
    seen: list[str] = []
    yield from walk(program, seen)
    return seen


POLICIES = [
    {"on_failure": failure, "on_irreversible": irreversible, "on_undo_failure": undo}
    for failure in ("undo", "keep")
    for irreversible in ("report", "halt", "refuse")
    for undo in ("halt", "continue")
]
WORKFLOWS: Any = [
    workflow(name=f"crash_saga_{n}", **policy)(crash_saga)  # type: ignore[call-overload]
    for n, policy in enumerate(POLICIES)
]


def walk(program: list[Any], seen: list[str]) -> Flow[None]:
    for op in program:
        match op:
            case ["try", inner]:
                try:
                    yield from walk(inner, seen)
                except WorkflowError as error:
                    seen.append(type(error).__name__)
            case ["loop", times, inner]:
                for _ in range(times):
                    yield from walk(inner, seen)
            case ["scope", settings, caught, inner]:
                scope = saga("part", **settings)
                try:
                    with scope:
                        yield from walk(inner, seen)
                except WorkflowError:
                    if caught == "no":
                        raise
                    if caught == "report":
                        seen.append(str((yield from rollback(scope))))
            case ["raise"]:
                raise WorkflowError("the program says no")
            case ["add_undo", how]:
                yield from add_undo(take_back, how)
            case ["sleep", seconds]:
                yield from sleep(seconds)
            case ["hold", *_]:
                yield from sleep(FAR)
            case ["together", *members]:
                done = yield from gather([call(member) for member in members])
                seen.append(str(done))
            case ["fan", limit, *members]:
                found = yield from fan_out(call, members, limit=limit)
                seen.append(str(sorted(found.results.items())))
            case ["race", *members]:
                yield from race(*[call(member) for member in members])
            case ["beside", member, inner]:
                pending = yield from spawn(call(member))
                yield from walk(inner, seen)
                yield from pending
            case _:
                seen.append(str((yield from call(op))))


def call(op: Any) -> Any:
    match op:
        case ["do", kind, how, how_back]:
            return STEPS[kind](how, how_back)
        case ["rows", undo, fail, members]:
            return transaction(rows_together, members, fail, undo=rows_apart if undo else None)
        case _:
            return sleep(1)


# --------------------------------------------------------------------------------------------------- programs

_hows = st.sampled_from(["ok"] * 8 + ["shaky", "no", "vague", "lost", "partial"])
_backs = st.sampled_from(["ok"] * 6 + ["twice", "hard", "skip", "mark", "abandon", "odd", "needless"])
_kinds = st.sampled_from(
    ["plain"] * 4
    + ["row"] * 3
    + ["there", "bare", "look", "mail", "pay", "once", "once", "asked", "load", "load", "tried", "says", "marks"]
)
_do = st.tuples(st.just("do"), _kinds, _hows, _backs).map(list)
_sure = st.tuples(  # whose order, and whether it is begun, does not matter for how the run ends
    st.just("do"),
    st.sampled_from(["plain", "plain", "row", "there", "bare", "look", "once", "asked", "says"]),
    st.sampled_from(["ok", "ok", "shaky"]),
    st.sampled_from(["ok", "ok", "twice", "needless"]),
).map(list)
_members = st.lists(
    st.tuples(st.sampled_from(["row", "row", "row", "look"]), st.sampled_from(["ok", "ok", "shaky", "no"]), _backs).map(
        list
    ),
    min_size=1,
    max_size=3,
)
_rows = st.tuples(st.just("rows"), st.booleans(), st.booleans(), _members).map(list)
_plain = st.one_of(
    st.just(["raise"]),
    st.just(["sleep", 1]),
    st.just(["sleep", 0]),
    _backs.map(lambda how: ["add_undo", how]),
    st.sampled_from(["cancel", "keep", "fail", "leave"]).map(lambda what: ["hold", what]),
)
_together = st.one_of(
    st.lists(_sure, min_size=1, max_size=3).map(lambda members: ["together", *members]),
    st.tuples(st.sampled_from([None, 1, 2]), st.lists(_sure, min_size=1, max_size=4)).map(
        lambda given: ["fan", given[0], *given[1]]
    ),
)
_wild = st.one_of(
    st.lists(_do | _rows, min_size=1, max_size=3).map(lambda members: ["together", *members]),
    st.lists(
        st.tuples(st.just("do"), st.sampled_from(["plain", "there", "row", "once", "tried"]), _hows, _backs).map(list)
        | st.just(["sleep"]),
        min_size=1,
        max_size=3,
    ).map(lambda members: ["race", *members]),
    st.tuples(_do, st.lists(_do, max_size=2)).map(lambda given: ["beside", *given]),
)
_settings = st.fixed_dictionaries(
    {},
    optional={
        "commit": st.just(True),
        "on_irreversible": st.sampled_from(["report", "halt", "refuse"]),
        "on_undo_failure": st.sampled_from(["halt", "continue"]),
    },
)


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    body = st.lists(inner, min_size=1, max_size=4)
    return st.one_of(
        st.tuples(st.just("scope"), _settings, st.sampled_from(["no", "yes", "report"]), body).map(list),
        st.tuples(st.just("scope"), _settings, st.sampled_from(["no", "yes", "report"]), body).map(list),
        st.tuples(st.just("try"), body).map(list),
        st.tuples(st.just("loop"), st.just(2), body).map(list),
    )


def _programs(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    body = st.lists(st.recursive(leaves, _nested, max_leaves=6), min_size=1, max_size=5)
    return st.tuples(body, st.booleans()).map(lambda given: [*given[0], ["raise"]] if given[1] else given[0])


calm = _programs(st.one_of(_do, _do, _do, _rows, _plain, _together))
"""Programs that come out in one way, whoever is first."""
wild = _programs(st.one_of(_do, _do, _rows, _plain, _together, _wild))
"""Programs whose branches may fail, race, or be left."""


# --------------------------------------------------------------------------------------------------- the person


class Person:
    """Sees to a run that waits for one, and comes back to it after its end. Truthful, and never in a hurry."""

    BY: ClassVar[dict[str, Any]] = {"actor": "ann", "note": "I have looked"}

    def __init__(self, later: list[str]) -> None:
        self.later = list(later)
        self.asked = False

    def __call__(self, handle: Any) -> bool:
        """Do something about it; whether there was something to do."""
        with contextlib.suppress(IllegalState, NoSuchEntry, NothingToUndo):
            return self._sees(handle, handle.status())
        return True  # somebody else, or the same one a moment ago, has done it already

    def _sees(self, handle: Any, status: str) -> bool:
        if status in ENDED:
            reopened = handle.inspect().ended_at is None
            return not reopened and bool(self.later) and self._afterwards(handle, self.later.pop(0))
        history = handle.history()
        match handle.explain().reason:
            case "step_in_doubt":
                self._resolves(handle, history)
            case "past_pivot":
                self._goes_on(handle, history)
            case "undo_failed" | "undo_halted":
                self._mends(handle, history)
            case _ if status == "waiting" and not self.asked and _held(handle, history):
                self.asked = True
                self._ends(handle, history)
            case _:
                return False
        return True

    def _resolves(self, handle: Any, history: list[Any]) -> None:
        open_: dict[str, Any] = {}
        for event in history:
            if isinstance(event, ev.StepInDoubt):
                open_[event.position] = event
            elif isinstance(event, (ev.StepCompleted, ev.StepFailed, ev.StepResolved)):
                open_.pop(event.position, None)
        position = min(open_)
        handle.resolve_step(position, answer(f"{handle.run_id}:{position}"), **self.BY)

    def _goes_on(self, handle: Any, history: list[Any]) -> None:
        (*_, blocked) = (event for event in history if isinstance(event, ev.RunBlocked))
        if blocked.position is None:
            handle.fail(undo=True, **self.BY)
        else:
            group = any(e for e in history if getattr(e, "position", None) == blocked.position and _is_group(e))
            handle.skip_step(blocked.position, ["skipped"] if group else "skipped", **self.BY)

    def _mends(self, handle: Any, history: list[Any]) -> None:
        failed = failed_for_good(history)
        if not failed:
            handle.undo_skip(**self.BY)
            return
        entry = failed[0]
        key = f"{handle.run_id}:{entry}" if ":undo:" in entry else f"{handle.run_id}:{entry}:undo"
        match self._back(handle, entry, key):
            case "skip":
                handle.undo_skip(entry, **self.BY)
            case "mark":
                handle.undo_mark_done(entry, **self.BY)
            case "abandon" if handle.inspect().rollback.cause != "race":
                handle.undo_abandon(**self.BY)
            case _:
                world.mended |= {key, *(known for known in world.backs if known.startswith(f"{key[:-5]}."))}
                handle.undo_retry(entry, **self.BY)

    def _back(self, handle: Any, entry: str, key: str) -> str:
        of_members = [how for known, how in world.backs.items() if known.startswith(f"{handle.run_id}:{entry}.")]
        return world.backs.get(key) or (of_members[-1] if of_members else "hard")

    def _ends(self, handle: Any, history: list[Any]) -> None:
        wish = handle.inspect().input["program"]
        forced = self.BY | {"force": True}
        match _first_hold(wish):
            case "cancel":
                handle.cancel(**forced)
            case "keep":
                handle.cancel(undo=False, **forced)
            case "fail":
                handle.fail(**self.BY)
            case _:
                handle.terminate(**self.BY)

    def _afterwards(self, handle: Any, what: str) -> bool:
        if what == "rollback":
            handle.rollback(**self.BY)
            return True
        rollbacks = handle.inspect().rollbacks
        left = [
            entry.position
            for report in rollbacks
            for entry in (*report.irreversible, *report.failed, *report.unaccounted, *report.skipped)
            if entry.kind != "registered"
        ]
        if left:
            handle.undo_mark_done(min(left), **self.BY)
        return bool(left)


def failed_for_good(history: list[Any]) -> list[str]:
    """Entries whose undos have failed, and of which nobody has said what is to become of them; sorted."""
    found: set[str] = set()
    for event in history:
        match event:
            case ev.UndoFailed(retry_at=None, reason=reason) if reason != "irreversible":
                found.add(event.entry)
            case ev.UndoRetried() | ev.UndoSkipped() | ev.EntrySettled():
                found.discard(event.entry)
            case ev.RollbackAbandoned():
                found.clear()
            case _:
                pass
    return sorted(found)


def _is_group(event: Any) -> bool:
    return isinstance(event, ev.StepScheduled) and "group" in event.traits


def _held(handle: Any, history: list[Any]) -> bool:
    far = handle._mesh._clock.now() + round(FAR * 1e5)
    ended = {event.position for event in history if isinstance(event, (ev.TimerFired, ev.TimerCancelled))}
    return any(isinstance(e, ev.TimerSet) and e.due > far and e.position not in ended for e in history)


def _first_hold(program: list[Any]) -> str:
    """What the first hold of a program says; its others are not reached."""
    for op in program:
        match op:
            case ["hold", what]:
                return str(what)
            case ["try" | "beside", *_, inner] | ["loop", _, inner] | ["scope", _, _, inner]:
                if (found := _first_hold(inner)) != "terminate":
                    return found
            case _:
                pass
    return "terminate"


__all__ = ["WORKFLOWS", "Did", "Person", "calm", "failed_for_good", "wild", "world"]
