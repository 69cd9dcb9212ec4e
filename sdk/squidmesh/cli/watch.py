"""``squidmesh watch``: a run while it goes, until it ends.

On a terminal the run's page is drawn again whenever something has happened; elsewhere each new event is a line.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

import click

from squidmesh.cli.refusal import REFUSED
from squidmesh.cli.session import OfRun, Session, of_run, reading
from squidmesh.cli.values import DURATION

if TYPE_CHECKING:
    from squidmesh.core.events import Event
    from squidmesh.views.run import RunView

GOOD = frozenset({"completed", "continued"})


class Drawing(Protocol):
    """Shows what is new of a run."""

    def __call__(self, run: Any, history: list[Event], view: RunView) -> None: ...


@click.command(cls=OfRun)
@reading
@of_run
@click.option("--every", type=DURATION, default="0.5", show_default="0.5 s", help="How often to look.")
@click.option("--timeout", type=DURATION, help="How long to watch; then the exit code is 1.")
def watch(session: Session, run: Any, *, every: timedelta, timeout: timedelta | None) -> None:
    """Watch a run until it ends. The exit code is 0 when it has completed, else 1."""
    from squidmesh.cli.screen import on_terminal

    pause = max(0.05, every.total_seconds())
    until = None if timeout is None else time.monotonic() + timeout.total_seconds()
    opened = _nothing() if session.json else _live() if on_terminal() else _lines()
    with opened as draw:
        view = _follow(run, draw, pause, until)
    if session.json:
        from squidmesh.cli import documents

        click.echo(documents.Run(run=view).model_dump_json(indent=2))
    if view.ended_at is None:
        raise _out_of_time(run)
    if view.status not in GOOD:
        raise click.exceptions.Exit(REFUSED)


def _follow(run: Any, draw: Drawing, pause: float, until: float | None) -> RunView:
    """Look until the run has ended or the time is over; what it was then."""
    length = -1
    while True:
        history = run.history()
        view: RunView = run.inspect()
        if len(history) != length or view.ended_at is not None:
            draw(run, history, view)
            length = len(history)
        if view.ended_at is not None or (until is not None and time.monotonic() >= until):
            return view
        time.sleep(pause if until is None else max(0.0, min(pause, until - time.monotonic())))


def _out_of_time(run: Any) -> click.ClickException:
    from squidmesh.cli.refusal import Refusal

    return Refusal(f"run {run.run_id} has not ended: {run.explain().summary}")


@contextmanager
def _nothing() -> Iterator[Drawing]:
    yield lambda run, history, view: None


@contextmanager
def _lines() -> Iterator[Drawing]:
    from squidmesh.cli.pages.events import rows
    from squidmesh.cli.screen import plain

    shown = 0
    names: dict[str, str] = {}

    def draw(run: Any, history: list[Event], view: RunView) -> None:
        nonlocal shown
        for row in rows(history[shown:], names):
            click.echo("  ".join(filter(None, map(plain, row))))
        shown = len(history)
        if view.ended_at is not None:
            click.echo(f"run {view.run_id} is {view.status}")

    yield draw


def _live() -> AbstractContextManager[Drawing]:
    from squidmesh.cli.live import live

    return live()
