"""Each test of the core sees the definitions that it makes itself, and leaves none behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from squidmesh.core.registry import REGISTRY


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    """An empty registry for the time of a test."""
    steps, workflows = REGISTRY.steps, REGISTRY.workflows
    REGISTRY.steps, REGISTRY.workflows = {}, {}
    yield
    REGISTRY.steps, REGISTRY.workflows = steps, workflows
