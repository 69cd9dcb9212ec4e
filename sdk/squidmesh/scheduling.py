"""A schedule in the hand: look at its ticks, pause, resume, delete, trigger, backfill.

The rule of this file: as of a handle: what is asked of it is asked of the database, and nothing runs from here.
"""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from squidmesh.core.deterministic import instant
from squidmesh.core.schedule import Definition
from squidmesh.engine import schedules
from squidmesh.errors import RunNotFound, ScheduleNotFound
from squidmesh.handle import Handle
from squidmesh.ports import ScheduleRow
from squidmesh.views.schedules import ScheduleView, Tick, schedule_view, tick_view

if TYPE_CHECKING:
    from squidmesh.mesh import Mesh

T_co = TypeVar("T_co", covariant=True)

_EVER = 2**62


class Schedule(Generic[T_co]):
    """One schedule, by its name.

    ``actor`` and ``note`` say who does something with it, and why; both may be left out.
    """

    __slots__ = ("name", "_mesh", "_row")

    def __init__(self, mesh: Mesh, row: ScheduleRow) -> None:
        self._mesh = mesh
        self._row = row
        self.name = row.name

    def next(self, n: int = 1) -> list[datetime]:
        """Its next ``n`` ticks from now on (UTC), as its definition says; fewer, if it ends before.

        The calendar alone says so: it does not matter whether it is paused, or was deleted.
        """
        now = self._mesh.connect_engine().clock.now()
        definition = Definition.from_json(self._row.definition)
        return [instant(at) for at in islice(definition.ticks(self._row.anchor, now), n)]

    def ticks(self, limit: int = 10_000) -> list[Tick]:
        """What became of its ticks, in the order of their times; of more than ``limit`` the newest."""
        rows = self._mesh.connect_engine().store.ticks(self.name, -_EVER, _EVER, limit)
        return [tick_view(row) for row in rows]

    def inspect(self) -> ScheduleView:
        """The schedule as it stands. :raises ScheduleNotFound: it was deleted."""
        row = self._mesh.connect_engine().store.schedule(self.name)
        if row is None:
            raise ScheduleNotFound(self.name)
        return schedule_view(row)

    def pause(self, *, actor: str | None = None, note: str | None = None) -> None:
        """Fire no more ticks until ``resume``; runs that were started go on.

        :raises ScheduleNotFound: it was deleted. (So for all of these but ``delete``.)
        """
        schedules.pause(self._mesh.connect_engine(), self.name, actor, note)

    def resume(self, *, actor: str | None = None, note: str | None = None) -> None:
        """Fire its ticks again from now on; those of the pause are neither caught up nor recorded."""
        schedules.resume(self._mesh.connect_engine(), self.name, actor, note)

    def delete(self, *, actor: str | None = None, note: str | None = None) -> None:
        """Take it away; its runs go on, and its ticks stay on record. One that was queued does not start any more.

        The schedule of a trigger comes back with the next worker: ``pause`` it instead, or take it out of the code.
        """
        schedules.delete(self._mesh.connect_engine(), self.name, actor, note)

    def trigger(self, *, actor: str | None = None, note: str | None = None) -> Handle[T_co]:
        """Start a run of it now, besides its ticks, and whatever goes on already."""
        return self._handle(schedules.trigger(self._mesh.connect_engine(), self.name, actor, note))

    def backfill(
        self, start: datetime, end: datetime, *, actor: str | None = None, note: str | None = None
    ) -> list[Handle[T_co]]:
        """Run the ticks of a past range, both ends included, at once and side by side.

        A tick that has a run already is not run again: its run is among the handles, which are in the order of time.
        (So is one that was pruned since, which is ``RunNotFound`` when something is asked of it.)

        :raises ValueError: a range that ends before it begins, or of more than 10,000 ticks.
        """
        engine = self._mesh.connect_engine()
        return [self._handle(run_id) for run_id in schedules.backfill(engine, self.name, start, end, actor, note)]

    def _handle(self, run_id: str) -> Handle[Any]:
        try:
            return self._mesh.handle(run_id)
        except RunNotFound:  # pruned since: its tick was run all the same
            return self._mesh._handle(run_id, None)

    def __repr__(self) -> str:
        return f"<Schedule {self.name!r}: {Definition.from_json(self._row.definition).when} {self._row.workflow}>"
