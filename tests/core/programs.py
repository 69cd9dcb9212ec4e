"""Random workflows: a program is data, and three bodies walk it, one for each way to yield.

An operation is a tuple; ``Walk`` turns it into a command, or a plain note, and remembers what was seen. What a body
returns is all that it has seen, so that two runs of the same result have had the same values in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from squidmesh.core.calls import Command
from squidmesh.core.commands import Pending, fan_out, gather, log, publish, race, sleep, spawn
from squidmesh.core.deterministic import new_uuid, now, patched, rng
from squidmesh.core.workflow import Flow, Workflow
from squidmesh.errors import GatherFailed, StepFailed, WorkflowError
from tests.core.shop import charge

Op = tuple[Any, ...]


class Walk:
    """One walk over a program: what is spawned, and what was seen."""

    def __init__(self) -> None:
        self.pending: list[Pending[int]] = []
        self.seen: list[str] = []

    def command(self, op: Op) -> Command[Any] | None:
        """The command of an operation; None for one that is no command."""
        match op:  # type: ignore[exhaustive-match]
            case ("step", int(n)):
                return charge(n)
            case ("sleep", int(n)):
                return sleep(n)
            case ("publish", int(n)):
                return publish(f"value {n}", n)
            case ("log", int(n)):
                return log(f"line {n}")
            case ("spawn", int(n)):
                return spawn(charge(n))
            case ("gather", list(members)):
                return gather([self.member(m) for m in members])
            case ("race", list(members)):
                return race(*[self.member(m) for m in members])
            case ("fan_out", int(n), limit, tolerate):
                return fan_out(charge, range(n), limit=limit, tolerate=tolerate)
            case ("wait", int(n)):
                return self.pending[n % len(self.pending)] if self.pending else None
        self.note(op)
        return None

    def member(self, op: Op) -> Command[Any]:
        return self.command(op) or charge(99)

    def note(self, op: Op) -> None:
        match op:  # type: ignore[exhaustive-match]
            case ("now",):
                self.seen.append(now().isoformat())
            case ("uuid",):
                self.seen.append(str(new_uuid()))
            case ("rng",):
                self.seen.append(str(rng().random()))
            case ("patched", name):
                self.seen.append(f"{name}: {patched(name)}")

    def got(self, value: Any) -> None:
        if isinstance(value, Pending):
            self.pending.append(value)
        else:
            self.seen.append(repr(value.values() if hasattr(value, "values") else value))

    def caught(self, error: WorkflowError) -> None:
        match error:
            case StepFailed():
                self.seen.append(f"failed {error.position}")
            case GatherFailed():
                self.seen.append(f"failed {sorted(error.failures)} {sorted(error.results)}")
            case _:
                raise error


def walk_from(program: Sequence[Op], walk: Walk) -> Flow[None]:
    for op in program:
        match op:
            case ("helper", list(inner)):
                yield from walk_from(inner, walk)
            case ("try", list(inner)):
                try:
                    yield from walk_from(inner, walk)
                except WorkflowError as error:
                    walk.caught(error)
            case _:
                if (command := walk.command(op)) is not None:
                    walk.got((yield from command))


def walk_yield(program: Sequence[Op], walk: Walk) -> Any:
    for op in program:
        match op:
            case ("helper", list(inner)):
                yield from walk_yield(inner, walk)
            case ("try", list(inner)):
                try:
                    yield from walk_yield(inner, walk)
                except WorkflowError as error:
                    walk.caught(error)
            case _:
                if (command := walk.command(op)) is not None:
                    walk.got((yield command))


async def walk_await(program: Sequence[Op], walk: Walk) -> None:
    for op in program:
        match op:
            case ("helper", list(inner)):
                await walk_await(inner, walk)
            case ("try", list(inner)):
                try:
                    await walk_await(inner, walk)
                except WorkflowError as error:
                    walk.caught(error)
            case _:
                if (command := walk.command(op)) is not None:
                    walk.got(await command)


def workflow_of(program: Sequence[Op], way: str = "from") -> Workflow[..., list[str]]:
    """A workflow that walks the program; ``way`` is how it yields: from, yield or await."""

    def by_from() -> Flow[list[str]]:
        walk = Walk()
        yield from walk_from(program, walk)
        return walk.seen

    def by_yield() -> Any:
        walk = Walk()
        yield from walk_yield(program, walk)
        return walk.seen

    async def by_await() -> list[str]:
        walk = Walk()
        await walk_await(program, walk)
        return walk.seen

    return Workflow({"from": by_from, "yield": by_yield, "await": by_await}[way], name="program")


_numbers = st.integers(0, 5)
_leaves = st.one_of(
    st.tuples(st.just("step"), _numbers), st.tuples(st.just("sleep"), _numbers), st.tuples(st.just("wait"), _numbers)
)
_fans = st.tuples(st.just("fan_out"), st.integers(0, 5), st.none() | st.integers(1, 3), st.sampled_from([0, 0.5, 1, 9]))
_commands = st.recursive(
    _leaves | _fans,
    lambda inner: st.one_of(
        st.tuples(st.just("gather"), st.lists(inner, max_size=3)),
        st.tuples(st.just("race"), st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=6,
)
_plain = st.one_of(
    st.tuples(st.sampled_from(["publish", "log", "spawn"]), _numbers),
    st.sampled_from([("now",), ("uuid",), ("rng",), ("patched", "a"), ("patched", "b")]),
)
_operations = st.recursive(
    _commands | _plain,
    lambda inner: st.tuples(st.sampled_from(["helper", "try"]), st.lists(inner, max_size=4)),
    max_leaves=5,
)
programs = st.lists(_operations, max_size=6)
"""Programs of a few operations, nested a little."""
