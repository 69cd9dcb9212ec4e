"""What a run waits for in its children: their ends, or their rollbacks; and what is to be done there.

The rule of this file: which child it is, the run's own history says; how that one stands, its own explanation, which
is asked for only of the one that is told about.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from squidmesh.core.report import Action
from squidmesh.core.status import Reason, RunStatus
from squidmesh.ports import RunRow
from squidmesh.views.finding import Finding
from squidmesh.views.folding import Folded
from squidmesh.views.telling import since

if TYPE_CHECKING:
    from squidmesh.views.explanation import Explanation

Ask = Callable[[str], "Explanation | None"]
"""The explanation of a child, by its id; None where it is not there any more."""


def find_kin(row: RunRow, run: Folded) -> Iterator[Finding]:
    """The children that the run waits for."""
    reason = Reason.DRAINING if row.status == RunStatus.UNDOING else Reason.WAITING_FOR_CHILD
    for child in run.children.values():
        if child.waited_for:
            begun = child.begun
            yield Finding(reason, "child", begun.workflow, begun.position, since=begun.at, child=begun.run_id)


def worst_first(found: Sequence[Finding], stuck: Collection[str]) -> list[Finding]:
    """What explains a run that waits for several children is the one that does not go on by itself."""
    if found[0].child is None or found[0].child in stuck:
        return list(found)
    return sorted(found, key=lambda finding: finding.child not in stuck)


def summary(main: Finding, told: Explanation | None) -> str:
    """Which child is waited for, and how that one stands."""
    what = "The rollback of the run waits" if main.reason is Reason.WAITING_FOR_CHILD_ROLLBACK else "The run waits"
    whose = "that of " if main.reason is Reason.WAITING_FOR_CHILD_ROLLBACK else ""
    child = f"{what}{since(main.since)} for {whose}child run {main.child} of {main.name!r} (position {main.position})"
    if told is None:
        return f"{child}, of which nothing is known any more."
    return f"{child}, which is {told.status.value}: {told.summary}"


def blockers(main: Finding, told: Explanation | None) -> list[str]:
    return [] if told is None else [f"child run {main.child}: {blocker}" for blocker in told.blockers]


def actions(row: RunRow, told: Explanation | None) -> list[Action]:
    """What helps the child; or the end of the run, if it is not wanted any more."""
    helps = [] if told is None else told.next_actions
    return [
        *(action for action in helps if ".cancel()" not in (action.python or "")),
        Action(
            python=f'mesh.handle("{row.run_id}").cancel()',
            cli=f"squidmesh cancel {row.run_id}",
            why="ends the run with its children, if it is not wanted any more",
        ),
    ]
