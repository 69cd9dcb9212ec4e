"""Flows for a worker whose doorbell is not to be trusted: `STAGE_BELLS` in the environment says how.

`wild`: every message goes out twice, in any order, and once more later. `lossy`: most get lost.
"""

import os
import random
from collections.abc import Callable, Sequence
from typing import Any

from squidmesh.ports import Bell
from squidmesh_worker.doorbell import InProcessDoorbell, RedisDoorbell
from tests.processes import flows  # noqa: F401 — what the worker serves

BELLS = "STAGE_BELLS"
DOORBELLS: tuple[Any, ...] = (InProcessDoorbell, RedisDoorbell)

KEPT = 0.3
"""The part of the messages that a lossy doorbell does not lose."""

Ring = Callable[[Any, Sequence[Bell]], None]


def wild(ring: Ring) -> Ring:
    chance = random.Random(4)
    old: list[Bell] = []

    def wildly(doorbell: Any, bells: Sequence[Bell]) -> None:
        again = [*bells, *bells, *chance.sample(old, min(len(old), 3))]
        chance.shuffle(again)
        old.extend(bells)
        ring(doorbell, again)

    return wildly


def lossy(ring: Ring) -> Ring:
    chance = random.Random(5)
    return lambda doorbell, bells: ring(doorbell, [bell for bell in bells if chance.random() < KEPT])


HOW: dict[str, Callable[[Ring], Ring]] = {"wild": wild, "lossy": lossy}

if BELLS in os.environ:
    for doorbell in DOORBELLS:
        doorbell.ring = HOW[os.environ[BELLS]](doorbell.ring)
