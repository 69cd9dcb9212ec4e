"""The checker finds each thing that must not be, and nothing in what may be."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from tests.chaos.checker import check
from tests.chaos.effects import Effect
from tests.chaos.ledger import Ledger, Run, append
from tests.chaos.promise import Promise

PARENT, CHILD, LINK = "parent", "child", "link"


class World:
    """A parent that put something, paid, had a child, and was undone; the child continued as a link.

    Events are as they are stored: ``[kind, time, *fields]``.
    """

    def __init__(self) -> None:
        started = ["RunStarted", 0, "chaos_family", 1, {}, 1]
        self.status = {PARENT: "undone", CHILD: "continued", LINK: "undone"}
        self.events: dict[str, list[list[Any]]] = {
            PARENT: [
                [*started, "run-1"],
                *_step("1", "chaos_put", ["undo"]), *_step("2", "chaos_pay", ["undo", "transactional"]),
                ["ChildStarted", 0, "3", CHILD, "chaos_links", {}], ["ChildEnded", 0, "3", LINK, "completed"],
                *_step("4", "chaos_once", ["undo", "once"]), ["RunCompleted", 0, 7],
                ["RollbackStarted", 0, "operator", 1], ["RollbackPlanned", 0, 1, ["4", "3", "2", "1"]],
                *_undo("4"), *_undo("3"), *_undo("2"), *_undo("1"),
                ["RollbackEnded", 0, 1, "clean"], ["RunUndone", 0],
            ],
            CHILD: [
                [*started, None, "default", 0, None, PARENT], *_step("1", "chaos_look", ["pure"]),
                ["RunContinued", 0, LINK, "chaos_links", 1],
            ],
            LINK: [
                [*started, None, "default", 0, None, PARENT, *[None] * 9, CHILD], *_step("1", "chaos_put", ["undo"]),
                ["RunCompleted", 0, 7], ["RollbackStarted", 0, "parent", 1], ["RollbackPlanned", 0, 1, ["1"]],
                *_undo("1"), ["RollbackEnded", 0, 1, "clean"], ["RunUndone", 0],
            ],
        }  # fmt: skip
        self.effects = [
            Effect(run, step, f"{run}:{key}", 1, 1)
            for run, step, key in (
                (PARENT, "chaos_put", "1"), (PARENT, "chaos_once", "4"), (LINK, "chaos_put", "1"),
                (PARENT, "chaos_once", "4:undo"), (LINK, "chaos_put", "1:undo"), (PARENT, "chaos_put", "1:undo"),
            )
        ]  # fmt: skip
        self.bank = {(PARENT, f"{PARENT}:2"): [5], (PARENT, f"{PARENT}:2:undo"): [-5]}
        self.left: dict[str, list[str]] = {}
        self.held: dict[str, str] = {}
        self.open: set[str] = set()
        self.promises = [Promise(PARENT, frozenset({"undone"}), words={"act-0": "rollback"})]

    def laws(self) -> set[str]:
        """The laws that are violated here."""
        runs = {}
        for name, rows in self.events.items():
            key = "run-1" if name == PARENT else None
            parent, chain = (None, None) if name == PARENT else (PARENT, CHILD)
            runs[name] = Run(
                name, "chaos_family", key, self.status[name], None, parent, name not in self.open,
                self.held.get(name), len(rows), chain,
            )  # fmt: skip
            append(runs[name], 1, rows)
        return {found.law for found in check(Ledger(runs, self.left, self.bank), self.effects, self.promises)}

    def at(self, run: str, kind: str, place: int = 0) -> int:
        """Where the event of a kind stands among those of a run."""
        return [n for n, event in enumerate(self.events[run]) if event[0] == kind][place]

    def drop(self, run: str, kind: str, place: int = 0) -> None:
        del self.events[run][self.at(run, kind, place)]

    def change(self, run: str, kind: str, field: int, value: Any, place: int = 0) -> None:
        self.events[run][self.at(run, kind, place)][field + 2] = value


def _step(position: str, name: str, traits: list[str]) -> list[list[Any]]:
    return [
        ["StepScheduled", 0, position, name, {}, {}, False, traits],
        ["AttemptStarted", 0, position],
        ["StepCompleted", 0, position, 1],
    ]


def _undo(entry: str) -> list[list[Any]]:
    return [["UndoStarted", 0, entry], ["UndoCompleted", 0, entry], ["EntrySettled", 0, entry, "undone"]]


def test_a_world_in_order_violates_nothing() -> None:
    assert World().laws() == set()


def _drop_effect(key: str) -> Callable[[World], object]:
    def drop(world: World) -> None:
        world.effects = [effect for effect in world.effects if effect.key != key]

    return drop


def _again(key: str, attempt: int) -> Callable[[World], object]:
    def again(world: World) -> None:
        found = next(effect for effect in world.effects if effect.key == key)
        world.effects.append(Effect(found.run, found.step, key, attempt, 2))

    return again


def _swap_plan(world: World) -> None:
    world.change(PARENT, "RollbackPlanned", 1, ["4", "2", "3", "1"])


def _walk_out_of_order(world: World) -> None:
    world.events[PARENT][world.at(PARENT, "UndoStarted", 0)][2] = "1"


def _left(world: World) -> None:
    world.left[PARENT] = ["inbox SignalReceived"]


BROKEN: dict[str, tuple[Callable[[World], object], str]] = {
    "a row is missing": (lambda w: w.events[CHILD].pop(0), "a run starts once"),
    "it ends twice": (lambda w: w.events[LINK].append(["RunFailed", 0, {}]), "a run ends once"),
    "its status is another": (lambda w: w.status.update(link="completed"), "the status is that of history"),
    "it never ended": (lambda w: w.open.add(LINK), "every run ends"),
    "a worker holds it": (lambda w: w.held.update(link="w-1"), "nothing is left claimed"),
    "a message lies there": (_left, "nothing is left of what has ended"),
    "code broke": (lambda w: w.events[LINK].insert(2, ["RunBlocked", 0, "code_error", "x"]), "no code breaks"),
    "an effect is missing": (_drop_effect(f"{PARENT}:1"), "what is recorded has happened"),
    "an attempt was made twice": (_again(f"{PARENT}:1", 1), "an attempt is made once"),
    "an attempt is not recorded": (_again(f"{PARENT}:1", 2), "an attempt is recorded before it runs"),
    "once was twice": (_again(f"{PARENT}:4", 2), "what is not idempotent happens at most once"),
    "attempt 2 came first": (
        lambda w: w.events[PARENT][2].append(2), "attempts are numbered without a gap",
    ),
    "money was paid twice": (
        lambda w: w.bank.update({(PARENT, f"{PARENT}:2"): [5, 5]}), "transactional effects happen exactly once",
    ),
    "money was paid back twice": (
        lambda w: w.bank.update({(PARENT, f"{PARENT}:2:undo"): [-5, -5]}), "transactional undos happen exactly once",
    ),
    "other money was paid back": (
        lambda w: w.bank.update({(PARENT, f"{PARENT}:2:undo"): [-4]}), "an undo reverses what was done",
    ),
    "nobody knows of it": (
        lambda w: w.effects.append(Effect(PARENT, "chaos_put", f"{PARENT}:9", 1, 1)), "nothing happens unrecorded",
    ),
    "the plan is out of order": (_swap_plan, "undo goes newest first"),
    "the walk is out of order": (_walk_out_of_order, "undo goes newest first"),
    "an entry has no outcome": (lambda w: w.drop(PARENT, "EntrySettled"), "each entry has one outcome"),
    "the plan forgets something": (
        lambda w: w.change(PARENT, "RollbackPlanned", 1, ["4", "3", "2"]), "all that was done is planned",
    ),
    "the child was not clean": (
        lambda w: w.change(LINK, "RollbackEnded", 1, "partial"), "clean is never said falsely",
    ),
    "the child was not undone": (
        lambda w: w.status.update(link="completed"), "clean is never said falsely",
    ),
    "clean is a lie": (lambda w: w.change(PARENT, "EntrySettled", 1, "failed"), "clean is never said falsely"),
    "undone is a lie": (lambda w: w.drop(PARENT, "UndoCompleted"), "undone is what was undone"),
    "the undo did nothing": (_drop_effect(f"{PARENT}:4:undo"), "undone is what was undone"),
    "the undo was called again": (_again(f"{PARENT}:4:undo", 2), "an undo is recorded before it is called"),
    "the rollback has no end": (lambda w: w.drop(LINK, "RollbackEnded"), "a rollback comes to an end"),
    "what never was is undone": (
        lambda w: w.change(LINK, "RollbackPlanned", 1, ["8"]), "only what has happened is undone",
    ),
    "the child is not there": (
        lambda w: w.change(PARENT, "ChildStarted", 1, "nobody"), "a child that was started is there",
    ),
    "the parent did not hear": (lambda w: w.drop(PARENT, "ChildEnded"), "a parent hears of each end"),
    "the parent heard a lie": (lambda w: w.change(PARENT, "ChildEnded", 2, "failed"), "a parent hears the truth"),
    "the parent did not wait": (lambda w: w.open.add(LINK), "children end with their parents"),
    "the child is a stranger": (lambda w: w.drop(PARENT, "ChildStarted"), "a parent knows its children"),
    "the chain is broken": (lambda w: w.change(CHILD, "RunContinued", 0, "nobody"), "a chain goes on"),
    "a start is lost": (
        lambda w: w.promises.append(Promise("gone", frozenset())), "a start that was confirmed is kept",
    ),
    "it came out otherwise": (
        lambda w: w.promises.append(Promise(PARENT, frozenset({"failed"}))), "a run comes out as it must",
    ),
    "a vote is lost": (lambda w: w.promises[0].words.update(v="approve"), "a word that was confirmed is recorded"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_it_finds_what_must_not_be(what: str) -> None:
    world = deepcopy(World())
    breaks, law = BROKEN[what]
    breaks(world)
    assert law in world.laws()
