"""A state machine that plays the engine: outcomes in any order, attempts lost, holders that die at any time."""

from __future__ import annotations

from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from squidmesh.core import events as ev
from squidmesh.core.applying import DEADLINE
from squidmesh.core.nodes import StepNode
from squidmesh.core.standing import standing
from squidmesh.core.status import RunStatus
from tests.core.play import Play
from tests.core.programs import Op, programs, workflow_of
from tests.core.test_replay import outcome, replayed, seeds, state


class Engine(RuleBasedStateMachine):
    """One run, its store (a history, and tasks that workers elsewhere have claimed) and its holder."""

    @initialize(program=programs, seed=seeds)
    def start(self, program: list[Op], seed: int) -> None:
        self.luck = Random(seed)
        self.claimed: set[str] = set()
        self.play = Play(workflow_of(program))
        self.cached, self.length = (
            replayed(self.play.workflow, self.play.history, self.play.time)[0],
            len(self.play.history),
        )

    def running(self) -> bool:
        return not self.play.last.ended

    def record(self) -> None:
        """Place some of the new steps elsewhere, take tasks back that nobody should begin, append."""
        play = self.play
        decision = play.live.take()
        while decision.withdraw:
            play.unrecorded.extend(decision.events)
            for position in decision.withdraw:
                if position in play.live.open and position not in self.claimed:
                    play.learn(ev.StepCancelled(position=position))
            decision = play.live.take()
        play.unrecorded.extend(decision.events)
        fresh = [event.position for event in play.unrecorded if isinstance(event, ev.StepScheduled)]
        away = {position for position in fresh if position in play.live.open and self.luck.random() < 0.5}
        ended = decision.ended
        play.record(elsewhere=away)
        assert play.last.events == ()
        assert ended == play.live.ended

    @precondition(running)
    @rule(several=st.integers(1, 3))
    def something_happens(self, several: int) -> None:
        play = self.play
        play.time += self.luck.randrange(2_000_000)
        for _ in range(several):
            if play.open:
                self.happens(self.luck.choice(sorted(play.open)))
        self.record()

    def happens(self, position: str) -> None:
        leaf = self.play.live.open[position]
        if isinstance(leaf, StepNode) and leaf.elsewhere:
            self.claimed.add(position)  # whoever has claimed it reports that together with the outcome
            self.play.learn(*outcome(self.play, position, self.luck))
        for event in outcome(self.play, position, self.luck) if position in self.play.live.open else ():
            if position in self.play.live.open:
                self.play.learn(event)
        if isinstance(leaf, StepNode) and not leaf.running:
            self.claimed.discard(position)

    @precondition(running)
    @rule()
    def a_worker_elsewhere_claims_a_task(self) -> None:
        away = [n.position for n in self.play.live.open.values() if isinstance(n, StepNode) and n.elsewhere]
        self.claimed.update(away[:1])

    @precondition(running)
    @rule()
    def the_holder_dies_with_what_it_has_not_recorded(self) -> None:
        play, claimed = self.play, set(self.claimed)
        if play.open:
            self.happens(self.luck.choice(sorted(play.open)))
        play.live.take()
        self.claimed = claimed
        assert play.restart().events == ()
        for node in list(play.live.open.values()):  # the next holder finds attempts that nobody drives any more
            if isinstance(node, StepNode) and node.running and not node.elsewhere:
                play.learn(ev.AttemptLost(position=node.position, number=node.number))
        self.record()

    @precondition(running)
    @rule()
    def another_holder_catches_up(self) -> None:
        play = self.play
        self.cached.replay(play.history[self.length :], play.time)
        assert self.cached.take().events == ()
        self.length = len(play.history)
        play.live, self.cached = self.cached, play.live

    @precondition(running)
    @rule(how=st.sampled_from(["cancel", "deadline"]))
    def it_is_to_end(self, how: str) -> None:
        if self.luck.random() < 0.9:  # or no run would live long
            return
        end = ev.CancelRequested() if how == "cancel" else ev.TimerFired(position=DEADLINE)
        self.play.learn(end)
        self.record()

    @rule()
    def a_late_message_wakes_it(self) -> None:
        assert self.play.live.take().events == ()

    @invariant()
    def a_replay_comes_to_the_same(self) -> None:
        fresh, decision = replayed(self.play.workflow, self.play.history, self.play.time)
        assert (decision.events, decision.steps, decision.blocked) == ((), (), None)
        assert state(fresh) == state(self.play.live)
        if not fresh.ended:
            assert standing(fresh) == standing(self.play.live)

    @invariant()
    def a_run_has_ended_just_when_nothing_is_left_to_wait_for(self) -> None:
        live = self.play.live
        assert live.ended == (not live.open)
        assert [e.kind for e in self.play.history if e.kind in ("RunCompleted", "RunFailed", "RunCancelled")] == (
            [self.play.history[-1].kind] if live.ended else []
        )
        if not live.ended:
            assert standing(live).status in (RunStatus.RUNNING, RunStatus.WAITING, RunStatus.UNDOING)

    @invariant()
    def every_open_leaf_is_somebodys(self) -> None:
        for node in self.play.live.open.values():
            if isinstance(node, StepNode) and node.closing:
                assert node.running or node.unheard or node.position in self.claimed


TestEngine = Engine.TestCase
TestEngine.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
