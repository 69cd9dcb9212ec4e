"""The workflows of Squid Mesh that are measured; what its worker processes serve."""

from __future__ import annotations

from squidmesh import Flow, WorkflowError, fan_out, step, workflow
from tests.benchmarks.systems.system import PAYLOAD


@step
def noop(payload: str) -> str:
    return payload


@workflow
def sequence(steps: int, payload: str) -> Flow[int]:
    for _ in range(steps):
        yield from noop(payload)
    return steps


@workflow
def spread(width: int) -> Flow[int]:
    done = yield from fan_out(noop, [PAYLOAD] * width)
    return len(done.results)


@step
def undoable(payload: str) -> str:
    return payload


@undoable.undo
def take_back(result: str, payload: str) -> None: ...


@workflow
def undone(steps: int, payload: str) -> Flow[None]:
    for _ in range(steps):
        yield from undoable(payload)
    raise WorkflowError("all of it is undone")
