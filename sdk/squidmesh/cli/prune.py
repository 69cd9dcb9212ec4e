"""``squidmesh prune``: delete runs that ended long ago."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from squidmesh.cli.session import Session, steering
from squidmesh.cli.values import PAST


@click.command()
@click.option(
    "--older-than", type=PAST, metavar="AGE", help="Ended so long ago: 30d, 2026-11-30; else SQUIDMESH_RETENTION."
)
@click.option("--status", multiple=True, metavar="STATUS", help="Only of this status; may be given several times.")
@click.option("--workflow", multiple=True, metavar="NAME", help="Only of this workflow; of a tree its root counts.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many trees, the oldest first.")
@click.option("--dry-run", is_flag=True, help="Only count.")
@click.option(
    "--archive", type=click.Path(dir_okay=False), metavar="FILE", help="Write each run there first, as JSON lines."
)
@click.option("--secrets", is_flag=True, help="Write secrets into the archive as they are; else they are masked.")
@click.option("--vacuum", is_flag=True, help="In the end, make room for new rows and give space back.")
@click.option("--pace", type=click.FloatRange(0, 1, min_open=True), default=0.2, show_default=True,
              help="The part of the time that it works: the lower, the less others feel it.")  # fmt: skip
@steering
def prune(
    session: Session,
    *,
    older_than: datetime | None,
    status: Sequence[str],
    workflow: Sequence[str],
    limit: int | None,
    dry_run: bool,
    archive: str | None,
    secrets: bool,
    vacuum: bool,
    pace: float,
) -> None:
    """Delete runs that have ended, each with its children; beside those who write, in batches.

    What is gone is gone: its key can be used again.
    """
    done: Any = session.mesh.prune(
        older_than=older_than, status=list(status) or None, workflow=list(workflow) or None, limit=limit,
        dry_run=dry_run, archive=archive, secrets=secrets, vacuum=vacuum, pace=pace,
    )  # fmt: skip

    def document() -> Any:
        from squidmesh.cli import documents

        return documents.PrunedDocument(
            dry_run=dry_run, runs=done.runs, trees=done.trees, archived=done.archived, archive=archive
        )

    def blocks() -> Any:
        from squidmesh.cli.blocks import Say

        there = f", {done.archived} of them written to {archive}" if archive is not None and not dry_run else ""
        return [Say(f"{'would go' if dry_run else 'deleted'}: {done.runs} runs in {done.trees} trees{there}")]

    session.answer(document, blocks)
