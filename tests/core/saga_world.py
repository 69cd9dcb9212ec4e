"""Plays the engine, the workers and the people around one run, as a seed decides.

What happens next, and how it comes out, follows from the seed and from where the run stands, never from how often a
worker was lost on the way: so two worlds of one seed, one with crashes and one without, tell the same story.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

from squidmesh.core import events as ev
from squidmesh.core.applying import DEADLINE
from squidmesh.core.chain import Chain, Entry, Rollback
from squidmesh.core.deciding import WHOLE
from squidmesh.core.effects import Trait
from squidmesh.core.events import Event
from squidmesh.core.failure import Failure, describe
from squidmesh.core.interpreter import INTERPRETER_VERSION, Decision, Interpreter
from squidmesh.core.nodes import ATTEMPT, COMPENSATE, DOUBT, StepNode, TimerNode
from squidmesh.core.report import RollbackReport, report
from squidmesh.core.rollback import lost_undo
from squidmesh.core.standing import standing
from squidmesh.core.status import RunStatus
from squidmesh.core.workflow import Workflow
from squidmesh.engine.arriving import taken_up
from tests.core.sagashop import STEPS, release

MOST = 400
"""Beats of the longest story."""


def failure_of(what: str) -> Failure:
    return describe(ValueError(what))


class World:
    """One run. ``crashing``: workers are lost, and what they had not recorded with them.

    ``calm``: nothing is lost of which only a person could say what it did.
    """

    def __init__(self, workflow: Workflow[..., Any], seed: int, *, crashing: bool, calm: bool = False) -> None:
        self.workflow, self.seed, self.calm = workflow, seed, calm
        self.luck = Random(seed) if crashing else None
        self.time = 1_700_000_000_000_000
        self.history: list[Event] = []
        self.pending: list[Event] = []  # learnt, and not recorded yet
        self.heard: Counter[str] = Counter()  # outcomes, by what they are of
        self.beats = 0
        self.persons = 0
        self.blocked: ev.RunBlocked | None = None
        self.ended = False
        self.live = self.fresh([])
        self.cached, self.behind = self.fresh([]), 0
        plan = self.random("plan")
        self.plan: dict[int, str] = {}
        for what in ("cancel", "cancel", "fail", "deadline", "drained", "drained", "terminate"):
            if plan.random() < (0.5 if what == "drained" else 0.12):
                self.plan[plan.randrange(1, 25)] = what
        self.later = plan.choice(["", "", "rollback", "mark", "rollback mark"]).split()
        started = ev.RunStarted(workflow=workflow.name, version=1, input={}, interpreter_version=INTERPRETER_VERSION)
        self.learn(started)
        self.record()

    # ------------------------------------------------------------------------------------------- the engine

    def random(self, *what: Any) -> Random:
        return Random(repr((self.seed, *what)))

    def fresh(self, history: Sequence[Event]) -> Interpreter:
        live = Interpreter(self.workflow, "run-1", steps=STEPS)
        if history:
            live.replay(history, self.time)
        return live

    def learn(self, event: Event) -> None:
        event = replace(event, at=self.time)
        self.pending.append(event)
        self.live.feed([event], self.time)

    def record(self) -> None:
        """Decide, and append what was learnt with what follows, as the holder of a run does it."""
        decision = self.decide()
        while decision.withdraw and decision.blocked is None:
            for position in decision.withdraw:
                if position in self.live.open and not self.claimed(position) and self.live.withdrawn(position):
                    self.learn(ev.StepCancelled(position=position))
            decision = self.decided(self.live.take())
        self.place(decision)
        self.blocked = decision.blocked
        if self.blocked is not None:
            assert self.blocked.reason == "past_pivot", self.blocked
            if self.live.told is None or self.live.told.message != self.blocked.message:
                self.pending.append(replace(self.blocked, at=self.time))
        else:
            self.begin()
        self.ended = decision.ended
        at = len(self.history)
        self.history += [replace(event, seq=at + n) for n, event in enumerate(self.pending, 1)]
        self.pending.clear()
        self.live.length = len(self.history)
        self.check()

    def decide(self) -> Decision:
        known = [*self.history, *self.pending]
        decision = self.live.take()
        at_once = self.fresh(known)
        again = at_once.take()
        same(untimed(again.events), untimed(decision.events))
        same((again.ended, told(again.blocked)), (decision.ended, told(decision.blocked)))
        assert set(again.withdraw) >= set(decision.withdraw)  # what was asked for before is not known any more
        at_once.close()
        return self.decided(decision)

    def decided(self, decision: Decision) -> Decision:
        self.pending += [event if event.at else replace(event, at=self.time) for event in decision.events]
        return decision

    def place(self, decision: Decision) -> None:
        """Whatever the workflow does not wait for itself goes elsewhere, and some of what it waits for."""
        new = {event.position: n for n, event in enumerate(self.pending) if isinstance(event, ev.StepScheduled)}
        for node in decision.steps:
            here = node is self.live.awaiting and self.random("here", node.position).random() < 0.7
            if here or node.outcome is not None or node.elsewhere:
                continue
            if node.position not in new:
                new[node.position] = len(self.pending)
                self.pending.append(
                    ev.StepScheduled(
                        at=self.time, position=node.position, step=node.step, input=node.call.input,
                        options={}, traits=node.traits, call=node.stage,
                    )
                )  # fmt: skip
            n = new[node.position]
            event = self.pending[n]
            assert isinstance(event, ev.StepScheduled)
            self.pending[n] = replace(event, elsewhere=True)
            node.elsewhere, node.scheduled_seq = True, len(self.history) + n + 1
            self.live.asked.placed(node)

    def begin(self) -> None:
        """What the holder has in its hands begins, and that is recorded before."""
        if (undo := self.live.undo) is not None:
            self.learn(ev.UndoStarted(entry=undo.id, number=undo.attempts + 1, worker="w"))
            self.live.undo = None
        for node in list(self.live.open.values()):
            if isinstance(node, StepNode) and not node.running and self.mine(node) and self.eager(node):
                self.start(node)

    def start(self, node: StepNode) -> None:
        if node.stage == ATTEMPT:
            self.learn(ev.AttemptStarted(position=node.position, number=node.number + 1, worker="w"))
        elif node.stage == COMPENSATE:
            self.learn(ev.CompensateStarted(position=node.position, cycle=node.cycle, worker="w"))

    def mine(self, node: StepNode) -> bool:
        if node.elsewhere or node.stage == DOUBT:
            return False
        return not (node.closing and node.stage == ATTEMPT and not node.unheard)

    def eager(self, node: StepNode) -> bool:
        return self.random("eager", node.position, self.heard[node.position]).random() < 0.7

    def claimed(self, position: str) -> bool:
        """Whether a worker elsewhere has begun with a task, and will report it."""
        return self.random("claimed", position, self.heard[position]).random() < 0.5

    # -------------------------------------------------------------------------------------------- the story

    def run(self) -> World:
        while self.beats < MOST and self.beat():
            if self.luck is not None and self.luck.random() < 0.25:
                self.crash()
        assert self.beats < MOST, "the run does not end"
        return self

    def beat(self) -> bool:
        """The next thing happens; False when the story is over."""
        self.time += 1_000
        self.beats += 1
        choices = self.choices()
        wanted = self.plan.pop(self.beats, None)
        if wanted is not None and not self.ended and self.asked_to(wanted):
            pass
        elif choices:
            key = min(choices, key=lambda name: self.random("order", name, self.heard[name]).random())
            self.happens(key)
        elif self.blocked is not None or self.stands():
            self.person()
        elif self.ended and self.later:
            self.afterwards(self.later.pop(0))
        else:
            assert self.ended, (standing(self.live), list(self.live.open))
            return False
        self.record()
        return True

    def stands(self) -> bool:
        return standing(self.live).status is RunStatus.BLOCKED

    def choices(self) -> list[str]:
        if self.blocked is not None:
            return []
        found = [node.position for node in self.live.open.values() if self.moves(node)]
        found += [f"undo {entry.id}" for entry in self.live.chain.entries.values() if entry.running]
        return found

    def moves(self, leaf: Any) -> bool:
        """Whether something may happen to it without a person."""
        if not isinstance(leaf, StepNode):
            return True
        return leaf.stage != DOUBT and (leaf.running or leaf.elsewhere or self.mine(leaf))

    def happens(self, key: str) -> None:
        if key.startswith("undo "):
            entry = self.live.chain.entries[key[5:]]
            self.learn(self.undo_outcome(entry))
        elif isinstance(leaf := self.live.open[key], TimerNode):
            self.learn(ev.TimerFired(position=key))
        else:
            assert isinstance(leaf, StepNode)
            if not leaf.running:
                self.start(leaf)
            for event in self.outcome(leaf):
                self.learn(event)
        self.heard[key] += 1

    def outcome(self, node: StepNode) -> list[Event]:
        at, luck = node.position, self.random("outcome", node.position, self.heard[node.position])
        match node.stage:
            case "attempt":
                return [*self.said(node, luck), self.attempt_outcome(node, luck)]
            case "check":
                answer = luck.choice(["applied", "not_applied", "still_unknown"])
                return [ev.StepChecked(position=at, outcome=answer, result=1 if answer == "applied" else None)]
            case _:
                answer = luck.choice(["completed", "cleaned", "retry", "failed"])
                told: dict[str, Any] = {"completed": {"result": 2}, "retry": {"retry_at": self.time},
                                        "failed": {"failure": failure_of("compensate")}}.get(answer, {})  # fmt: skip
                return [ev.CompensateEnded(position=at, outcome=answer, cycle=node.cycle, **told)]

    def said(self, node: StepNode, luck: Random) -> list[Event]:
        """What a step says while it runs."""
        number = self.live.chain.registered(node.position) + 1
        name = f"{release.__module__}:release"
        if luck.random() < 0.1 and not node.has(Trait.PURE):
            return [ev.UndoRegistered(position=node.position, number=number, function=name, input={"n": 1})]
        if luck.random() < 0.05 and not node.has(Trait.PURE):
            return [ev.StepMarkedIrreversible(position=node.position, note="posted")]
        return []

    def attempt_outcome(self, node: StepNode, luck: Random) -> Event:
        at, number = node.position, node.number
        what = luck.choice(["done"] * 5 + ["failed", "again"])
        if what == "done":
            return ev.StepCompleted(position=at, result=luck.randrange(9))
        effect = luck.choice(["none", "none", "partial", "unknown", "applied"])
        if node.harmless:
            effect = "none"
        final = what == "failed" or effect == "applied" or (node.has(Trait.ONCE) and effect != "none")
        if node.failed > 3:
            final = True
        return ev.AttemptFailed(
            position=at, number=number, failure=failure_of(f"attempt at {at}"), effect=effect,
            retry_at=None if final else self.time,
        )  # fmt: skip

    def undo_outcome(self, entry: Entry) -> Event:
        luck = self.random("undo", entry.id, self.heard[f"undo {entry.id}"])
        match luck.choice(["done"] * 7 + ["again", "again", "error", "handler_missing", "irreversible"]):
            case "done":
                return ev.UndoCompleted(entry=entry.id, number=entry.attempts, note=luck.choice([None, "not needed"]))
            case "again" if entry.spent < 5:
                return ev.UndoFailed(
                    entry=entry.id, number=entry.attempts, failure=failure_of("undo"), retry_at=self.time
                )
            case reason:
                reason = "error" if reason == "again" else reason
                return ev.UndoFailed(
                    entry=entry.id, number=entry.attempts, failure=failure_of("undo, for good"), reason=reason
                )

    # ------------------------------------------------------------------------------------------- the people

    def asked_to(self, what: str) -> bool:
        """Somebody wants the run to end; whether that applies."""
        live = self.live
        pivot = live.chain.past_pivot(None)
        match what:
            case "cancel":
                event: Event = ev.CancelRequested(
                    actor="ann", note="enough", undo=self.beats % 3 > 0, force=pivot is not None
                )
            case "fail":
                event = ev.FailRequested(actor="bob", note="hopeless", undo=self.beats % 2 > 0)
            case "terminate":
                event = ev.RunTerminated(actor="bob", note="now")
            case "deadline":
                if not live.endable or live.blocked is not None:
                    return False
                self.learn(ev.TimerFired(position=DEADLINE))
                return True
            case _:
                return self.drained()
        return self.says(event)

    def drained(self) -> bool:
        """What is still out after ``drain_timeout`` counts as unknown."""
        live = self.live
        if live.draining_since is None or live.ended or live.blocked is not None:
            return False
        any_ = False
        for node in list(live.open.values()):
            if not isinstance(node, StepNode) or node.position not in live.open:
                continue
            at = node.position
            match node.stage:
                case "attempt" if node.number or node.elsewhere:
                    self.learn(ev.AttemptLost(position=at, number=node.number, final=True))
                case "attempt":
                    self.learn(ev.StepCancelled(position=at))
                case "check" if node.elsewhere:
                    self.learn(ev.StepChecked(position=at, outcome="still_unknown"))
                case "compensate" if node.elsewhere:
                    self.learn(
                        ev.CompensateEnded(position=at, outcome="failed", cycle=node.cycle, failure=failure_of("lost"))
                    )
                case _:
                    continue
            any_ = True
        return any_

    def says(self, event: Event) -> bool:
        """A person's command: taken up if it applies."""
        found = taken_up(self.live, replace(event, at=self.time))
        if found is None:
            return False
        self.learn(found)
        if self.live.again:
            self.live.close()
            self.live = self.fresh([*self.history, *self.pending])
        return True

    def person(self) -> None:
        """A person does something about what the run is blocked by."""
        self.persons += 1
        luck, live = self.random("person", self.persons), self.live
        ways: list[Event] = []
        by: dict[str, Any] = {"actor": "ann", "note": "I have looked"}
        if (told := self.blocked) is not None:
            ways.append(ev.FailRequested(undo=luck.random() < 0.5, **by))
            if told.position is not None:
                ways.append(ev.StepRetried(position=told.position, **by))
                ways.append(ev.StepSkipped(position=told.position, value=5, **by))
        for node in live.open.values():
            if isinstance(node, StepNode) and node.stage == DOUBT:
                answer = luck.choice(["applied", "not_applied"])
                ways.append(
                    ev.StepResolved(
                        position=node.position, outcome=answer, result=3 if answer == "applied" else None, **by
                    )
                )
        for rollback in live.chain.active:
            if rollback.halted is None:
                continue
            ways.append(ev.RollbackAbandoned(**by))
            for at in rollback.planned or ():
                ways += [ev.UndoRetried(entry=at, **by), ev.UndoSkipped(entry=at, **by)]
                ways.append(ev.EntrySettled(entry=at, state="undone", **by))
        luck.shuffle(ways)
        assert any(self.says(event) for event in ways), (standing(live), ways)

    def afterwards(self, what: str) -> None:
        """An operator comes to a run that has ended."""
        by: dict[str, Any] = {"actor": "eve", "note": "after the end"}
        luck = self.random("later", what)
        if what == "rollback":
            self.says(
                ev.RollbackStarted(cause="operator", on_irreversible=luck.choice(["report", "halt", "refuse"]), **by)
            )
        else:
            done = [at for rollback in self.live.chain.rollbacks for at in rollback.settled]
            if done:
                self.says(ev.EntrySettled(entry=luck.choice(done), state="undone", **by))

    # ------------------------------------------------------------------------------------------ the crashes

    def crash(self) -> None:
        """The holder dies, perhaps with something that it has learnt; another one takes over."""
        luck = self.luck
        assert luck is not None
        if self.ended:
            return
        if luck.random() < 0.3:
            self.catch_up()
            if self.behind:
                self.live.close()
                self.live, self.cached, self.behind = self.cached, self.fresh([]), 0
        else:
            self.live.close()
            self.live = self.fresh(self.history)
        if luck.random() < 0.5:  # not only put away, but lost
            for node in list(self.live.open.values()):
                if isinstance(node, StepNode) and node.running and not node.elsewhere:
                    self.lose(node)
            for entry in list(self.live.chain.entries.values()):
                if entry.running:
                    self.learn(lost_undo(entry, self.time, 1_000))
        self.record()

    def lose(self, node: StepNode) -> None:
        once = node.has(Trait.ONCE) and not node.harmless
        if self.calm and (once or (node.harmless and node.closing)) and node.stage == ATTEMPT:
            return
        if node.stage == COMPENSATE:
            self.learn(ev.CompensateEnded(position=node.position, cycle=node.cycle, outcome="lost"))
        elif node.stage == ATTEMPT:
            self.learn(ev.AttemptLost(position=node.position, number=node.number, worker="w", final=once))

    # ------------------------------------------------------------------------------------------ what is true

    def catch_up(self) -> None:
        """Another worker, which has known the run for a while, hears what is new, and decides nothing."""
        self.cached.replay(self.history[self.behind :], self.time)
        self.behind = len(self.history)
        if self.cached.again:  # a failure that it has told its body of was not let stand
            self.cached.close()
            self.cached = self.fresh(self.history)
        decision = self.cached.take()
        same(decision.events, ())
        same(told(decision.blocked), told(self.blocked))
        if self.blocked is None:
            same(state(self.cached), state(self.live))
            same(facts(self.cached.chain), facts(self.live.chain))
        else:  # a run that is blocked is put away
            self.cached.close()
            self.cached, self.behind = self.fresh([]), 0

    def check(self) -> None:
        """Another holder, who knows nothing but the history, stands where this one does, and decides nothing new."""
        again = self.fresh(self.history)
        decision = again.take()
        same(decision.events, ())
        same(told(decision.blocked), told(self.blocked))
        if self.blocked is None:
            same(decision.ended, self.ended)
            same(state(again), state(self.live))
            if not self.ended:
                same(standing(again), standing(self.live))
        same(facts(Chain.of(self.history)), facts(self.live.chain))
        same(facts(again.chain), facts(self.live.chain))
        again.close()
        if self.random("caught up", len(self.history)).random() < 0.3:
            self.catch_up()

    def reports(self) -> list[RollbackReport]:
        chain = Chain.of(self.history)
        return [report(chain, rollback, "run-1", self.workflow.name) for rollback in chain.rollbacks]


def same(one: Any, other: Any) -> None:
    """What two holders of a run have come to is one thing."""
    if one != other:
        raise AssertionError("not the same:\n" + "\n".join(differences(one, other, "")))


def differences(one: Any, other: Any, where: str) -> list[str]:
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)) and len(one) == len(other):
        both = enumerate(zip(one, other, strict=True))
        return [line for n, pair in both if pair[0] != pair[1] for line in differences(*pair, f"{where}[{n}]")]
    return [f"  at {where or 'all'}:", f"    {one!r}", f"    {other!r}"]


def untimed(events: Sequence[Event]) -> list[Event]:
    return [replace(event, at=0, seq=0) for event in events]


def told(blocked: ev.RunBlocked | None) -> Any:
    return blocked and (blocked.reason, blocked.message, blocked.position)


def state(live: Interpreter) -> Any:
    """All that must be the same in two interpreters of one run."""
    leaves = [
        (n.position, n.step, n.number, n.running, n.failed, n.lost, n.closing, n.elsewhere, n.stage, n.effect,
         n.cycle, n.checked, n.compensated, n.unheard, n.failure, n.retry_at, n.traits)
        if isinstance(n, StepNode) else (n.position, getattr(n, "due", None))
        for n in live.open.values()
    ]  # fmt: skip
    over = live.script.closing or live.ended or any(rollback.begun.cause in WHOLE for rollback in live.chain.rollbacks)
    awaited = live.awaiting.position if live.awaiting is not None and not over else None
    ending = live.ending.kind if live.ending is not None and not live.ended else None
    undo = live.undo and live.undo.id
    return (
        sorted(leaves), awaited, ending, live.ended, live.blocked, undo,
        None if over else (sorted(live.scopes.due), dict(live.scopes.wanted)),
    )  # fmt: skip


def facts(chain: Chain) -> Any:
    """All that a chain knows, but where its walks stand."""
    entries = [
        (e.id, e.kind, e.step, e.seq, e.scope, e.traits, e.result, e.certain, e.failure, e.mark, e.attempts, e.spent,
         e.lost, e.running, e.retry_at, untimed([x for x in (e.failed, e.skip) if x]), e.done, e.note, e.settled)
        for e in chain.entries.values()
    ]  # fmt: skip
    rollbacks = [
        (
            r.number,
            untimed([e for e in (r.begun, r.halted, r.abandoned) if e]),
            r.planned,
            r.settled,
            list(r.settled),
            r.outcome,
            r.revision,
            r.stale,
        )
        for r in chain.rollbacks
    ]
    scopes = [(s.id, s.parent, s.commit, s.left, s.failed) for s in chain.scopes.values()]
    active = [r.number for r in chain.active]
    return entries, rollbacks, scopes, active, chain.races, chain.pivots, chain.undone, type(chain.ended)


# -------------------------------------------------------------------------------------------------- invariants


def hold(history: Sequence[Event], reports: Sequence[RollbackReport]) -> None:
    """What section 6 of the contract says of every history, and of its reports."""
    chain = Chain.of(history)
    for rollback, told_ in zip(chain.rollbacks, reports, strict=True):
        _one_outcome_each(rollback, told_)
        _clean_means_clean(told_)
    _walks(history, chain)


def _one_outcome_each(rollback: Rollback, told_: RollbackReport) -> None:
    listed = [*told_.undone, *told_.irreversible, *told_.failed, *told_.unaccounted, *told_.skipped, *told_.pending]
    planned = rollback.planned or []
    assert len(planned) == len(set(planned)) == len(listed)
    assert not (told_.pending and told_.outcome)
    assert set(rollback.settled) <= set(planned)


def _clean_means_clean(told_: RollbackReport) -> None:
    left = [*told_.irreversible, *told_.failed, *told_.unaccounted, *told_.pending]
    harmless = all(entry.reason in ("never_ran", "committed") for entry in told_.skipped)
    if told_.outcome == "clean":
        assert not left
        assert harmless
    if told_.outcome == "partial":
        assert left or not harmless
    if told_.outcome == "refused":
        assert told_.irreversible or told_.revision > 1


def _walks(history: Sequence[Event], chain: Chain) -> None:
    attempts: set[str] = set()  # in flight
    ended = False
    running: str | None = None
    done: set[str] = set()
    numbers: Counter[str] = Counter()
    plans: dict[int, list[str]] = {}
    active: list[int] = []
    last: dict[int, int] = {}
    places: dict[str, int] = {}
    begun: dict[int, ev.RollbackStarted] = {}
    for event in history:
        match event:
            case ev.AttemptStarted(position=at):
                assert not ended
                attempts.add(at)
            case ev.StepScheduled():
                assert not ended
            case ev.AttemptFailed(position=at) | ev.AttemptLost(position=at) | ev.StepCancelled(position=at):
                attempts.discard(at)
            case ev.StepCompleted(position=at) | ev.StepFailed(position=at):
                attempts.discard(at)
            case ev.RollbackStarted(number=number):
                assert number == len(begun) + 1
                begun[number] = event
                active.append(number)
                assert len(active) == 1, "one rollback at a time"
            case ev.RollbackPlanned(number=number, entries=entries):
                assert number not in plans, "planned once"
                plans[number] = entries
                places |= {entry: n for n, entry in enumerate(entries)}
                seqs = [seq_of(history, event.seq, entry) for entry in entries]
                assert seqs == sorted(seqs, reverse=True), "the newest first"
            case ev.UndoStarted(entry=entry, number=number):
                assert running is None, "no two undos overlap"
                assert active
                assert entry in plans[active[0]], "only what was planned"
                assert entry not in done, "undone once"
                numbers[entry] += 1
                assert number == numbers[entry], "attempts count from 1"
                if number == 1:
                    assert places[entry] > last.get(active[0], -1), "in the order of the plan"
                    last[active[0]] = places[entry]
                scope = begun[active[0]].scope
                if begun[active[0]].cause != "race":
                    assert not any(chain.within(chain.scope_at(at), scope) for at in attempts), "drained first"
                running = entry
            case ev.UndoCompleted(entry=entry):
                assert running == entry
                done.add(entry)
                running = None
            case ev.UndoFailed(entry=entry):
                assert running == entry
                running = None
            case ev.RollbackEnded(number=number, revision=revision):
                assert running is None
                if revision == 1:
                    active.remove(number)
            case ev.RunCompleted() | ev.RunFailed() | ev.RunCancelled():
                assert not ended, "a run ends once"
                assert not attempts
                assert not active
                ended = True
            case ev.RunTerminated():
                ended, running = True, None
                active.clear()
                attempts.clear()


def seq_of(history: Sequence[Event], before: int, entry: str) -> int:
    """When an entry of a plan was armed, as the plain history says."""
    found = 0
    for event in history[: before - 1]:
        at = getattr(event, "position", None)
        if isinstance(event, ev.UndoRegistered) and f"{at}:undo:{event.number}" == entry:
            found = event.seq
        if at != entry:
            continue
        if isinstance(event, ev.StepCompleted) or (isinstance(event, ev.StepFailed) and event.effect != "none"):
            found = event.seq
    assert found
    return found


def story(report_: RollbackReport) -> Any:
    """What a report says, but for numbers of attempts and events, and times."""
    told_ = report_.model_dump(exclude={"next_actions"})
    for state_ in ("undone", "irreversible", "failed", "unaccounted", "skipped", "pending"):
        for entry in told_[state_]:
            for changing in ("attempts", "seq", "at"):
                del entry[changing]
            entry["error"] = entry["error"] and entry["error"]["type"]  # how many were lost is told in its message
    return told_
