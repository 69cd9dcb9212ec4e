"""``squidmesh signal``: send a run a message."""

from __future__ import annotations

from typing import Any

import click

from squidmesh.cli.session import OfRun, Session, of_run, steering
from squidmesh.cli.values import JSON, Given


@click.command(cls=OfRun)
@steering
@of_run
@click.argument("name", metavar="SIGNAL")
@click.option("--payload", type=JSON, help="What the message says; true by default. @FILE and - (stdin) are read.")
@click.option("--command-key", metavar="KEY", help="Sent again with the same one, the message is delivered once.")
def signal(session: Session, run: Any, *, name: str, payload: Given | None, command_key: str | None) -> None:
    """Send a run a message; it is kept until the workflow waits for one of that name.

    What does not fit the type that the workflow wants is put on record when its turn comes, and the wait goes on.
    """
    from squidmesh.cli.steered import answer

    run.signal(name, True if payload is None else payload.value, key=command_key)
    answer(session, "signal", run, f"sent {name}")
