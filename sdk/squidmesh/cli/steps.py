"""``squidmesh retry-step``, ``skip-step`` and ``resolve-step``: what a person decides about a step.

STEP is its name where that is unambiguous, else its position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from squidmesh.cli.session import OfRun, Session, by_person, of_run, with_code
from squidmesh.cli.values import JSON, Given

_step = click.argument("step", metavar="STEP")


@click.command("retry-step", cls=OfRun)
@with_code
@of_run
@_step
@by_person(note=True)
def retry_step(session: Session, run: Any, *, step: str, actor: str, note: str, command_key: str | None) -> None:
    """Try a step again whose failure has blocked its run past the pivot."""
    from squidmesh.cli.steered import answer

    run.retry_step(step, actor=actor, note=note, key=command_key)
    answer(session, "retry-step", run, f"{step} is tried again")


@click.command("skip-step", cls=OfRun)
@with_code
@of_run
@_step
@click.option("--value", type=JSON, required=True, help="What stands for the step's result.")
@by_person(note=True)
def skip_step(
    session: Session, run: Any, *, step: str, value: Given, actor: str, note: str, command_key: str | None
) -> None:
    """Go on with a value in place of a step's result, whose failure has blocked its run past the pivot.

    With --module the value is checked against the type of the step's result.
    """
    from squidmesh.cli.steered import answer

    run.skip_step(step, value.value, actor=actor, note=note, key=command_key)
    answer(session, "skip-step", run, f"{step} is skipped")


@click.command("resolve-step", cls=OfRun)
@with_code
@of_run
@_step
@click.option("--applied", type=JSON, help="Its effect happened: the step's result is this.")
@click.option("--not-applied", is_flag=True, help="Its effect did not happen: the step has failed, cleanly.")
@by_person(note=True)
def resolve_step(
    session: Session,
    run: Any,
    *,
    step: str,
    applied: Given | None,
    not_applied: bool,
    actor: str,
    note: str,
    command_key: str | None,
) -> None:
    """Say of a step in doubt whether its effect happened: --applied RESULT or --not-applied.

    With --module the result is checked against the type of the step's result.
    """
    from squidmesh.cli.steered import answer
    from squidmesh.core.effects import Applied, NotApplied

    if (applied is not None) is not_applied:
        verdict = _rest((applied is not None, not_applied))
        raise click.UsageError(verdict)
    said = NotApplied() if applied is None else Applied(applied.value)
    run.resolve_step(step, said, actor=actor, note=note, key=command_key)
    answer(session, "resolve-step", run, f"{step} is resolved as {'applied' if applied is not None else 'not applied'}")


def _rest(given: Sequence[bool]) -> str:
    both = "not both" if all(given) else "one of them"
    return f"Say --applied RESULT (its effect happened) or --not-applied (it did not), {both}."
