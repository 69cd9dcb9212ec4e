"""Whatever is said to a run, in whatever order, and whoever dies: it comes out as in some order without a death.

Messages, votes, timers and operators speak between any two calls that workers make to the store; workers die, freeze
and are overtaken there. What comes of that is one of the outcomes that the same words, one after the other, give with
one worker that never dies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from squidmesh.testing import VirtualMesh
from tests.engine.cluster import Fate
from tests.engine.orders import POSSIBLE, SCENES, Crowded, Outcome, in_line, without_crash

FATES = [Fate.GO_ON] * 3 + [Fate.OTHER, Fate.DIE_BEFORE, Fate.DIE_AFTER, Fate.FREEZE, Fate.BEAT, Fate.LEAVE]
LAST_CALL = 24
"""Of those that a play makes to the store about so many change something."""


def play(mesh: VirtualMesh, name: str, order: Sequence[int], when: Sequence[int], fates: Any) -> Outcome:
    scene = SCENES[name]
    handle = mesh.start(scene.workflow())
    words = [(at, word, key) for at, (word, key) in zip(sorted(when), in_line(scene, order), strict=True)]
    cluster = Crowded(mesh, fates, handle, words)
    came_out = cluster.play()
    assert [event.seq for event in handle.history()] == list(range(1, len(handle.history()) + 1))
    assert cluster.left_over() == []
    mesh.check(handle)
    return came_out


@st.composite
def courses(draw: st.DrawFn) -> tuple[str, tuple[int, ...], tuple[int, ...], list[Fate]]:
    """A scene, the order of its words, the calls before which they are said, and what happens to workers."""
    name = draw(st.sampled_from(sorted(SCENES)))
    order = draw(st.permutations(SCENES[name].whose))
    when = draw(st.lists(st.integers(0, LAST_CALL), min_size=len(order), max_size=len(order)))
    return name, tuple(order), tuple(when), draw(st.lists(st.sampled_from(FATES), max_size=40))


def judged(name: str, came_out: Outcome) -> None:
    there = POSSIBLE[name]
    assert came_out in there, "\n".join(map(str, [came_out, "is none of:", *there.found]))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(course=courses())
def test_whoever_speaks_and_dies_when_it_comes_out_as_in_some_order_without_a_death(course: Any) -> None:
    name, order, when, fates = course
    with VirtualMesh() as mesh:
        judged(name, play(mesh, name, order, when, fates))


@pytest.mark.slow
@settings(max_examples=3_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(course=courses())
def test_the_same_many_times(course: Any) -> None:
    name, order, when, fates = course
    with VirtualMesh() as mesh:
        judged(name, play(mesh, name, order, when, fates))


@pytest.mark.parametrize("name", sorted(SCENES))
def test_different_orders_do_come_out_differently(name: str) -> None:
    """Else the property would say nothing."""
    scene = SCENES[name]
    eager = [True] * len(scene.whose)
    forth, back = (without_crash(scene, order, eager) for order in (scene.whose, scene.whose[::-1]))
    assert forth != back


@pytest.mark.parametrize("name", sorted(SCENES))
def test_all_at_once_is_one_of_the_orders_on_postgresql(emptied_postgres_url: str, name: str) -> None:
    """All of it is said before anybody looks; the worker that looks dies at its first writes."""
    with VirtualMesh(emptied_postgres_url) as mesh:
        order = SCENES[name].whose
        fates = {0: Fate.DIE_AFTER, 2: Fate.DIE_BEFORE, 4: Fate.OTHER, 6: Fate.FREEZE, 9: Fate.DIE_AFTER}
        judged(name, play(mesh, name, order, [0] * len(order), fates))


@pytest.mark.slow
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("fate", [Fate.DIE_BEFORE, Fate.DIE_AFTER, Fate.FREEZE])
@pytest.mark.parametrize("name", sorted(SCENES))
def test_each_order_with_a_death_at_each_call(name: str, fate: Fate) -> None:
    """Every order, every call; and each word is said right before that call, or all of them at the beginning."""
    for order in SCENES[name].orders():
        for call in range(LAST_CALL):
            for first in (0, call):
                with VirtualMesh() as mesh:
                    judged(name, play(mesh, name, order, [first] * len(order), {call: fate}))
