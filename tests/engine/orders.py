"""What the world may say to a run, and all the outcomes that the orders in which it may say it give without a crash.

The rule of this file: whoever speaks says one thing after the other, and nobody waits for anybody else. An order is one
way to put in line what all of them say, and the looks of one worker that never dies; a vote before its gate is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import permutations, product
from typing import Any

from squidmesh import Flow, NoSuchEntry, NothingOpen, Signal, approval, gather, pause, race, sleep, step, workflow
from squidmesh import events as ev
from squidmesh.core.status import ENDED
from squidmesh.testing import VirtualMesh
from tests.engine.cluster import Cluster, Fate

DAYS = timedelta(days=10)
"""What anything here waits for at most: no worker that dies and no lease that ends makes it that late."""
LONGER = timedelta(days=11)

PAID = Signal("orders.paid", int)


@step(name="orders.noted", max_lost=10_000)
def noted(what: Any) -> Any:
    return what


@workflow(name="orders.twice_in_time")
def twice_in_time() -> Flow[list[Any]]:
    first = yield from PAID.wait(timeout=DAYS)
    return [(yield from noted(first)), (yield from PAID.wait(timeout=DAYS))]


@workflow(name="orders.asks_two")
def asks_two() -> Flow[list[Any]]:
    said = yield from approval("boss", needed=2, deadline=DAYS)
    again = yield from approval("board", deadline=DAYS)
    return [(d.approved, d.expired, d.actor, [vote.actor for vote in d.votes]) for d in (said, again)]


@workflow(name="orders.first_of_three")
def first_of_three() -> Flow[list[Any]]:
    won, value = yield from race(PAID.wait(), pause("look", int), sleep(DAYS))
    return [won, value, (yield from PAID.wait(timeout=DAYS)), (yield from noted(won))]


@workflow(name="orders.both")
def both() -> Flow[list[Any]]:
    paid, said = yield from gather(PAID.wait(timeout=DAYS), approval("boss", deadline=DAYS))
    return [(yield from noted(paid)), said.approved, said.expired, (yield from PAID.wait(timeout=DAYS))]


# ------------------------------------------------------------------------------------------------ what is said


@dataclass(frozen=True)
class Word:
    """Something that is said to a run, with a key; without one it is said once, for it would count twice."""

    said: Callable[[Any, str], Any]
    keyed: bool = True


def paid(cents: int) -> Word:
    return Word(lambda handle, key: handle.signal(PAID, cents, key=key))


def bare(payload: Any) -> Word:
    """By the name of the signal alone, and without a key."""
    return Word(lambda handle, _: handle.signal(PAID.name, payload), keyed=False)


def approves(actor: str, gate: str) -> Word:
    return Word(lambda handle, key: handle.approve(gate, actor=actor, key=key))


def rejects(actor: str, gate: str) -> Word:
    return Word(lambda handle, key: handle.reject(gate, actor=actor, key=key))


def resumes(payload: Any) -> Word:
    return Word(lambda handle, key: handle.resume(payload, actor="cy", key=key))


holds = Word(lambda handle, key: handle.hold(actor="ops", key=key))
releases = Word(lambda handle, key: handle.release(actor="ops", key=key))
time_passes = Word(lambda *_: None, keyed=False)
"""Not said at all: whoever plays lets the time pass."""


@dataclass(frozen=True)
class Scene:
    """A workflow, and those who speak to it, each with the words that it says one after the other."""

    workflow: Any
    speakers: tuple[tuple[Word, ...], ...]

    def word(self, speaker: int, nth: int) -> tuple[Word, str]:
        return self.speakers[speaker][nth], f"{speaker}.{nth}"

    @property
    def whose(self) -> list[int]:
        """Who speaks, once for each word: put in line, that is an order."""
        return [speaker for speaker, words in enumerate(self.speakers) for _ in words]

    def orders(self) -> Iterator[tuple[int, ...]]:
        """All of them."""
        return iter(sorted(set(permutations(self.whose))))


SCENES = {
    "a message or its timeout": Scene(twice_in_time, ((bare(1), paid(2)), (time_passes,))),
    "two messages of two senders, one of which does not fit": Scene(
        twice_in_time, ((paid(1),), (bare("no number"), paid(2)), (time_passes,))
    ),
    "two approvals, a rejection and a deadline": Scene(
        asks_two,
        ((approves("ann", "boss"), approves("ann", "board")), (approves("bob", "boss"),), (rejects("cy", "boss"),)),
    ),
    "votes and a deadline": Scene(
        asks_two,
        ((approves("ann", "boss"),), (approves("bob", "boss"), rejects("bob", "board")), (time_passes,)),
    ),
    "the first of three, and what the others bring": Scene(
        first_of_three, ((paid(1),), (resumes("no number"), resumes(7)), (time_passes,))
    ),
    "an operator holds it meanwhile": Scene(
        both, ((holds, releases), (paid(1),), (approves("ann", "boss"),), (time_passes,))
    ),
}


def say(handle: Any, word: Word, key: str) -> None:
    """Whoever has had no answer says it again, with the same key; where nothing is open, or all is over, it is lost."""
    if handle.status() in ENDED:
        return
    for _ in range(1 + word.keyed):
        try:
            word.said(handle, key)
        except (NothingOpen, NoSuchEntry):
            return


Outcome = tuple[Any, ...]


def outcome(handle: Any) -> Outcome:
    """How a run has come out: its result, how each wait ended, and which messages nobody has taken."""
    ends, messages, taken = [], [], set()
    for event in handle.history():
        match event:
            case ev.SignalReceived():
                messages.append(event.payload)
            case ev.SignalTaken() | ev.SignalRejected(number=1 | 2 | 3):
                taken.add(event.number)
                ends.append((event.position, event.kind, messages[event.number - 1]))
            case ev.VoteCast():
                ends.append((event.position, event.kind, event.actor))
            case ev.TimerFired() | ev.GateExpired() | ev.GateDecided() | ev.TimerCancelled():
                ends.append((event.position, event.kind, getattr(event, "actor", None)))
            case _:
                pass
    left = tuple(sorted(repr(said) for n, said in enumerate(messages, 1) if n not in taken))
    return handle.status(), repr(handle.result()), tuple(sorted(ends, key=repr)), left


class Possible:
    """The outcomes of all orders of a scene without a crash, looked for when asked; those of a busy worker first."""

    def __init__(self, scene: Scene) -> None:
        self.found: set[Outcome] = set()
        self._ahead = self._orders(scene)

    def __contains__(self, outcome: Outcome) -> bool:
        while outcome not in self.found:
            if (other := next(self._ahead, None)) is None:
                return False
            self.found.add(other)
        return True

    def _orders(self, scene: Scene) -> Iterator[Outcome]:
        looks = sorted(
            product([True, False], repeat=len(scene.whose)),
            key=lambda looks: (looks != tuple(sorted(looks)), looks.count(False)),
        )
        return (without_crash(scene, order, look) for look in looks for order in scene.orders())


def without_crash(scene: Scene, order: Sequence[int], looks: Sequence[bool]) -> Outcome:
    """One worker, which never dies; ``looks``: whether, before each word, it does all that there is to do."""
    with VirtualMesh() as mesh:
        handle = mesh.start(scene.workflow())
        for look, (word, key) in zip(looks, in_line(scene, order), strict=True):
            if look:
                mesh.drain()
            if word is not time_passes:
                say(handle, word, key)
            elif look:
                mesh.advance(LONGER)
            else:
                mesh.sleep_through(LONGER)
        handle.result()  # what nobody says any more times out
        return outcome(handle)


def in_line(scene: Scene, order: Sequence[int]) -> Iterator[tuple[Word, str]]:
    said = [0] * len(scene.speakers)
    for speaker in order:
        yield scene.word(speaker, said[speaker])
        said[speaker] += 1


POSSIBLE = {name: Possible(scene) for name, scene in SCENES.items()}


# ----------------------------------------------------------------------------------------------- with crashes


class Crowded(Cluster):
    """Two workers, and a world that speaks in the middle of what they do: before the calls of the store named."""

    def __init__(self, mesh: VirtualMesh, fates: Any, handle: Any, words: Sequence[tuple[int, Word, str]]) -> None:
        self.handle, self.calls = handle, 0
        self.words = list(words)  # each with the number of calls after which it is said
        super().__init__(mesh, fates, (("default",), ("default",)))

    def next_fate(self) -> Fate:
        self.calls += 1
        while self.words and self.words[0][0] <= self.calls:
            self.speak()
        return super().next_fate()

    def speak(self) -> None:
        _, word, key = self.words.pop(0)
        if word is not time_passes:
            return say(self.handle, word, key)
        self.pass_time(LONGER.total_seconds())
        for member in self.members:
            if not member.dead:
                member.worker.heartbeat()
        return None

    def play(self) -> Outcome:
        """To the end: what is not said yet is said when there is nothing to do, and then the time of all waits ends."""

        def world(_: Any) -> bool:
            if self.handle.status() in ENDED:
                return False
            if self.words:
                self.speak()
            else:
                self.pass_time(LONGER.total_seconds())
            return True

        self.settle([self.handle], world)
        return outcome(self.handle)
