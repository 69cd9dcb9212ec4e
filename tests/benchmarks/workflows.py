"""The workflows of Squid Mesh that are measured; what its worker processes serve."""

from __future__ import annotations

import time
from datetime import datetime

from squidmesh import Flow, Signal, WorkflowError, fan_out, run_info, sleep_until, step, workflow
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


@workflow
def only_child(payload: str) -> Flow[str]:
    return (yield from noop(payload))


@workflow
def brood(children: int, window: int) -> Flow[int]:
    done = yield from fan_out(only_child, [PAYLOAD] * children, limit=window)
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


GO = Signal("go")


@step
def read_clock() -> float:
    return time.time()


@workflow
def timestamp() -> Flow[float]:
    """When its first step began."""
    return (yield from read_clock())


@workflow
def signalled() -> Flow[float]:
    """When its step began, after the signal."""
    yield from GO.wait()
    return (yield from read_clock())


@workflow
def timed(due: datetime) -> Flow[None]:
    yield from sleep_until(due)


@workflow
def ticked() -> Flow[float]:
    """How late its step began, in seconds."""
    tick = run_info().tick
    assert tick is not None
    return (yield from read_clock()) - tick.timestamp()
