"""``squidmesh approve``, ``reject`` and ``resume``: what people say at a gate."""

from __future__ import annotations

from typing import Any

import click

from squidmesh.cli.session import OfRun, Session, by_person, of_run, steering
from squidmesh.cli.values import JSON, Given

_gate = click.argument("gate", metavar="[GATE]", required=False)


@click.command(cls=OfRun)
@steering
@of_run
@_gate
@by_person(note=False)
def approve(
    session: Session, run: Any, *, gate: str | None, actor: str, note: str | None, command_key: str | None
) -> None:
    """Vote for an approval; GATE is its name or position, and may be left out when one is open."""
    from squidmesh.cli.steered import answer

    run.approve(gate, actor=actor, note=note, key=command_key)
    answer(session, "approve", run, f"approved by {actor}")


@click.command(cls=OfRun)
@steering
@of_run
@_gate
@by_person(note=False)
def reject(
    session: Session, run: Any, *, gate: str | None, actor: str, note: str | None, command_key: str | None
) -> None:
    """Vote against an approval, which decides it."""
    from squidmesh.cli.steered import answer

    run.reject(gate, actor=actor, note=note, key=command_key)
    answer(session, "reject", run, f"rejected by {actor}")


@click.command(cls=OfRun)
@steering
@of_run
@_gate
@click.option("--payload", type=JSON, help="What the pause gives the workflow; null by default.")
@by_person(note=False)
def resume(
    session: Session,
    run: Any,
    *,
    gate: str | None,
    payload: Given | None,
    actor: str,
    note: str | None,
    command_key: str | None,
) -> None:
    """Let a run go on that has come to a pause."""
    from squidmesh.cli.steered import answer

    run.resume(None if payload is None else payload.value, gate=gate, actor=actor, note=note, key=command_key)
    answer(session, "resume", run, f"resumed by {actor}")
