"""One command for many runs: those that a filter finds, one after the other, newest first.

    mesh.bulk("cancel", workflow="checkout", status="waiting")                      # says what it would do
    mesh.bulk("cancel", workflow="checkout", status="waiting",
              dry_run=False, actor="ada", note="wrong prices", key="prices")        # does it

Each run is judged and told by itself, by the same use case as from its handle: what is refused for one is reported and
changes nothing, and the others go on. There is no transaction around them. With ``key`` each run has a key of its own
that is made from it and its id, so the same call again, after a crash at any place, does nothing twice to a run.

The rule of this file: a dry run is the command itself, stopped where it would be put down. So it cannot say otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from pydantic import BaseModel, ConfigDict

from squidmesh.core.calls import whole_number
from squidmesh.core.status import ENDED, RunStatus
from squidmesh.engine.engine import Engine
from squidmesh.engine.post import COMMANDS, person
from squidmesh.errors import (
    DefinitionError,
    IllegalState,
    KeyConflict,
    NoSuchEntry,
    NothingOpen,
    NothingToUndo,
    OwnedByParent,
    RunNotFound,
    UnsafeRerun,
)
from squidmesh.handle import Handle
from squidmesh.views.summary import RunSummary

if TYPE_CHECKING:
    from squidmesh.mesh import Mesh

PAGE = 100
"""Runs that are listed at a time."""

REFUSALS = (
    IllegalState, NothingOpen, NoSuchEntry, NothingToUndo, UnsafeRerun, OwnedByParent, KeyConflict, RunNotFound,
)  # fmt: skip
"""What is said of one run, and does not keep the others from being told."""

STEERING: Final = frozenset({*COMMANDS, "signal", "rerun"})
AFTER_THE_END: Final = frozenset({"rerun", "rollback"})
AT_ANY_TIME: Final = frozenset({"undo_mark_done"})
WITHOUT_NAMES: Final = frozenset({"signal"})


class BulkRun(BaseModel):
    """What became of one run, or would. ``result``: the id of its rerun, else the status that it has then."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    workflow: str
    status: str  # that it was listed with
    outcome: Literal["done", "would", "refused"]
    result: str | None = None
    why: str | None = None  # it is refused


class BulkReport(BaseModel):
    """What a command did to many runs, or would do. ``next``: there are more, behind this one (``after=``)."""

    model_config = ConfigDict(frozen=True)

    version: int = 1
    command: str
    dry_run: bool
    runs: tuple[BulkRun, ...]
    next: str | None = None

    @property
    def done(self) -> tuple[BulkRun, ...]:
        """The runs that took it, or would."""
        return tuple(run for run in self.runs if run.outcome != "refused")

    @property
    def refused(self) -> tuple[BulkRun, ...]:
        """The runs that did not, and why."""
        return tuple(run for run in self.runs if run.outcome == "refused")

    def __str__(self) -> str:
        verb = "would do" if self.dry_run else "done"
        more = "; there are more" if self.next is not None else ""
        return f"{self.command}: {verb} for {len(self.done)} runs, refused for {len(self.refused)}{more}"


def bulk(
    mesh: Mesh,
    command: str,
    *,
    given: Mapping[str, Any] | None = None,
    dry_run: bool = True,
    actor: str | None = None,
    note: str | None = None,
    key: str | None = None,
    limit: int = 1_000,
    after: str | None = None,
    **which: Any,
) -> BulkReport:
    """Give one command to all runs that a filter finds, newest first: ``mesh.bulk(…)``.

    :param command: a command of a handle by its name: ``"cancel"``, ``"release"``, ``"rerun"``, …
    :param given: its own arguments, as ``{"undo": False}``.
    :param dry_run: only say what it would do (the default); else ``actor`` and ``note`` are needed.
    :param key: said again with the same key, it does nothing twice to a run.
    :param limit: runs at most; ``after`` is the ``next`` of the report before.
    :param which: filters, as ``mesh.list`` takes them; one at least. Without ``status``: the runs that are open, and
        for ``rerun`` and ``rollback`` those that have ended.
    :raises ValueError: no filter; or nobody says who decides this, and why. ``DefinitionError``: no such command.
    """
    if command not in STEERING:
        raise DefinitionError(f"bulk: {command!r} is no command; there are: {', '.join(sorted(STEERING))}")
    if not any(wanted is not None for wanted in which.values()):
        raise ValueError("bulk: say which runs are meant: workflow=, status=, attributes=, … as mesh.list takes them")
    if (whole_number("bulk: limit", limit) or 0) < 1:
        raise ValueError(f"bulk: limit is a count of at least 1, not {limit!r}")
    by, why = person("bulk", actor, note) if not dry_run else ("dry run", "dry run")
    who = {} if command in WITHOUT_NAMES else {"actor": by, "note": why}
    on = cast("Mesh", _Trial(mesh)) if dry_run else mesh
    found: list[BulkRun] = []
    there_is_more = False
    for run in _listed(mesh, after, {"status": _where(command), **which}):
        if there_is_more := len(found) == limit:
            break
        arguments = {**(given or {}), **who, "key": None if key is None else f"{key}:{run.run_id}"}
        found.append(_told(Handle(on, run.run_id), run, command, arguments, dry_run))
    last = found[-1].run_id if there_is_more else None
    return BulkReport(command=command, dry_run=dry_run, runs=tuple(found), next=last)


def _listed(mesh: Mesh, after: str | None, which: Mapping[str, Any]) -> Iterator[RunSummary]:
    """The runs, page by page. Newer ones that are started meanwhile are not among them."""
    while True:
        page = mesh.list(limit=PAGE, after=after, **which)
        yield from page
        if (after := page.next) is None:
            return


def _where(command: str) -> list[str] | None:
    """The status of runs that a command may be for, where nobody has said which."""
    if command in AT_ANY_TIME:
        return None
    return [status.value for status in RunStatus if (status in ENDED) is (command in AFTER_THE_END)]


def _told(handle: Handle[Any], run: RunSummary, command: str, arguments: Mapping[str, Any], dry_run: bool) -> BulkRun:
    listed = {"run_id": run.run_id, "workflow": run.workflow, "status": run.status}
    try:
        given = getattr(handle, command)(**arguments)
        result = given.run_id if isinstance(given, Handle) else handle.status()
        return BulkRun(**listed, outcome="would" if dry_run else "done", result=result)
    except _WouldDo:
        return BulkRun(**listed, outcome="would")
    except REFUSALS as refused:
        return BulkRun(**listed, outcome="refused", why=str(refused))


class _WouldDo(Exception):
    """A command has come to where it is put down."""


class _Trial:
    """A mesh on which commands come as far as that, and no further."""

    def __init__(self, mesh: Mesh) -> None:
        engine = mesh.connect_engine()
        self._engine: Engine = replace(engine, store=cast("Any", _Untouched(engine.store)))

    def connect_engine(self) -> Engine:
        return self._engine

    def handle(self, run_id: str) -> Handle[Any]:
        return Handle(cast("Any", self), run_id)


class _Untouched:
    """A store that is read only."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def post(self, *_: Any, **__: Any) -> None:
        raise _WouldDo

    def start(self, *_: Any, **__: Any) -> None:
        raise _WouldDo
