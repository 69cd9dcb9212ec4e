"""What surrounds the database: the settings of this environment, and the broker."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from squidmesh.cli.documents import Finding
from squidmesh.cli.refusal import one_line
from squidmesh.cli.suggesting import meant
from squidmesh.errors import ConfigurationError

if TYPE_CHECKING:
    from squidmesh.mesh import Mesh

KNOWN = (
    "SQUIDMESH_DATABASE_URL", "SQUIDMESH_BROKER_URL", "SQUIDMESH_LEASE", "SQUIDMESH_SWEEP", "SQUIDMESH_MAX_LOST",
    "SQUIDMESH_MAX_PAYLOAD", "SQUIDMESH_DRAIN_TIMEOUT", "SQUIDMESH_RETENTION",
)  # fmt: skip
"""Environment variables that a mesh reads."""


def settings(mesh: Mesh) -> Iterator[Finding]:
    """The settings that hold here; a variable that nobody reads is probably mistyped."""
    set_ = mesh.settings
    told = f"lease {set_.lease:g} s, sweep {set_.sweep:g} s, drain timeout {set_.drain_timeout:g} s"
    yield Finding(check="settings", level="ok", told=told)
    for name in sorted(os.environ):
        if (
            name.startswith("SQUIDMESH_")
            and name not in KNOWN
            and not name.startswith(("SQUIDMESH_TEST_", "SQUIDMESH_OTEL"))
        ):
            near = meant(name, KNOWN)
            yield Finding(
                check="settings",
                level="note",
                told=f"the environment has {name}, which nobody reads{near}",
                todo="unset or rename it",
            )
    if set_.lease < 3 * set_.sweep:
        yield Finding(
            check="settings",
            level="note",
            told=f"a lease of {set_.lease:g} s leaves no room for a sweep of {set_.sweep:g} s that is late",
            todo="make SQUIDMESH_LEASE at least three times SQUIDMESH_SWEEP",
        )


def broker(mesh: Mesh) -> Iterator[Finding]:
    """Whether the broker answers. Nothing depends on it but latency."""
    if not isinstance(mesh.broker, str):
        told = f"none: other processes find work at their next sweep ({mesh.settings.sweep:g} s)"
        yield Finding(check="broker", level="ok", told=told)
        return
    reach: Any = importlib.import_module("squidmesh_worker.reach")
    try:
        why = reach.reach(mesh.broker)
    except ConfigurationError as error:
        yield Finding(check="broker", level="problem", told=one_line(str(error)), todo="write the URL as it says")
        return
    if why is None:
        yield Finding(check="broker", level="ok", told=f"{reach.without_secrets(mesh.broker)} answers")
    else:
        yield Finding(
            check="broker",
            level="problem",
            told=f"{why}; nothing is lost, but work waits for the next sweep ({mesh.settings.sweep:g} s)",
            todo="start it, or name the right one (--broker, SQUIDMESH_BROKER_URL)",
        )
