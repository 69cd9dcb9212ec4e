"""``squidmesh export``: write runs as lines of JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from squidmesh.cli.session import Session, reading
from squidmesh.cli.values import PAST


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--status", multiple=True, metavar="STATUS", help="Only of this status; may be given several times.")
@click.option("--workflow", multiple=True, metavar="NAME", help="Only of this workflow.")
@click.option("--older-than", type=PAST, metavar="AGE", help="Only what ended so long ago: 30d, 2026-11-30.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many runs, the newest.")
@click.option("--run", metavar="RUN", help="Only this run, in the form that replay takes.")
@click.option("--redact", multiple=True, metavar="NAME", help="With --run: leave out the values of this name.")
@click.option("--secrets", is_flag=True, help="Write secrets as they are; else they are masked.")
@reading
def export(
    session: Session,
    *,
    file: str,
    status: Sequence[str],
    workflow: Sequence[str],
    older_than: datetime | None,
    limit: int | None,
    run: str | None,
    redact: Sequence[str],
    secrets: bool,
) -> None:
    """Write runs to FILE (- is the standard output), each with its history as a line of JSON; nothing is deleted.

    With --run it is the history of one run, for a test: squidmesh replay FILE MODULE.
    """
    if run is not None:
        if status or workflow or older_than or limit or secrets:
            raise click.UsageError("--run takes no filter, no --limit and no --secrets: secrets are never in it.")
        count = _record(session, run, file, redact)
    elif redact:
        raise click.UsageError("--redact goes with --run.")
    else:
        count = session.mesh.export(
            sys.stdout if file == "-" else file, status=list(status) or None, workflow=list(workflow) or None,
            older_than=older_than, limit=limit, secrets=secrets,
        )  # fmt: skip
    if file != "-":
        _answer(session, file, count)


def _record(session: Session, run: str, file: str, redact: Sequence[str]) -> int:
    from squidmesh.testing import record

    text = record(session.run(run, None), redact=list(redact) or None)
    with click.open_file(file, "w", encoding="utf-8") as opened:
        opened.write(text)
    return 1


def _answer(session: Session, file: str, count: int) -> None:
    def document() -> Any:
        from squidmesh.cli import documents

        return documents.Exported(file=file, runs=count)

    def blocks() -> Any:
        from squidmesh.cli.blocks import Say

        return [Say(f"written to {file}: {count} {'run' if count == 1 else 'runs'}")]

    session.answer(document, blocks)
