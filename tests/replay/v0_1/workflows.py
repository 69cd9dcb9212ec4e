"""The workflows of the recorded histories of 0.1, and the runs of them that were recorded. Never to be changed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import BaseModel, SecretStr

from squidmesh.core.commands import fan_out, gather, log, publish, race, sleep, spawn
from squidmesh.core.deterministic import new_uuid, now, patched, rng, run_info
from squidmesh.core.scopes import add_undo, rollback, saga
from squidmesh.core.step import step
from squidmesh.core.workflow import Flow, workflow
from squidmesh.errors import GatherFailed, StepFailed, WorkflowError


class Order(BaseModel):
    id: str
    cents: int
    card: SecretStr


class Receipt(BaseModel):
    order: str
    cents: int


@step(name="replay.charge")
def charge(order: Order, cents: int | None = None) -> Receipt:
    raise NotImplementedError


@step(name="replay.number")
async def number(n: int) -> int:
    raise NotImplementedError


def numbers(n: int) -> Flow[int]:
    first = yield from number(n)
    return first + (yield from number(first))


@workflow(name="replay.order")
def order(order: Order, express: bool = False) -> Flow[dict[str, Any]]:
    yield from log("begun", level="debug")
    receipt = yield from charge(order)
    yield from publish("receipt", receipt)
    audit = yield from spawn(number(1).options(queue="audit", priority=2, timeout=5))
    total = yield from numbers(2)
    pair = yield from gather(charge(order, cents=1), sleep(timedelta(hours=1)))
    several = yield from gather([number(n) for n in range(3)])
    return {
        "cents": receipt.cents, "total": total, "pair": pair[0].cents, "several": several, "audit": (yield from audit),
        "run": run_info().run_id, "card": order.card.get_secret_value(),
    }  # fmt: skip


@workflow(name="replay.mapping")
def mapping(n: int, limit: int, tolerate: float) -> Flow[Any]:
    found = yield from fan_out(number, range(n), limit=limit, tolerate=tolerate)
    return {"values": found.values(), "failed": sorted(found.failures)}


@workflow(name="replay.racing")
async def racing() -> list[Any]:
    seen: list[Any] = [str(new_uuid()), rng().random(), now().isoformat()]
    seen.append(patched("first"))
    index, _ = await race(number(1), gather(number(2), sleep(60)), fan_out(number, [3, 4], limit=1))
    seen += [index, now().isoformat(), str(new_uuid()), rng().randrange(100)]
    await sleep(1)
    return [*seen, patched("first"), patched("second")]


@workflow(name="replay.failing")
def failing() -> Flow[None]:
    caught: list[str] = []
    try:
        yield from number(1)
    except StepFailed as failed:
        caught.append(failed.failure.message)
    try:
        yield from gather(number(2), number(3), number(4), number(5))
    except GatherFailed as group:
        caught += [str(sorted(group.failures)), str(sorted(group.results))]
    raise WorkflowError("; ".join(caught))


@workflow(name="replay.waiting")
def waiting() -> Flow[None]:
    yield from spawn(number(1))
    yield from fan_out(number, [1, 2, 3], limit=1)
    yield from sleep(86_400)


@step(name="replay.reserve")
def reserve(seat: int) -> int:
    raise NotImplementedError


@reserve.undo
def release(result: int, seat: int) -> None:
    raise NotImplementedError


@step(name="replay.post", irreversible=True)
def post(letter: str) -> int:
    raise NotImplementedError


def forget(letter: str) -> None:
    """What is registered as an undo."""


@workflow(name="replay.undoing")
def undoing() -> Flow[None]:
    yield from reserve(1)
    with saga("kept", commit=True):
        yield from reserve(2)
    first_class = saga("first class", on_irreversible="halt")
    try:
        with first_class:
            yield from add_undo(forget, "a letter")
            yield from gather([reserve(seat) for seat in (3, 4)])
            raise WorkflowError("no berth")
    except WorkflowError:
        report = yield from rollback(first_class)
        yield from log(f"{report.outcome}: {len(report.undone)} undone")
    yield from post("a letter")
    yield from race(reserve(5), reserve(6))
    raise WorkflowError("no train")


A_ORDER = {"order": Order(id="o-1", cents=4200, card=SecretStr("4242")), "express": True}

RUNS: dict[str, tuple[Any, dict[str, Any], int, str]] = {
    "order": (order, A_ORDER, 5, ""),
    "mapping": (mapping, {"n": 6, "limit": 2, "tolerate": 0.5}, 3, ""),
    "mapping_past_tolerance": (mapping, {"n": 6, "limit": 3, "tolerate": 0}, 15, ""),
    "racing": (racing, {}, 2, ""),
    "failing": (failing, {}, 21, ""),
    "cancelled": (waiting, {}, 1, "cancel"),
    "past_its_deadline": (waiting, {}, 1, "deadline"),
    "undoing": (undoing, {}, 4, ""),
}
"""File: the workflow, its input, the seed of its outcomes, and how it is made to end."""
