"""The options that say which runs are meant, as ``mesh.list`` takes them.

The rule of this file: ``runs`` and ``bulk`` have the same filters, by the same names. A key names one run: no filter.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from squidmesh.cli.session import Session
from squidmesh.cli.values import JSON, PAST, Given

if TYPE_CHECKING:
    from squidmesh.engine.asking import Filters

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--status", multiple=True, metavar="STATUS", help="Only of this status; may be given several times."),
    click.option("--reason", multiple=True, metavar="REASON", help="Only for this reason (squidmesh reasons)."),
    click.option("--workflow", multiple=True, metavar="NAME", help="Only of this workflow."),
    click.option("--version", "version_", type=int, metavar="N", help="Only of this version of it."),
    click.option("--parent", metavar="RUN", help="Only the children of this run."),
    click.option("--attributes", type=JSON, help="""Only with these attributes: '{"region": "eu"}'."""),
    click.option("--since", type=PAST, help="Only started since then: 2h, 7d, 2026-11-30T09:00."),
    click.option("--before", type=PAST, help="Only started before then."),
    click.option("--ended-since", type=PAST, help="Only ended since then."),
    click.option("--ended-before", type=PAST, help="Only ended before then."),
    click.option("--deadline", metavar="STATE", help="Only open ones that are on_time, due_soon or overdue."),
    click.option("--rolled-back/--not-rolled-back", default=None, help="Only with, or without, a rollback."),
    click.option(
        "--orphaned/--not-orphaned", default=None, help="Only with effects left that nobody has answered for."
    ),
)


def filtered(command: F) -> F:
    """Declare the filters; the command gets them as ``filters``."""

    @functools.wraps(command)
    def called(session: Session, **given: Any) -> Any:
        own = {name: given.pop(name) for name in _NAMES}
        return command(session, filters=_filters(session, **own), **given)

    made: Any = called
    for option in reversed(_OPTIONS):
        made = option(made)
    return made  # type: ignore[no-any-return]


_NAMES = (
    "status", "reason", "workflow", "version_", "parent", "attributes", "since", "before", "ended_since",
    "ended_before", "deadline", "rolled_back", "orphaned",
)  # fmt: skip


def _filters(
    session: Session,
    *,
    status: Sequence[str],
    reason: Sequence[str],
    workflow: Sequence[str],
    version_: int | None,
    parent: str | None,
    attributes: Given | None,
    since: datetime | None,
    before: datetime | None,
    ended_since: datetime | None,
    ended_before: datetime | None,
    deadline: str | None,
    rolled_back: bool | None,
    orphaned: bool | None,
) -> Filters:
    wanted: Filters = {
        "version": version_, "created_after": since, "created_before": before, "ended_after": ended_since,
        "ended_before": ended_before, "deadline": deadline, "has_rollback": rolled_back, "orphaned": orphaned,
    }  # fmt: skip
    for name, several in (("status", status), ("reason", reason), ("workflow", workflow)):
        if several:
            wanted[name] = list(several)  # type: ignore[literal-required]
    if parent is not None:
        wanted["parent"] = session.run(parent, None).run_id
    if attributes is not None:
        wanted["attributes"] = attributes.value
    return wanted
