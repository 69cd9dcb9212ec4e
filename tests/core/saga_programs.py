"""Random workflows with scopes, parallel branches, races, and steps of every kind of effect. A program is data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from squidmesh.core.calls import Command
from squidmesh.core.commands import Pending, fan_out, gather, race, sleep, spawn
from squidmesh.core.scopes import Saga, add_undo, rollback, saga
from squidmesh.core.workflow import Flow, Workflow
from squidmesh.errors import WorkflowError
from tests.core.sagashop import STEPS, book, release

Op = tuple[Any, ...]


class Walk:
    """One walk over a program: what was spawned, the scopes that were entered, and what was seen."""

    def __init__(self) -> None:
        self.pending: list[Pending[Any]] = []
        self.scopes: list[Saga] = []
        self.seen: list[str] = []

    def command(self, op: Op) -> Command[Any] | None:
        match op:  # type: ignore[exhaustive-match]
            case ("step", name, int(n)):
                return STEPS[name](n)
            case ("sleep",):
                return sleep(1)
            case ("spawn", name):
                return spawn(STEPS[name](7))
            case ("gather", list(members)):
                return gather([self.command(member) or book(9) for member in members])
            case ("race", list(members)):
                return race(*[self.command(member) or book(9) for member in members])
            case ("fan_out", int(n), limit, tolerate):
                return fan_out(book, range(n), limit=limit, tolerate=tolerate)
            case ("add_undo", int(n)):
                return add_undo(release, n)
            case ("wait", int(n)) if self.pending:
                return self.pending[n % len(self.pending)]
            case ("rollback", int(n)) if self.scopes:
                return rollback(self.scopes[n % len(self.scopes)])
        return None

    def got(self, value: Any) -> None:
        if isinstance(value, Pending):
            self.pending.append(value)
        else:
            self.seen.append(str(value.values() if hasattr(value, "values") else value))


def walk_on(program: Sequence[Op], walk: Walk) -> Flow[None]:
    for op in program:
        match op:
            case ("try", list(inner)):
                try:
                    yield from walk_on(inner, walk)
                except WorkflowError as error:
                    walk.seen.append(str(error))
            case ("loop", int(n), list(inner)):
                for _ in range(n):
                    yield from walk_on(inner, walk)
            case ("scope", commit, irreversible, on_failure, caught, list(inner)):
                scope = saga("s", commit=commit, on_irreversible=irreversible, on_undo_failure=on_failure)
                try:
                    with scope:
                        walk.scopes.append(scope)
                        yield from walk_on(inner, walk)
                except WorkflowError as error:
                    if caught == "no":
                        raise
                    walk.seen.append(str(error))
                    if caught == "report":
                        walk.got((yield from rollback(scope)))
            case ("raise",):
                raise WorkflowError("the program says no")
            case _:
                if (command := walk.command(op)) is not None:
                    walk.got((yield from command))


def workflow_of(program: Sequence[Op], **settings: Any) -> Workflow[..., list[str]]:
    def body() -> Flow[list[str]]:
        walk = Walk()
        yield from walk_on(program, walk)
        return walk.seen

    return Workflow(body, name="saga_program", **settings)


_numbers = st.integers(0, 3)
_often = ["core_book"] * 4 + ["core_bare", "core_look", "core_load", "core_attempted", "core_asked", "core_row"]
_reversible = st.tuples(st.just("step"), st.sampled_from([*_often, "core_once"]), _numbers)
_any = st.tuples(
    st.just("step"), st.sampled_from([*_often * 2, "core_once", "core_mail", "core_mail", "core_pay"]), _numbers
)
_fans = st.tuples(st.just("fan_out"), st.integers(0, 4), st.none() | st.integers(1, 2), st.sampled_from([0, 1, 9]))


def _groups(leaf: st.SearchStrategy[Op]) -> st.SearchStrategy[Op]:
    return st.recursive(
        leaf | st.just(("sleep",)) | _fans,
        lambda inner: st.one_of(
            st.tuples(st.just("gather"), st.lists(inner, max_size=3)),
            st.tuples(st.just("race"), st.lists(_reversible | st.just(("sleep",)), min_size=1, max_size=3)),
        ),
        max_leaves=4,
    )


_plain = st.one_of(
    st.tuples(st.just("spawn"), st.sampled_from(_often)),
    st.tuples(st.just("wait"), _numbers),
    st.tuples(st.just("add_undo"), _numbers),
    st.tuples(st.just("rollback"), _numbers),
    st.just(("raise",)),
)
_irreversible = st.sampled_from([None, None, "report", "halt", "refuse"])
_undo_failure = st.sampled_from([None, None, "halt", "continue"])


def _nested(inner: st.SearchStrategy[Op]) -> st.SearchStrategy[Op]:
    body = st.lists(inner, min_size=1, max_size=4)
    caught = st.sampled_from(["no", "yes", "report"])
    return st.one_of(
        st.tuples(st.just("scope"), st.booleans(), _irreversible, _undo_failure, caught, body),
        st.tuples(st.just("scope"), st.just(False), _irreversible, _undo_failure, caught, body),
        st.tuples(st.just("try"), body),
        st.tuples(st.just("loop"), st.integers(2, 2), body),
    )


_operations = st.recursive(st.one_of(_any, _any, _groups(_any), _plain), _nested, max_leaves=8)
programs = st.lists(_operations, min_size=1, max_size=6)
"""Programs of a few operations, nested a little."""

policies = st.fixed_dictionaries(
    {},
    optional={
        "on_failure": st.sampled_from(["undo", "undo", "keep"]),
        "on_irreversible": st.sampled_from(["report", "halt", "refuse"]),
        "on_undo_failure": st.sampled_from(["halt", "continue"]),
    },
)
"""What a workflow may say of its rollbacks."""
