"""What the database tells: clocks, workers, work that is late, runs that are stuck, its size.

The rule of this file: it judges what was counted; late is what a lease and two sweeps should have seen to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from squidmesh.cli.documents import Finding
from squidmesh.core.status import CODE_REASONS
from squidmesh.ports import Health, TableSize, Waiting, WorkerRow
from squidmesh.views.telling import several, span

if TYPE_CHECKING:
    from squidmesh.mesh import Mesh
    from squidmesh.views.summary import RunSummary

SKEW = 1_000_000
"""Microseconds between two clocks that nobody need mind."""
GRAVE_SKEW = 60_000_000
DEAD_SHARE, DEAD_LEAST = 1.0, 50_000
"""Dead rows of a table, of those that live and at all, from which on it is bloated."""
FREE_SHARE, FREE_LEAST = 0.5, 64 * 1_048_576
"""The same of a file: empty pages, and bytes."""
SHOWN = 5


def clock(health: Health, before: int, after: int) -> Finding:
    """How far this machine's clock is off from the database's, which rules leases and due times."""
    off = health.now - before if health.now < before else health.now - after if health.now > after else 0
    if abs(off) <= SKEW:
        return Finding(check="clock", level="ok", told="this machine and the database agree on the time")
    which = "behind" if off > 0 else "ahead of"
    return Finding(
        check="clock",
        level="problem" if abs(off) > GRAVE_SKEW else "note",
        told=f"this machine is {span(abs(off))} {which} the database, whose clock rules leases and due times",
        todo="set both by NTP; until then times in logs and in code (datetime.now) are off by that much",
    )


def workers(health: Health, rows: Sequence[WorkerRow], late: int) -> Iterator[Finding]:
    """Who is alive; a lease that is long over shows that nobody sweeps."""
    alive = [row for row in rows if row.expires_at > health.now]
    over = [row for row in rows if row.expires_at <= health.now - late]
    if alive:
        queues = sorted({queue for row in alive for queue in row.queues})
        told = f"{len(alive)} alive, for {'queue' if len(queues) == 1 else 'queues'} {', '.join(queues)}"
        yield Finding(check="workers", level="ok", told=told)
    else:
        waits = health.due_runs.count + health.due_tasks.count + health.late_schedules.count
        yield Finding(
            check="workers",
            level="problem" if waits else "note",
            told=f"nobody serves{f', and work is due ({waits})' if waits else ''}",
            todo="squidmesh worker MODULE",
        )
    if over:
        oldest = min(row.expires_at for row in over)
        names = several([f"{row.worker} ({row.host}, pid {row.pid})" for row in over])
        yield Finding(
            check="leases",
            level="problem",
            told=f"over for up to {span(health.now - oldest)}, and nobody has taken over what was held: {names}",
            todo="start a worker: its sweep does" if not alive else "look into the logs of the workers that are alive",
        )
    else:
        yield Finding(check="leases", level="ok", told="none has expired")


def due(health: Health, late: int) -> Iterator[Finding]:
    """Work that nobody has picked up in time."""
    found = False
    for what, waiting, todo in (
        (
            "runs are due",
            health.due_runs,
            "squidmesh runs --status pending, and explain one: no worker may have its code",
        ),
        (
            "due steps",
            health.due_tasks,
            "explain their runs: a queue may have no worker, or too few threads",
        ),
        ("schedules with a due tick", health.late_schedules, "start a worker that has their workflows"),
        ("messages to be taken in", health.inbox, "see whether a worker has the code of their runs"),
    ):
        if waiting.oldest is not None and health.now - waiting.oldest > late:
            found = True
            yield Finding(check="late work", level="problem", told=_late(what, waiting, health.now), todo=todo)
    if not found:
        yield Finding(check="late work", level="ok", told="nothing has waited for longer than a lease and two sweeps")


def stranded(health: Health) -> Iterator[Finding]:
    """What is held by a worker that is gone; the sweep of any other frees it."""
    count = health.stranded_runs + health.stranded_tasks
    if count:
        yield Finding(
            check="stuck runs",
            level="note",
            told=f"{health.stranded_runs} runs and {health.stranded_tasks} steps are held by workers that are gone",
            todo="a worker's sweep takes them over; if this stays, no worker is up (squidmesh workers)",
        )


def blocked(mesh: Mesh) -> Iterator[Finding]:
    """Runs that cannot go on by themselves, by their reasons."""
    page = mesh.list(status="blocked", limit=1_000)
    by_reason: dict[str, list[RunSummary]] = {}
    for run in page:
        by_reason.setdefault(run.reason or "", []).append(run)
    for reason, runs in sorted(by_reason.items()):
        more = "at least " if page.next is not None else ""
        mends = "mend the code and start workers with it" if reason in CODE_REASONS else "a person decides"
        told = several([run.run_id for run in runs][:SHOWN])
        rest = f" and {len(runs) - SHOWN} more" if len(runs) > SHOWN else ""
        yield Finding(
            check="stuck runs",
            level="problem",
            told=f"{more}{len(runs)} blocked by {reason}: {told}{rest}",
            todo=f"{mends}: squidmesh explain {runs[0].run_id}",
        )
    if not by_reason:
        yield Finding(check="stuck runs", level="ok", told="none is blocked")


def rollbacks(mesh: Mesh) -> Iterator[Finding]:
    """Runs of the newest ones that have ended and left something behind."""
    ended = mesh.list(status=["failed", "cancelled", "undone", "terminated"], limit=1_000)
    left = [run for run in ended if run.rollback in ("partial", "refused", "abandoned")]
    if left:
        yield Finding(
            check="rollbacks",
            level="note",
            told=f"{len(left)} of the newest runs were not undone whole",
            todo=f"squidmesh show {left[0].run_id} says what is left, and what can be done",
        )


def size(health: Health) -> Iterator[Finding]:
    """How large it is, and how much of that nobody needs."""
    bloated = [table for table in health.tables if table.dead > max(DEAD_LEAST, DEAD_SHARE * table.rows)]
    for table in bloated:
        yield Finding(
            check="table bloat",
            level="problem",
            told=f"{table.name} has {table.dead:,} dead rows beside {table.rows:,} that live ({_bytes(table.bytes)})",
            todo=f"VACUUM (ANALYZE) {table.name}; then see why autovacuum lags: a long transaction, or its cost limits",
        )
    if health.free > max(FREE_LEAST, FREE_SHARE * health.bytes):
        yield Finding(
            check="table bloat",
            level="note",
            told=f"{_bytes(health.free)} of {_bytes(health.bytes)} of the file are empty",
            todo="VACUUM it while no worker is up, if the space is wanted",
        )
    largest = max(health.tables, key=lambda table: table.bytes, default=None)
    told = f"{health.server}, {_bytes(health.bytes)}{_largest(largest)}"
    yield Finding(check="size", level="ok", told=told)


def _largest(table: TableSize | None) -> str:
    return "" if table is None else f", the largest table {table.name} with {_bytes(table.bytes)}"


def _late(what: str, waiting: Waiting, now: int) -> str:
    return f"{what}: {waiting.count}, the oldest has waited for {span(now - (waiting.oldest or now))}"


def _bytes(count: int) -> str:
    size = float(count)
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1_024:
            return f"{size:.0f} {unit}"
        size /= 1_024
    return f"{size:.1f} TB"
