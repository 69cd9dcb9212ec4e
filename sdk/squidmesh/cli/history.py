"""``squidmesh history``: every recorded event of a run, in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from squidmesh.cli.session import OfRun, Session, of_run, reading

if TYPE_CHECKING:
    from squidmesh.core.events import Event


@click.command(cls=OfRun)
@click.option("--kind", "kinds", metavar="KIND", multiple=True, help="Only events of this kind, such as StepFailed.")
@click.option("--last", metavar="N", type=click.IntRange(1), help="Only the newest N of them.")
@reading
@of_run
def history(session: Session, run: Any, *, kinds: Sequence[str], last: int | None) -> None:
    """List every recorded event of a run, in order."""
    events: list[Event] = run.history()
    names = {step: name for event in events
             if (name := getattr(event, "step", None)) and (step := getattr(event, "position", None))}  # fmt: skip
    if kinds:
        _known(kinds)
        events = [event for event in events if event.kind in kinds]
    events = events[-last:] if last is not None else events

    def blocks() -> Any:
        from squidmesh.cli.pages.events import events as table

        return [table(events, names)]

    session.answer(lambda: _document(run.run_id, events), blocks)


def _known(kinds: Sequence[str]) -> None:
    from squidmesh.cli.suggesting import meant
    from squidmesh.core.events import BY_KIND

    for kind in kinds:
        if kind not in BY_KIND:
            raise click.BadParameter(f"there are no events of kind {kind!r}{meant(kind, BY_KIND)}", param_hint="--kind")


def _document(run_id: str, events: Sequence[Event]) -> Any:
    from squidmesh.cli import documents
    from squidmesh.views.journal import event_json

    return documents.History(run_id=run_id, events=[event_json(event) for event in events])
