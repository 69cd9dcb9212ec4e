"""``squidmesh status``: one screen that says how all of it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from squidmesh.cli.session import Session, reading

if TYPE_CHECKING:
    from squidmesh.cli.documents import StatusDocument

BLOCKED = 10
"""Blocked runs that are shown."""


@click.command()
@reading
def status(session: Session) -> None:
    """Say how all of it stands: runs by status, workers, what is due, what is blocked."""
    found = gathered(session.mesh)

    def blocks() -> Any:
        from squidmesh.cli.pages.status import page

        return page(found, session.command)

    session.answer(lambda: found, blocks)


def gathered(mesh: Any) -> StatusDocument:
    """What is the case, read one part after the other."""
    from squidmesh.cli.documents import StatusDocument
    from squidmesh.core.deterministic import instant

    health = mesh.connect_engine().store.health()
    alive = [worker for worker in mesh.workers() if worker.lease == "held"]
    schedules = [schedule.inspect() for schedule in mesh.schedules()]
    due = [waiting.oldest for waiting in (health.due_runs, health.due_tasks) if waiting.oldest is not None]
    return StatusDocument(
        database=mesh.engine.url.render_as_string(hide_password=True),
        runs=mesh.counts().statuses,
        workers=len(alive),
        queues=sorted({queue for worker in alive for queue in worker.queues}),
        due=health.due_runs.count + health.due_tasks.count,
        oldest_due=instant(min(due)) if due else None,
        schedules=len(schedules),
        paused_schedules=sum(schedule.paused_at is not None for schedule in schedules),
        blocked=list(mesh.list(status="blocked", limit=BLOCKED).items),
    )
