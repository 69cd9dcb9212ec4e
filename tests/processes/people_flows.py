"""Workflows that wait for messages, people and ticks, and places where those who serve them die.

A payload of 100 and more kills the worker that first takes it up, before anything of that is recorded: it is a fuse.
Where ``STAGE_TICKS`` is set, workers die around ticks: just before one is recorded, and just after, before it is told.
"""

import os
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator

from squidmesh import Decision, Flow, Signal, approval, pause, run_info, workflow
from squidmesh.engine import ticking
from tests.processes.effects import FOLDER
from tests.processes.flows import die, first_time, held_up, quick

TICKS = "STAGE_TICKS"
DEATHS = 2
"""Of each kind, around ticks."""


def _die_at_first(value: int) -> int:
    if value >= 100 and FOLDER in os.environ and first_time(f"fuse-{value}"):
        die()
    return value


Fuse = Annotated[int, AfterValidator(_die_at_first)]

TOLD: Signal[int] = Signal("chaos.told", Fuse)


@workflow(name="chaos_hears")
def hears(count: int, timeout: float | None = None, first: str | None = None) -> Flow[list[int | None]]:
    """So many messages, None for one that did not come in time; ``first``: not before this file is there."""
    if first is not None:
        yield from held_up(first)
    heard: list[int | None] = []
    for _ in range(count):
        heard.append((yield from TOLD.wait(timeout=timeout)))
        yield from quick(0)
    return heard


@workflow(name="chaos_hears_late")
def hears_late(timeout: float) -> Flow[list[int | None]]:
    """One message in time, and then one that may take as long as it likes."""
    first = yield from TOLD.wait(timeout=timeout)
    return [first, (yield from TOLD.wait())]


@workflow(name="chaos_asks")
def asks(needed: int, deadline: float | None = None) -> Flow[Decision]:
    decision = yield from approval("boss", needed=needed, deadline=None if deadline is None else timedelta(0, deadline))
    yield from quick(0)
    return decision


@workflow(name="chaos_pauses")
def pauses() -> Flow[int]:
    return (yield from pause("look", Fuse))


@workflow(name="chaos_ticks")
def ticks(fuse: Fuse) -> Flow[datetime | None]:
    yield from quick(fuse)
    return run_info().tick


def _dies_at(place: str, then: Any) -> Any:
    """What is called at this place, of which the first so many calls never come to their end."""

    def dies(*args: Any, **kwargs: Any) -> Any:
        if any(first_time(f"{place} {n}") for n in range(DEATHS)):
            die()
        return then(*args, **kwargs)

    return dies


if TICKS in os.environ:
    ticking.run_of = _dies_at("before a tick", ticking.run_of)
    ticking.tell = _dies_at("after a tick", ticking.tell)
