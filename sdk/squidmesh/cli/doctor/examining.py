"""All that the doctor looks at, in order; without a database what needs one is left out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from squidmesh.cli.doctor import outside, within
from squidmesh.cli.documents import Diagnosis, Finding
from squidmesh.cli.refusal import Refusal, one_line
from squidmesh.errors import ConfigurationError, MeshError, NotMigrated

if TYPE_CHECKING:
    from squidmesh.mesh import Mesh


def examine(database: str | None, broker: str | None) -> Diagnosis:
    findings = list(_findings(database, broker))
    return Diagnosis(healthy=all(finding.level != "problem" for finding in findings), findings=findings)


def _findings(database: str | None, broker: str | None) -> Iterator[Finding]:
    from squidmesh.mesh import Mesh

    try:
        mesh = Mesh(database, broker=broker)
    except ConfigurationError as error:
        yield Finding(check="settings", level="problem", told=one_line(str(error)), todo="set it as it says")
        return
    with mesh:
        yield from outside.settings(mesh)
        connected = False
        for finding in _database(mesh):
            connected = finding.level != "problem"
            yield finding
        if connected:
            yield from _within(mesh)
    yield from outside.broker(mesh)


def _database(mesh: Mesh) -> Iterator[Finding]:
    from squidmesh.cli.session import there

    try:
        there(mesh)
        mesh.connect_engine()
    except NotMigrated as error:
        told, _, todo = one_line(str(error)).partition("; ")
        yield Finding(check="migrations", level="problem", told=told, todo=todo.removeprefix("run: ") or None)
    except (MeshError, Refusal) as error:
        told = error.message if isinstance(error, Refusal) else one_line(str(error))
        yield Finding(check="database", level="problem", told=told, todo="start it, or name the right one (--database)")
    else:
        from squidmesh.store.migrate import REVISION

        where = mesh.engine.url.render_as_string(hide_password=True)
        yield Finding(check="database", level="ok", told=f"{where} answers")
        yield Finding(check="migrations", level="ok", told=f"the schema is of revision {REVISION}, as is needed")


def _within(mesh: Mesh) -> Iterator[Finding]:
    store = mesh.connect_engine().store
    before = time.time_ns() // 1_000
    health = store.health()
    after = time.time_ns() // 1_000
    workers = store.workers()
    late = int((mesh.settings.lease + 2 * mesh.settings.sweep) * 1_000_000)
    yield within.clock(health, before, after)
    yield from within.workers(health, workers, late)
    yield from within.due(health, late)
    yield from within.stranded(health)
    yield from within.blocked(mesh)
    yield from within.rollbacks(mesh)
    yield from within.size(health)
