"""Random workflows, outcomes, crashes and commands of people: what a rollback does follows from history alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from squidmesh.core import events as ev
from squidmesh.core.chain import Chain
from tests.core.saga_programs import Op, policies, programs, workflow_of
from tests.core.saga_world import World, hold, story

seeds = st.integers(0, 2**32 - 1)


def some(examples: int) -> Any:
    return settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def lived(program: list[Op], policy: dict[str, Any], seed: int, **how: Any) -> World:
    """A run to its end. At every step another holder, who knows the history alone, decides the same: see ``World``."""
    return World(workflow_of(program, **policy), seed, **how).run()


def crashed(program: list[Op], policy: dict[str, Any], seed: int) -> None:
    world = lived(program, policy, seed, crashing=True)
    hold(world.history, world.reports())
    nothing_forgotten(world)


def nothing_forgotten(world: World) -> None:
    """When a run has ended that was to be undone, every effect that may be there is in a report."""
    chain = Chain.of(world.history)
    whole = [rollback for rollback in chain.rollbacks if rollback.begun.cause in ("failure", "cancel")]
    if whole and whole[-1].outcome in ("clean", "partial"):
        late = {entry.id for entry in chain.entries.values() if entry.seq > (whole[-1].begun.seq or 0)}
        armed = {entry.id for entry in chain.armed() if not chain.covered(entry)}
        assert armed <= late | set(whole[-1].settled)
    keep = world.workflow.on_failure == "keep"
    ended = [event for event in world.history if isinstance(event, (ev.RunFailed, ev.RunCancelled))]
    by_people = any(isinstance(event, (ev.FailRequested, ev.CancelRequested)) for event in world.history)
    if ended and not whole and not keep and not by_people:
        assert not [entry for entry in chain.armed() if not chain.covered(entry)]


def twins(program: list[Op], policy: dict[str, Any], seed: int) -> None:
    quiet = lived(program, policy, seed, crashing=False)
    torn = lived(program, policy, seed, crashing=True, calm=True)
    assert [story(one) for one in torn.reports()] == [story(one) for one in quiet.reports()]
    assert type(torn.live.end) is type(quiet.live.end)


@some(80)
@given(programs, policies, seeds)
def test_whoever_takes_a_run_over_decides_what_its_holder_would_have_decided(
    program: list[Op], policy: dict[str, Any], seed: int
) -> None:
    crashed(program, policy, seed)


@some(80)
@given(programs, policies, seeds)
def test_crashes_change_nothing_in_the_reports(program: list[Op], policy: dict[str, Any], seed: int) -> None:
    twins(program, policy, seed)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@some(5_000)
@given(programs, policies, seeds)
def test_whoever_takes_one_of_thousands_of_runs_over_decides_the_same(
    program: list[Op], policy: dict[str, Any], seed: int
) -> None:
    crashed(program, policy, seed)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@some(5_000)
@given(programs, policies, seeds)
def test_crashes_change_nothing_in_thousands_of_reports(program: list[Op], policy: dict[str, Any], seed: int) -> None:
    twins(program, policy, seed)
