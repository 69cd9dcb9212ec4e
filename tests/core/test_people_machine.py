"""Messages, votes, timers, operators and holders that die, in any order: what was said once counts once, whatever dies.

Two holders play the same run. One lives for ever; the other is replaced, at any moment, by one that knows only what is
on record. What they record is the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from squidmesh.core import events as ev
from squidmesh.core.calls import Command
from squidmesh.core.commands import gather, race, sleep
from squidmesh.core.events import Event
from squidmesh.core.gates import APPROVAL, Gates, approval, decisive, pause
from squidmesh.core.interpreter import Interpreter
from squidmesh.core.nodes import GateNode, SignalNode, TimerNode
from squidmesh.core.signals import Signal
from squidmesh.core.standing import standing
from squidmesh.core.status import Reason, RunStatus
from squidmesh.core.workflow import Flow, Workflow, workflow
from squidmesh.engine.arriving import taken_up
from tests.core.play import Play

Op = tuple[Any, ...]

NAMES = ("a", "b")
ACTORS = ("ann", "bob", "cy")

leaves: st.SearchStrategy[Op] = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from(NAMES), st.sampled_from([None, 5.0])),
    st.tuples(st.just("approval"), st.integers(1, 3), st.sampled_from([None, 5.0])),
    st.tuples(st.just("pause"), st.sampled_from([None, 5.0])),
    st.tuples(st.just("sleep"), st.sampled_from([1, 9])),
)
programs: st.SearchStrategy[list[Op]] = st.lists(
    st.one_of(leaves, st.tuples(st.sampled_from(["gather", "race"]), st.lists(leaves, min_size=1, max_size=3))),
    min_size=1,
    max_size=5,
)


def command(op: Op) -> Command[Any]:
    match op:  # type: ignore[exhaustive-match]
        case ("wait", name, timeout):
            return Signal(name, int).wait(timeout=timeout)
        case ("approval", needed, deadline):
            return approval("gate", needed=needed, deadline=deadline)
        case ("pause", deadline):
            return pause("pause", int, deadline=deadline)
        case ("sleep", duration):
            return sleep(duration)
        case ("gather", members):
            return gather([command(member) for member in members])
    return race(*[command(member) for member in op[1]])


def workflow_of(program: Sequence[Op]) -> Workflow[..., Any]:
    @workflow(name="people.program")
    def walks() -> Flow[list[str]]:
        seen: list[str] = []
        for op in program:
            seen += [repr((yield from command(op)))]
        return seen

    return walks


class Run(Play):
    """A run as its holder drives it: while it is held, what comes is recorded and nothing follows."""

    def hears(self, *events: Event, dies: bool = False) -> None:
        """These events arrive and are recorded with what follows from them; or the holder dies before that."""
        if self.live.held is not None:
            self.replaced()  # it may have gone on in memory, and is not kept
        for event in events:
            if (taken := taken_up(self.live, event)) is not None:
                self.learn(taken)
        if dies:
            self.replaced()
            self.hears(*events)
        elif self.live.held is None:
            self.record()
        else:
            seq = len(self.history) + 1
            self.history += [replace(event, seq=seq + n) for n, event in enumerate(self.unrecorded)]
            self.unrecorded.clear()

    def replaced(self) -> None:
        """The next holder knows what is on record; while the run is held it decides nothing."""
        self.live.close()
        self.unrecorded.clear()
        self.live = Interpreter(self.workflow, "run-1")
        self.live.replay(self.history, self.time)
        if self.live.held is None:
            assert self.live.take().events == ()


class People(RuleBasedStateMachine):
    """``one`` is never restarted (but by a hold), ``other`` is, at any moment."""

    @initialize(program=programs)
    def start(self, program: list[Op]) -> None:
        made = workflow_of(program)
        self.one, self.other = Run(made), Run(made)
        self.dies = False

    def happens(self, *events: Event) -> None:
        for run in (self.one, self.other):
            run.time += 1_000
        self.one.hears(*events)
        self.other.hears(*events, dies=self.dies)
        self.dies = False

    def going_on(self) -> bool:
        return not self.one.live.ended

    def open(self, kind: type[Any]) -> list[str]:
        return [position for position, leaf in self.one.live.open.items() if isinstance(leaf, kind)]

    @precondition(going_on)
    @rule(
        messages=st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from([1, 2, "no number"])), max_size=3),
        key=st.sampled_from([None, None, "k", "l"]),
    )
    def messages_come(self, messages: list[tuple[str, Any]], key: str | None) -> None:
        self.happens(*(ev.SignalReceived(name=name, payload=payload, key=key) for name, payload in messages))

    @precondition(going_on)
    @rule(data=st.data())
    def people_vote(self, data: st.DataObject) -> None:
        if gates := self.open(GateNode):
            at = data.draw(st.sampled_from(gates))
            votes = data.draw(st.lists(st.tuples(st.sampled_from(ACTORS), st.booleans()), min_size=1, max_size=3))
            self.happens(*(ev.VoteCast(position=at, actor=actor, approved=yes) for actor, yes in votes))

    @precondition(going_on)
    @rule(data=st.data(), payload=st.sampled_from([1, None, "no number"]))
    def somebody_resumes(self, data: st.DataObject, payload: Any) -> None:
        if gates := self.open(GateNode):
            at = data.draw(st.sampled_from(gates))
            self.happens(*(ev.GateDecided(position=at, payload=payload, actor=actor) for actor in ACTORS[:2]))

    @precondition(going_on)
    @rule(data=st.data())
    def time_is_up(self, data: st.DataObject) -> None:
        live = self.one.live
        timed = ((at, leaf) for at, leaf in live.open.items() if isinstance(leaf, (TimerNode, SignalNode, GateNode)))
        due = [at for at, leaf in timed if leaf.due is not None]
        if due and live.held is None:
            at = data.draw(st.sampled_from(due))
            self.happens(ev.GateExpired(position=at) if at in live.asked.gates else ev.TimerFired(position=at))

    @precondition(going_on)
    @rule(hold=st.booleans())
    def an_operator_holds_or_releases(self, hold: bool) -> None:
        self.happens(ev.RunHeld(actor="ops") if hold else ev.RunReleased(actor="ops"))

    @rule()
    def the_holder_dies_at_the_next_moment(self) -> None:
        self.dies = True

    @precondition(going_on)
    @rule(sure=st.sampled_from([False, False, False, True]))
    def it_is_cancelled(self, sure: bool) -> None:
        if sure:
            self.happens(ev.CancelRequested(actor="ann"))

    @invariant()
    def whoever_died_the_record_is_the_same(self) -> None:
        assert self.one.history == self.other.history

    @invariant()
    def a_replay_decides_nothing_new(self) -> None:
        fresh = Interpreter(self.one.workflow, "run-1")
        fresh.replay(self.one.history, self.one.time)
        if fresh.held is None:
            assert fresh.take().events == ()
        assert sorted(fresh.open) == sorted(self.one.live.open)
        assert fresh.mail.untaken() == self.one.live.mail.untaken()
        assert standing(fresh) == standing(self.one.live)
        fresh.close()

    @invariant()
    def each_message_is_taken_or_rejected_once_and_in_order(self) -> None:
        names: list[str] = []
        done: dict[str, list[int]] = {}
        keys: Counter[str] = Counter()
        for event in self.one.history:
            match event:
                case ev.SignalReceived():
                    names.append(event.name)
                    keys.update([event.key] if event.key else [])
                case ev.SignalTaken() | ev.SignalRejected(number=1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9):
                    assert names[event.number - 1] == event.name
                    done.setdefault(event.name, []).append(event.number)
                case _:
                    pass
        assert all(numbers == sorted(set(numbers)) for numbers in done.values())
        assert all(count == 1 for count in keys.values())

    @invariant()
    def every_gate_has_one_outcome_and_the_votes_say_which(self) -> None:
        gates, ends = Gates(), Counter[str]()
        for event in self.one.history:
            gates.apply(event)
            if isinstance(event, (ev.GateDecided, ev.GateExpired)):
                ends[event.position] += 1
        assert all(count == 1 for count in ends.values())
        for gate in gates.by_position.values():
            if gate.event.gate == APPROVAL and isinstance(gate.end, ev.GateDecided):
                by = decisive(gate.votes.values(), gate.event.needed)
                assert by is not None
                assert (by.actor, by.approved) == (gate.end.actor, gate.end.approved)

    @invariant()
    def a_run_that_is_held_stands(self) -> None:
        if self.one.live.held is not None:
            assert standing(self.one.live) == standing(self.one.live).__class__(RunStatus.PAUSED, Reason.HELD, None)


TestPeople = People.TestCase
TestPeople.settings = settings(max_examples=100, stateful_step_count=20, deadline=None)
