"""``squidmesh hold`` and ``release``: an operator's pause."""

from __future__ import annotations

from typing import Any

import click

from squidmesh.cli.session import OfRun, Session, by_person, of_run, steering


@click.command(cls=OfRun)
@steering
@of_run
@by_person(note=False)
def hold(session: Session, run: Any, *, actor: str, note: str | None, command_key: str | None) -> None:
    """Have nothing new begin until the run is released; what is in flight is recorded."""
    from squidmesh.cli.steered import answer

    run.hold(actor=actor, note=note, key=command_key)
    answer(session, "hold", run, f"held by {actor}")


@click.command(cls=OfRun)
@steering
@of_run
@by_person(note=False)
def release(session: Session, run: Any, *, actor: str, note: str | None, command_key: str | None) -> None:
    """Let a held run go on; or try one again that is blocked by code or a value."""
    from squidmesh.cli.steered import answer

    run.release(actor=actor, note=note, key=command_key)
    answer(session, "release", run, f"released by {actor}")
