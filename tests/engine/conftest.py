"""A virtual mesh on each database: the engine's use cases are the same on both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from squidmesh.testing import VirtualMesh


@pytest.fixture(params=["sqlite", "postgres"])
def mesh(request: pytest.FixtureRequest) -> Iterator[VirtualMesh]:
    url: Any = "sqlite://" if request.param == "sqlite" else request.getfixturevalue("emptied_postgres_url")
    with VirtualMesh(url) as made:
        yield made


def kinds(handle: Any) -> list[str]:
    """The kinds of a run's events, in order."""
    return [event.kind for event in handle.history()]
