"""The workflows of Squid Mesh that are measured; what its worker processes serve."""

from __future__ import annotations

from squidmesh import Flow, fan_out, step, workflow
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
