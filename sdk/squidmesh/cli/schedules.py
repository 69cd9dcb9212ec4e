"""``squidmesh schedules``: the rules that start runs; look at them, pause, resume, trigger, backfill, delete."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import click

from squidmesh.cli.session import Session, reading, steering
from squidmesh.cli.values import PAST

F = TypeVar("F", bound=Callable[..., Any])

UPCOMING = 5


class _Steering(click.Group):
    """Its commands; tells one that was mistyped what may have been meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing and not args[0].startswith("-"):
            from squidmesh.cli.suggesting import meant

            ctx.fail(f"There is no command {args[0]!r}{meant(args[0], self.commands) or '.'}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Steering, invoke_without_command=True)
@reading
def schedules(session: Session) -> None:
    """List schedules; look at one, and steer it."""
    if click.get_current_context().invoked_subcommand is None:
        _list(session)


@schedules.command("list")
@reading
def list_(session: Session) -> None:
    """List all schedules, by name."""
    _list(session)


def _list(session: Session) -> None:
    views = [schedule.inspect() for schedule in session.mesh.schedules()]

    def document() -> Any:
        from squidmesh.cli import documents

        return documents.Schedules(schedules=views)

    def blocks() -> Any:
        from squidmesh.cli.blocks import Say
        from squidmesh.cli.pages.schedules import table

        return [table(views)] if views else [Say("No schedules.", "quiet")]

    session.answer(document, blocks)


@schedules.command()
@click.argument("name")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10_000), help="Ticks to show.")
@reading
def show(session: Session, *, name: str, limit: int) -> None:
    """Show a schedule: its rule, what became of its last ticks, and the next ones."""
    schedule = _named(session, name)
    view, ticks, upcoming = schedule.inspect(), schedule.ticks(limit), schedule.next(UPCOMING)

    def document() -> Any:
        from squidmesh.cli import documents

        return documents.Schedule(name=name, command="show", schedule=view, ticks=ticks, upcoming=upcoming)

    def blocks() -> Any:
        from squidmesh.cli.pages.schedules import schedule as page

        return page(view, ticks, upcoming)

    session.answer(document, blocks)


def _by(command: F) -> F:
    for option in (
        click.option("--note", metavar="WHY", help="Why."),
        click.option("--actor", metavar="WHO", help="Who does this."),
    ):
        command = option(command)
    return command


@schedules.command()
@click.argument("name")
@_by
@steering
def pause(session: Session, *, name: str, actor: str | None, note: str | None) -> None:
    """Fire no more ticks until it is resumed; runs that were started go on."""
    schedule = _named(session, name)
    schedule.pause(actor=actor, note=note)
    _answer(session, "pause", schedule, "paused")


@schedules.command()
@click.argument("name")
@_by
@steering
def resume(session: Session, *, name: str, actor: str | None, note: str | None) -> None:
    """Fire its ticks again from now on; those of the pause are not caught up."""
    schedule = _named(session, name)
    schedule.resume(actor=actor, note=note)
    _answer(session, "resume", schedule, "resumed")


@schedules.command()
@click.argument("name")
@_by
@steering
def trigger(session: Session, *, name: str, actor: str | None, note: str | None) -> None:
    """Start a run of it now, besides its ticks."""
    schedule = _named(session, name)
    run = schedule.trigger(actor=actor, note=note)
    _answer(session, "trigger", schedule, "triggered", [run.run_id])


@schedules.command()
@click.argument("name")
@click.argument("start", type=PAST)
@click.argument("end", type=PAST)
@_by
@steering
def backfill(
    session: Session, *, name: str, start: datetime, end: datetime, actor: str | None, note: str | None
) -> None:
    """Run the ticks from START to END, both included; one that has a run already is not run again."""
    schedule = _named(session, name)
    runs = schedule.backfill(start, end, actor=actor, note=note)
    _answer(session, "backfill", schedule, "backfilled", [run.run_id for run in runs])


@schedules.command()
@click.argument("name")
@_by
@steering
def delete(session: Session, *, name: str, actor: str | None, note: str | None) -> None:
    """Take it away; its runs go on, and its ticks stay on record."""
    schedule = _named(session, name)
    view = schedule.inspect()
    schedule.delete(actor=actor, note=note)
    _answer(session, "delete", schedule, "deleted", view=None)
    if view.trigger is not None and not session.json:
        click.echo("It is a trigger in the code, and comes back with the next worker: pause it instead.", err=True)


def _named(session: Session, name: str) -> Any:
    from squidmesh.cli.refusal import not_found
    from squidmesh.cli.suggesting import meant

    known = {schedule.name: schedule for schedule in session.mesh.schedules()}
    if name not in known:
        there = meant(name, known) or ": squidmesh schedules lists those there are"
        raise not_found(f"no schedule {name!r}{there}")
    return known[name]


_READ: Any = object()


def _answer(
    session: Session, command: str, schedule: Any, done: str, run_ids: Sequence[str] = (), view: Any = _READ
) -> None:
    if view is _READ:
        view = schedule.inspect()

    def document() -> Any:
        from squidmesh.cli import documents

        return documents.Schedule(name=schedule.name, command=command, schedule=view, run_ids=list(run_ids))

    def blocks() -> Any:
        from squidmesh.cli.blocks import Say
        from squidmesh.cli.pages import words

        ahead = f", next at {words.at(view.next_at)}" if view is not None and view.next_at is not None else ""
        count = f", {len(run_ids)} runs" if command == "backfill" else ""
        return [Say(f"{done}: schedule {schedule.name}{count}{ahead}"), *(Say(f"run {one}") for one in run_ids)]

    session.answer(document, blocks)
