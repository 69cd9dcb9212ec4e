"""``squidmesh runs``: the runs of a database, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from squidmesh.cli.session import Session, reading
from squidmesh.cli.values import JSON, PAST, Given

if TYPE_CHECKING:
    from squidmesh.cli.blocks import Block
    from squidmesh.engine.asking import Filters
    from squidmesh.views.summary import Page, RunSummary


@click.command()
@click.option("--status", multiple=True, metavar="STATUS", help="Only of this status; may be given several times.")
@click.option("--reason", multiple=True, metavar="REASON", help="Only for this reason (squidmesh reasons).")
@click.option("--workflow", multiple=True, metavar="NAME", help="Only of this workflow.")
@click.option("--version", "version_", type=int, metavar="N", help="Only of this version of it.")
@click.option("--key", metavar="KEY", help="Only the run that was started with this key.")
@click.option("--parent", metavar="RUN", help="Only the children of this run.")
@click.option("--attributes", type=JSON, help="""Only with these attributes: '{"region": "eu"}'.""")
@click.option("--since", type=PAST, help="Only started since then: 2h, 7d, 2026-11-30T09:00.")
@click.option("--before", type=PAST, help="Only started before then.")
@click.option("--ended-since", type=PAST, help="Only ended since then.")
@click.option("--ended-before", type=PAST, help="Only ended before then.")
@click.option("--deadline", metavar="STATE", help="Only open ones that are on_time, due_soon or overdue.")
@click.option("--rolled-back/--not-rolled-back", default=None, help="Only with, or without, a rollback.")
@click.option("--orphaned/--not-orphaned", default=None, help="Only with effects left that nobody has answered for.")
@click.option("--counts", is_flag=True, help="Count them by workflow and status, instead of listing them.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1_000), help="Runs on a page.")
@click.option("--after", metavar="RUN_ID", help="The page after that run, which is the last of the page before.")
@reading
def runs(
    session: Session,
    *,
    status: Sequence[str],
    reason: Sequence[str],
    workflow: Sequence[str],
    version_: int | None,
    key: str | None,
    parent: str | None,
    attributes: Given | None,
    since: datetime | None,
    before: datetime | None,
    ended_since: datetime | None,
    ended_before: datetime | None,
    deadline: str | None,
    rolled_back: bool | None,
    orphaned: bool | None,
    counts: bool,
    limit: int,
    after: str | None,
) -> None:
    """List runs, newest first, a page at a time; or count them."""
    from squidmesh.engine.asking import Filters

    filters = Filters(
        status=list(status) or None, reason=list(reason) or None, workflow=list(workflow) or None, version=version_,
        key=key, parent=None if parent is None else session.run(parent, None).run_id,
        attributes=None if attributes is None else attributes.value, created_after=since, created_before=before,
        ended_after=ended_since, ended_before=ended_before, deadline=deadline, has_rollback=rolled_back,
        orphaned=orphaned,
    )  # fmt: skip
    if counts:
        _count(session, filters)
        return
    page = session.mesh.list(limit=limit, after=after, **filters)
    session.answer(lambda: _document(page), lambda: _page(session, page))


def _count(session: Session, filters: Filters) -> None:
    found = session.mesh.counts(**filters)

    def document() -> Any:
        from squidmesh.cli import documents

        return documents.Counted(counts=found)

    def blocks() -> Any:
        from squidmesh.cli.pages.counts import table

        return [table(found)]

    session.answer(document, blocks)


def _document(page: Page[RunSummary]) -> Any:
    from squidmesh.cli import documents

    return documents.Runs(runs=page.items, next=page.next)


def _page(session: Session, page: Page[RunSummary]) -> list[Block]:
    from squidmesh.cli.blocks import Say
    from squidmesh.cli.pages.runs import table

    if not page.items:
        return [Say("No runs.", "quiet")]
    blocks: list[Block] = [table(page.items)]
    if page.next is not None:
        blocks.append(Say(f"more: {session.command(f'squidmesh runs --after {page.next}')}", "quiet", command=True))
    return blocks
