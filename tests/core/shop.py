"""Steps that several tests of the core call. Nothing of theirs ever runs: the tests say how they came out."""

from __future__ import annotations

from typing import Any

from squidmesh.core.registry import REGISTRY
from squidmesh.core.step import step
from squidmesh.errors import WorkflowError


@step
def charge(cents: int) -> int:
    return cents


@step
def ship(order: str) -> str:
    return order


class Rejected(WorkflowError):
    """The business says no."""


def broken() -> Any:
    raise ValueError("on purpose")


for made in (charge, ship):  # found by their calls alone here; other tests have steps of these names
    REGISTRY.steps.pop(made.name, None)
