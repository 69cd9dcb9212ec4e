"""Scopes, and what a workflow says of undoing: ``saga``, ``rollback``, ``add_undo``.

The rule of this file: values and checks. The interpreter gives them meaning; the chain (chain.py) knows what a scope
holds.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVarTuple, get_args

from squidmesh.core.calls import Command, current_script
from squidmesh.core.guards import choice, plain
from squidmesh.core.handlers import importable
from squidmesh.core.payloads import Parameters
from squidmesh.core.workflow import OnIrreversible, OnUndoFailure
from squidmesh.errors import DefinitionError, NotSettled

if TYPE_CHECKING:
    from squidmesh.core.report import RollbackReport

Args = TypeVarTuple("Args")


class Scoped(Protocol):
    """The running body of a workflow, as its scopes see it."""

    closing: bool

    def enter(self, scope: Saga) -> str: ...
    def leave(self, scope: Saga, error: BaseException | None) -> None: ...
    def scope_report(self, scope: str) -> RollbackReport | None: ...


class Saga:
    """A savepoint of a workflow: ``with saga("ground"): …``. See ``saga``."""

    def __init__(self, name: str, commit: bool, on_irreversible: str | None, on_undo_failure: str | None) -> None:
        self.name = name
        self.commit = commit
        self.on_irreversible = on_irreversible
        self.on_undo_failure = on_undo_failure
        self.id: str | None = None
        self._script: Scoped | None = None

    def __enter__(self) -> Self:
        self._script = current_script.get()
        if self._script is None:
            raise DefinitionError(f"saga({self.name!r}) is for the inside of a workflow")
        if self.id is not None:
            raise DefinitionError(f"saga({self.name!r}) is entered again: make another one with saga(…)")
        self.id = self._script.enter(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # Putting a run away is not an exception of the workflow.
        if self._script is not None and not self._script.closing and not isinstance(error, GeneratorExit):
            self._script.leave(self, error)

    @property
    def report(self) -> RollbackReport:
        """What its rollback achieved.

        :raises NotSettled: it was not rolled back, or not yet: ``yield from rollback(scope)`` waits for it.
        """
        found = self._script.scope_report(self.id) if self._script is not None and self.id is not None else None
        if found is None:
            raise NotSettled(
                f"saga {self.name!r} has no report: it was not rolled back, or that is not over; "
                "`report = yield from rollback(scope)` waits for it"
            )
        return found

    def __repr__(self) -> str:
        return f"<saga {self.name}>"


def saga(
    name: str,
    *,
    commit: bool = False,
    on_irreversible: OnIrreversible | None = None,
    on_undo_failure: OnUndoFailure | None = None,
) -> Saga:
    """A scope of a workflow that is rolled back by itself when an exception leaves it.

    Left cleanly, what was done in it joins what surrounds it; with ``commit=True`` an outer rollback passes it over.

    :param on_irreversible: ``"report"``, ``"halt"`` or ``"refuse"``; by default as the workflow says.
    :param on_undo_failure: ``"halt"`` or ``"continue"``; by default as the workflow says.
    """
    given: object = name
    if not isinstance(given, str) or not given.strip():
        raise DefinitionError(f"saga() takes a name, not {given!r}")
    if on_irreversible is not None:
        choice(f"saga {name!r}: on_irreversible", on_irreversible, get_args(OnIrreversible))
    if on_undo_failure is not None:
        choice(f"saga {name!r}: on_undo_failure", on_undo_failure, get_args(OnUndoFailure))
    return Saga(name, bool(commit), on_irreversible, on_undo_failure)


class RollbackScope(Command["RollbackReport"]):
    __slots__ = ("scope",)

    def __init__(self, scope: str) -> None:
        super().__init__(3)
        self.scope = scope

    def told(self) -> str:
        return "rollback"


def rollback(scope: Saga) -> Command[RollbackReport]:
    """Undo what was done in a scope, and give the report.

    Waits for a rollback that is due, and starts no second one. On a scope that is open it undoes what is done so far.
    """
    if not isinstance(scope, Saga):
        raise DefinitionError(f"rollback() takes a scope, as `with saga(…) as scope` gives it, not {scope!r}")
    if scope.id is None:
        raise DefinitionError(f"rollback() of saga {scope.name!r}, which was not entered: write `with scope:` first")
    return RollbackScope(scope.id)


class AddUndo(Command[None]):
    __slots__ = ("function", "input")

    def __init__(self, function: str, input: dict[str, Any]) -> None:
        super().__init__(3)
        self.function, self.input = function, input

    def told(self) -> str:
        return "add_undo"


def add_undo(fn: Callable[[*Args], Any], *args: *Args) -> Command[None]:
    """Register ``fn(*args)`` as an undo: it is called in its turn if what was done up to here is rolled back.

    :param fn: a function that can be imported again, sync or ``async def``.
    :raises InvalidPayload: arguments that do not fit its declared types.
    """
    if not inspect.isfunction(fn):
        raise DefinitionError(f"add_undo() takes a function and its arguments, not {fn!r}")
    plain("add_undo()", fn, "an undo is called once and returns: write it as a plain `def` or `async def`")
    return AddUndo(importable(fn), Parameters(fn, f"undo {fn.__name__!r}").bind(args, {}))
