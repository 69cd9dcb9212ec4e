"""``squidmesh start``: start a run from a shell."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import click

from squidmesh.cli.session import Session, with_code
from squidmesh.cli.values import AHEAD, DURATION, JSON, Given


@click.command()
@click.argument("workflow", metavar="WORKFLOW")
@click.argument("input_", metavar="[INPUT]", type=JSON, required=False)
@click.option("--key", metavar="KEY", help="Started again with the same key and input, it is the same run.")
@click.option("--queue", metavar="NAME", help="Where it is driven; by default the workflow's queue.")
@click.option("--priority", type=int, default=0, show_default=True, help="The lower, the sooner.")
@click.option("--attributes", type=JSON, help="A JSON object to find it by.")
@click.option("--deadline", type=AHEAD, help="Past it the run fails: 2h, 2026-11-30T09:00.")
@click.option("--at", type=AHEAD, help="When it begins: 2h, 2026-11-30T09:00; now by default.")
@click.option("--wait", type=DURATION, metavar="DURATION", help="Wait so long for its end, and give its result.")
@with_code
def start(
    session: Session,
    *,
    workflow: str,
    input_: Given | None,
    key: str | None,
    queue: str | None,
    priority: int,
    attributes: Given | None,
    deadline: datetime | None,
    at: datetime | None,
    wait: timedelta | None,
) -> None:
    """Start a run of WORKFLOW: its name (with --module), or MODULE:NAME.

    INPUT has the arguments as a JSON object, by name, or as an array; @FILE and - (the standard input) are read.
    """
    from squidmesh.cli.code import workflow as named

    session.makes = True
    mesh = session.mesh
    call = _call(named(workflow), None if input_ is None else input_.value)
    run: Any = mesh.start(
        call, key=key, queue=queue, priority=priority, attributes=None if attributes is None else attributes.value,
        deadline=deadline, at=at,
    )  # fmt: skip
    _answer(session, run, None if wait is None else (run.result(wait),))


def _call(definition: Any, given: Any) -> Any:
    match given:
        case None:
            return definition()
        case dict():
            return definition(**given)
        case list():
            return definition(*given)
        case _:
            raise click.BadParameter("write the arguments as a JSON object or array.", param_hint="INPUT")


def _answer(session: Session, run: Any, result: tuple[Any] | None) -> None:
    from squidmesh.cli.blocks import Block, Say

    status = run.status()
    stored = run.inspect().result if result is not None else None

    def document() -> Any:
        from squidmesh.cli import documents

        return documents.Started(command="start", run_id=run.run_id, status=status, result=stored)

    def blocks() -> list[Block]:
        from squidmesh.cli.pages import words

        if result is None:
            return [Say(f"run {run.run_id} is {status}")]
        return [Say(f"run {run.run_id} is {status}: {words.value(stored, 10_000) or 'null'}")]

    session.answer(document, blocks)
