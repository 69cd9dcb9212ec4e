"""The scopes of a live run: entered and left by its body, rolled back when an exception leaves them.

A scope that failed is **due**: what is in flight in it drains, and its rollback is over before the next command of the
body is dispatched. A command may want the rollback of one that is open. A scope that is past its pivot does not fail:
the turn in which it would is not recorded, and the run waits for a person.

The rule of this file: what the body says of its scopes, recorded once; when a rollback begins is decided elsewhere.
While the body runs, its own account of the scopes is asked: the chain has not heard of this turn, which may yet break.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from squidmesh.core import events as ev
from squidmesh.core.broken import Broken
from squidmesh.core.calls import Command
from squidmesh.core.failure import describe
from squidmesh.core.nodes import Node, Ok
from squidmesh.core.report import RollbackReport, report
from squidmesh.core.scopes import AddUndo, RollbackScope, Saga
from squidmesh.errors import GatherFailed, StepFailed

if TYPE_CHECKING:
    from squidmesh.core.interpreter import Interpreter


class Scoping:
    """See the module."""

    __slots__ = (
        "open",
        "due",
        "wanted",
        "errors",
        "stuck",
        "_run",
        "_entered",
        "_waiting",
        "_homes",
        "_parents",
        "_left",
        "_added",
    )

    def __init__(self, run: Interpreter) -> None:
        self.open: list[str] = []  # the innermost last
        self.due: dict[str, BaseException] = {}  # failed and to be rolled back, with what left them
        self.wanted: dict[str, str] = {}  # that a command wants to be rolled back, with its position
        self.errors: dict[int, tuple[BaseException, list[str]]] = {}  # what left those that failed, by identity
        self.stuck: Broken | None = None  # one has failed that can only go forward
        self._run = run
        self._entered = 0
        self._waiting: list[tuple[str, Node]] = []  # commands that wait for the rollback of a scope
        self._homes: dict[str, str | None] = {}  # of commands, by their positions; only where there are scopes
        self._parents: dict[str, str | None] = {}
        self._left: set[str] = set()  # cleanly
        self._added: set[str | None] = set()  # with undos that a command registered, and no rollback since

    def enter(self, scope: Saga) -> str:
        """The body enters a scope; its id."""
        run = self._run
        if run.script.closing:
            return ""
        self._entered += 1
        event = ev.ScopeEntered(
            scope=str(self._entered), name=scope.name, position=str(run.script.count + 1),
            parent=self.open[-1] if self.open else None, commit=scope.commit,
            on_irreversible=scope.on_irreversible, on_undo_failure=scope.on_undo_failure,
        )  # fmt: skip
        if not run.asked.recorded.scope(event, run.place):
            run.asked.new.append(event)
        self._parents[event.scope] = event.parent
        self.open.append(event.scope)
        return event.scope

    def leave(self, scope: Saga, error: BaseException | None) -> None:
        """The body leaves a scope, with an error or without."""
        run, left = self._run, scope.id
        assert left is not None
        event = ev.ScopeLeft(scope=left, position=str(run.script.count + 1), failed=error is not None)
        if error is not None:
            self.stuck = self.stuck or self.past_pivot(left, error)
        if not run.asked.recorded.scope(event, run.place):
            run.asked.new.append(event)
        self.open.remove(left)
        if error is None:
            self._left.add(left)
        else:
            self.due[left] = error
            self.errors.setdefault(id(error), (error, []))[1].append(left)
            self._stop_all(left)

    def place(self, command: Command[Any], position: str) -> None:
        """A command is about to be given its position, in the scope that is open."""
        home = self.open[-1] if self.open else None
        if self._parents:
            self._homes[position] = home
        if isinstance(command, AddUndo):
            self._added.add(home)

    def rollback(self, command: RollbackScope, position: str) -> Node:
        """The body wants a scope to be rolled back: a node that gets its report."""
        run, scope = self._run, command.scope
        node = Node(position)
        more = scope in self.open and (
            any(run.chain.within(entry.scope, scope) for entry in run.chain.armed())
            or any(self._within(home, scope) for home in self._added)
        )
        if (known := self.report(scope)) is not None and not more:
            node.settle(Ok(known))
            return node
        run.no_pivot_passed(scope)
        self.wanted[scope] = position
        self._waiting.append((scope, node))
        self._stop_all(scope)
        return node

    def rolled_back(self, number: int) -> None:
        """A rollback is over."""
        run = self._run
        scope = next((r.begun.scope for r in run.chain.rollbacks if r.number == number), None)
        if scope is None:
            return
        self.due.pop(scope, None)
        self.wanted.pop(scope, None)
        self._added = {home for home in self._added if not self._within(home, scope)}
        waiting, self._waiting = self._waiting, []
        for wanted, node in waiting:
            if wanted == scope:
                node.settle(Ok(self.report(scope)))
            else:
                self._waiting.append((wanted, node))

    def report(self, scope: str) -> RollbackReport | None:
        """The report of a scope, once its rollback is over."""
        run = self._run
        found = [r for r in run.chain.rollbacks if r.begun.scope == scope and r.outcome is not None]
        return report(run.chain, found[-1], run.run_id, run.workflow.name) if found else None

    def past_pivot(self, scope: str | None, error: BaseException | None) -> Broken | None:
        """Why a scope (None: the run) cannot fail, if it can only go forward."""
        run = self._run
        pivot = run.chain.past_pivot(scope)
        if pivot is None:
            return None
        entry = run.chain.entries[pivot]
        what = f"its failure ({describe(error)})" if error is not None else "its end"
        told = (
            f"`{entry.step}` at position {pivot} is a pivot and has completed: the run can only go forward, and {what} "
            "waits for a person"
        )
        return Broken("past_pivot", told, run.place(), self._failing(error))

    def _failing(self, error: BaseException | None) -> str | None:
        """The position of the step whose failure ends a scope, if nothing was done after it."""
        match error:
            case StepFailed(position=position):
                pass
            case GatherFailed(position=position, failures=failures) if failures:
                position = f"{position}.{next(iter(failures)) + 1}"
            case _:
                return None
        return position if position.partition(".")[0] == str(self._run.script.count) else None

    def _stop_all(self, scope: str) -> None:
        run = self._run
        for leaf in list(run.open.values()):
            if self._within(self._homes.get(leaf.position.partition(".")[0]), scope):
                run.asked.stop(leaf)

    def _within(self, home: str | None, scope: str) -> bool:
        """Whether what was asked for in one scope belongs to another; what outlived its scope belongs around it."""
        while home is not None and home in self._left:
            home = self._parents[home]
        while home is not None and home != scope:
            home = self._parents[home]
        return home == scope
