"""``squidmesh runs``: the runs of a database, newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from squidmesh.cli.filters import filtered
from squidmesh.cli.session import Session, reading

if TYPE_CHECKING:
    from squidmesh.cli.blocks import Block
    from squidmesh.engine.asking import Filters
    from squidmesh.views.summary import Page, RunSummary


@click.command()
@reading
@filtered
@click.option("--key", metavar="KEY", help="Only the run that was started with this key.")
@click.option("--counts", is_flag=True, help="Count them by workflow and status, instead of listing them.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1_000), help="Runs on a page.")
@click.option("--after", metavar="RUN_ID", help="The page after that run, which is the last of the page before.")
def runs(session: Session, *, filters: Filters, key: str | None, counts: bool, limit: int, after: str | None) -> None:
    """List runs, newest first, a page at a time; or count them."""
    filters["key"] = key
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
