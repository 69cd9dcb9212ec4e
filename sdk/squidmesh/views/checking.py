"""What a deploy would do to the runs that are open: which would block, and when a ``patched`` branch can go.

The rule of this file: folded from what each run's rehearsal has shown, one run after the other; a report of a million
runs keeps those that have something to say.
"""

from __future__ import annotations

import linecache
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, computed_field

from squidmesh.core.rehearsing import Missing, Rehearsal
from squidmesh.core.status import CODE_REASONS, Reason
from squidmesh.ports import RunRow
from squidmesh.views.explanation import Place

SHOWN = 20
"""Runs on the old branch that a patch names."""


class WouldBlock(BaseModel, frozen=True):
    """A run that could not go on with this code.

    Where ``reason`` is ``code_changed``, ``history`` is what was recorded at ``position``, and ``now`` what the code
    does there; ``place`` is where in the code, ``source`` its line. ``already``: it is blocked by code as it is.
    """

    run_id: str
    workflow: str
    version: int
    key: str | None = None
    reason: Reason
    position: str | None = None
    history: str | None = None
    now: str | None = None
    place: Place | None = None
    source: str | None = None
    message: str
    already: bool = False

    @property
    def lines(self) -> tuple[str, str]:
        """Both sides: what history has, and the code."""
        where = f" at position {self.position}" if self.position else ""
        place = f"{self.place.file}:{self.place.line}  " if self.place is not None else ""
        if self.history is None:
            return f"history: run {self.run_id}{where}", f"code:    {place}{self.message}"
        return f"history: {self.history}{where}", f"code:    {place}{self.now}"

    def __str__(self) -> str:
        return "\n".join((f"{self.workflow} version {self.version}, run {self.run_id}: {self.reason}", *self.lines))


class WithoutUndo(BaseModel, frozen=True):
    """A run that would go on, but could not be rolled back: ``steps`` have completed, and the code has no undo."""

    run_id: str
    workflow: str
    version: int
    steps: tuple[str, ...]


class PatchReport(BaseModel, frozen=True):
    """How far a change in place, ``patched(id)``, has come.

    ``new`` open runs have taken its new branch, ``old`` ones need the old one, and ``undecided`` ones have not come to
    it: they will take the new one. Of ``unclear`` ones nothing can be said, for they would block before.
    """

    id: str
    workflow: str
    version: int
    new: int = 0
    old: int = 0
    undecided: int = 0
    unclear: int = 0
    old_runs: tuple[str, ...] = ()

    @computed_field  # type: ignore[prop-decorator]
    @property
    def can_go(self) -> bool:
        """Whether the old branch, and with it the call of ``patched``, can be removed."""
        return self.old == 0 and self.unclear == 0

    def __str__(self) -> str:
        told = "its old branch can go" if self.can_go else "its old branch is needed"
        return (
            f"patched({self.id!r}) of {self.workflow} version {self.version}: {told} "
            f"({self.new} new, {self.old} old, {self.undecided} undecided, {self.unclear} unclear)"
        )


class CheckReport(BaseModel, frozen=True):
    """What the code at hand would do to the open runs of a database.

    ``would_go_on``: runs that are blocked by code now, and would not be. ``elsewhere``: open runs by workflow of which
    no version is at hand. ``next``: when a limit was reached, the ``after=`` of the check that goes on behind it.
    """

    schema_version: int = 1
    checked: int
    would_block: tuple[WouldBlock, ...] = ()
    would_go_on: tuple[str, ...] = ()
    without_undo: tuple[WithoutUndo, ...] = ()
    patches: tuple[PatchReport, ...] = ()
    elsewhere: Mapping[str, int] = {}
    next: str | None = None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ok(self) -> bool:
        """Whether no run would block that does not already."""
        return all(run.already for run in self.would_block)

    def __str__(self) -> str:
        told = f"{self.checked} open runs replayed: {len(self.would_block)} would block"
        if self.elsewhere:
            told += f"; {sum(self.elsewhere.values())} are of workflows that are not at hand"
        return told


def checked(runs: Iterable[tuple[RunRow, Rehearsal | Missing]], limit: int | None = None) -> CheckReport:
    """The report of runs that were rehearsed, of which at most ``limit`` were asked for."""
    report, seen = _Report(), 0
    for row, rehearsal in runs:
        report.add(row, rehearsal)
        seen += 1
    return report.made(complete=limit is None or seen < limit)


@dataclass(slots=True)
class _Report:
    """Folds the rehearsals of runs, one after the other."""

    checked: int = 0
    would_block: list[WouldBlock] = field(default_factory=list)
    would_go_on: list[str] = field(default_factory=list)
    without_undo: list[WithoutUndo] = field(default_factory=list)
    elsewhere: dict[str, int] = field(default_factory=dict)
    last: str | None = None
    _bodies: dict[tuple[str, int], _Bodies] = field(default_factory=dict)

    def add(self, row: RunRow, seen: Rehearsal | Missing) -> None:
        self.last = row.run_id
        if isinstance(seen, Rehearsal):
            self.checked += 1
            self._rehearsed(row, seen)
        elif seen.elsewhere:
            self.elsewhere[row.workflow] = self.elsewhere.get(row.workflow, 0) + 1
        else:
            self.checked += 1
            self.would_block.append(WouldBlock(**_run(row), reason=Reason.NO_CODE, message=seen.why))

    def _rehearsed(self, row: RunRow, seen: Rehearsal) -> None:
        blocks = seen.blocked is not None and seen.blocked.reason in CODE_REASONS
        already = row.reason in CODE_REASONS
        if blocks:
            self.would_block.append(_would_block(row, seen, already))
        elif already:
            self.would_go_on.append(row.run_id)
        if seen.without_undo:
            self.without_undo.append(
                WithoutUndo(run_id=row.run_id, workflow=row.workflow, version=row.version, steps=seen.without_undo)
            )
        if seen.needs_code:
            self._bodies.setdefault((row.workflow, row.version), _Bodies()).add(row.run_id, seen.patches, blocks)

    def made(self, complete: bool) -> CheckReport:
        patches = [patch for place in sorted(self._bodies) for patch in self._bodies[place].patches(*place)]
        return CheckReport(
            checked=self.checked, would_block=tuple(self.would_block), would_go_on=tuple(self.would_go_on),
            without_undo=tuple(self.without_undo), patches=tuple(patches), elsewhere=self.elsewhere,
            next=None if complete else self.last,
        )  # fmt: skip


@dataclass(slots=True)
class _Bodies:
    """The open runs of one workflow whose body goes on, and which branches they have taken."""

    runs: int = 0
    blocked: int = 0
    taken: dict[str, list[int]] = field(default_factory=dict)  # by patch: old, new, and of those that would block
    old_runs: dict[str, list[str]] = field(default_factory=dict)

    def add(self, run_id: str, patches: Mapping[str, bool], blocks: bool) -> None:
        self.runs += 1
        self.blocked += blocks
        for name, new in patches.items():
            counts = self.taken.setdefault(name, [0, 0, 0])
            counts[new] += 1
            counts[2] += blocks
            if not new and len(shown := self.old_runs.setdefault(name, [])) < SHOWN:
                shown.append(run_id)

    def patches(self, workflow: str, version: int) -> Iterable[PatchReport]:
        for name, (old, new, blocked) in sorted(self.taken.items()):
            unclear = self.blocked - blocked
            yield PatchReport(
                id=name, workflow=workflow, version=version, new=new, old=old, unclear=unclear,
                undecided=self.runs - old - new - unclear, old_runs=tuple(self.old_runs.get(name, ())),
            )  # fmt: skip


def _would_block(row: RunRow, seen: Rehearsal, already: bool) -> WouldBlock:
    blocked, differs = seen.blocked, seen.differs
    assert blocked is not None
    place = None
    if blocked.file:
        place = Place(file=blocked.file, line=blocked.line or 0, function=blocked.function)
    changed = differs if blocked.reason == Reason.CODE_CHANGED else None
    return WouldBlock(
        **_run(row), reason=Reason(blocked.reason), position=blocked.position,
        history=None if changed is None else changed.expected, now=None if changed is None else changed.got,
        place=place, source=None if place is None else source_line(place.file, place.line),
        message=blocked.message, already=already,
    )  # fmt: skip


def _run(row: RunRow) -> dict[str, Any]:
    return {"run_id": row.run_id, "workflow": row.workflow, "version": row.version, "key": row.key}


def source_line(file: str, line: int) -> str | None:
    """A line of code, or None where its file cannot be read."""
    linecache.checkcache(file)
    return linecache.getline(file, line).strip() or None
