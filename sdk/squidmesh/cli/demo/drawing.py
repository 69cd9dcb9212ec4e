"""What the demo shows: the orders while they run, and at the end the runs, a history and what to type next.

The rule of this file: it draws what it is given, in any width, and reads nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from squidmesh.core.report import EntryReport, RollbackReport
from squidmesh.core.status import StepStatus
from squidmesh.events import (
    AttemptFailed,
    AttemptLost,
    AttemptStarted,
    CheckpointSaved,
    Event,
    RunCompleted,
    RunFailed,
    RunStarted,
    StepCompleted,
    StepFailed,
)
from squidmesh.views.run import RunView, StepView

STEPS = ("reserve", "charge", "pack", "ship")
COLOURS = {
    "completed": "green",
    "failed": "red",
    "running": "cyan",
    "waiting": "yellow",
    "undoing": "magenta",
    "blocked": "red",
}

WITH_RESULT = 72  # characters

NameOf = Callable[[str | None], str]
"""What the worker of an id is called here: a letter."""


# ------------------------------------------------------------------------------------------- while it runs


def board(runs: Mapping[str, RunView], workers: Sequence[tuple[str, int, bool]], name_of: NameOf) -> RenderableType:
    """The orders, one line each, and the worker processes: letter, process id, whether it is up."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("order", *STEPS, "run"):
        table.add_column(heading, no_wrap=True)
    dead = {name for name, _, up in workers if not up}
    for order, run in runs.items():
        steps = {step.name: step for step in run.steps}
        undone = {entry.position: entry.state for entry in entries(run.rollback)}
        cells = [_cell(steps.get(name), name_of, dead, undone) for name in STEPS]
        table.add_row(order, *cells, Text(run.status, COLOURS.get(run.status, "dim")))
    line = Text("workers  ", "dim")
    for name, pid, up in workers:
        line.append(f"{name} pid {pid} {'up' if up else 'killed'}   ", "green" if up else "bold red")
    return Group("", table, line)


def _cell(step: StepView | None, name_of: NameOf, dead: set[str], undone: Mapping[str, str]) -> Text:
    if step is None:
        return Text("·", "dim")
    if undone.get(step.position) == "undone":
        return Text("↶ undone", "magenta")
    attempt = step.attempts[-1] if step.attempts else None
    name = name_of(attempt.worker) if attempt is not None else ""
    again = f" ×{len(step.attempts)}" if len(step.attempts) > 1 else ""
    bar = _bar(step)
    match step.status:
        case StepStatus.COMPLETED:
            return Text(f"✓ {name}{again}", "green")
        case StepStatus.RUNNING if name in dead:
            return Text(f"{bar}✗ {name}", "bold red")
        case StepStatus.RUNNING:
            return Text(f"{bar or '… '}{name}{again}", "cyan")
        case StepStatus.RETRYING:
            return Text(f"{bar}↻{again}", "yellow")
        case StepStatus.FAILED:
            return Text(f"✗ {name}{again}", "bold red")
        case _:
            return Text("…", "dim")


def _bar(step: StepView) -> str:
    """How far a step is that says so, in as many marks as the order has items."""
    if step.name != "pack":
        return ""
    items, done = len(step.input.get("items", ())), len(step.progress or ())
    return "▰" * done + "▱" * (items - done) + " "


# ---------------------------------------------------------------------------------------------- at the end


def table_of_runs(runs: Sequence[RunView], name_of: NameOf, width: int) -> RenderableType:
    """One line a run: how it ended, how long it took, how often its steps were tried, and by which workers.

    Its result is shown where ``width`` (in characters) has room for it.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading, justify in (("key", "left"), ("status", "left"), ("steps", "right"), ("attempts", "right")):
        table.add_column(heading, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("took", justify="right", no_wrap=True)
    table.add_column("workers", no_wrap=True)
    if width >= WITH_RESULT:
        table.add_column("result")
    for run in runs:
        attempts = [attempt for step in run.steps for attempt in step.attempts]
        took = (run.ended_at - run.created_at).total_seconds() if run.ended_at else None
        cells = (
            run.key or "",
            Text(run.status, COLOURS.get(run.status, "")),
            str(len(run.steps)),
            Text(str(len(attempts)), "yellow" if len(attempts) > len(run.steps) else ""),
            "" if took is None else f"{took:.1f} s",
            ", ".join(dict.fromkeys(name_of(attempt.worker) for attempt in attempts)),
            Text(str(run.result or (run.failure and run.failure.message) or ""), "dim"),
        )
        table.add_row(*cells[: len(table.columns)])
    return Group("", Rule("Runs", align="left", style="dim"), table)


def table_of_rollback(run: RunView) -> RenderableType:
    """What became of each step of a run that failed, in the order in which it was undone."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading, justify in (("step", "left"), ("it is", "left"), ("calls", "right"), ("after", "right")):
        table.add_column(heading, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("what it had given")
    for entry in entries(run.rollback):
        after = "" if entry.at is None else f"{(entry.at - run.created_at).total_seconds():.2f} s"
        calls = Text(str(entry.attempts), "yellow" if entry.attempts > 1 else "")
        state = Text(entry.state, "magenta" if entry.state == "undone" else "red")
        table.add_row(entry.step, state, calls, after, Text(_short(entry.result), "dim"))
    heading = f"Rollback of {run.key}: {run.rollback.outcome if run.rollback else None}"
    return Group("", Rule(heading, align="left", style="dim"), table)


def entries(report: RollbackReport | None) -> Sequence[EntryReport]:
    """All entries of a report, in the order in which they were settled."""
    if report is None:
        return ()
    lists = (report.undone, report.irreversible, report.failed, report.unaccounted, report.skipped)
    settled = [entry for entries in lists for entry in entries]
    return [*sorted(settled, key=lambda entry: (entry.at is None, entry.at)), *report.pending]


def table_of_history(run: RunView, history: Sequence[Event], name_of: NameOf) -> RenderableType:
    """Every recorded event of a run, in order; what a crash left in it stands out."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("seq", justify="right", no_wrap=True)
    table.add_column("at", justify="right", no_wrap=True)
    for heading in ("event", "step"):
        table.add_column(heading, no_wrap=True)
    table.add_column("what")
    names = {step.position: step.name for step in run.steps}
    lost = False  # an attempt, and no other has begun yet
    for event in history:
        match event:
            case AttemptLost():
                lost, style = True, "bold red"
            case AttemptFailed() | StepFailed() | RunFailed():
                style = "yellow"
            case AttemptStarted() if lost:
                lost, style = False, "bold cyan"
            case _:
                style = ""
        table.add_row(
            str(event.seq),
            f"{(event.at - history[0].at) / 1e6:.2f} s",
            event.kind,
            names.get(getattr(event, "position", ""), ""),
            _what(event, name_of),
            style=style,
        )
    crashed = any(isinstance(event, AttemptLost) for event in history)
    heading = f"History of {run.key}" + (", which lost its worker" if crashed else "")
    return Group("", Rule(heading, align="left", style="dim"), Text(f"run {run.run_id}", "dim"), table)


def _what(event: Event, name_of: NameOf) -> str:
    match event:
        case RunStarted(workflow=workflow, version=version):
            return f"{workflow}, version {version}"
        case AttemptStarted(number=number, worker=worker) | AttemptLost(number=number, worker=worker):
            return f"attempt {number} on {name_of(worker)}"
        case CheckpointSaved(value=list() as packed):
            return _short(packed)
        case AttemptFailed(failure=failure) | StepFailed(failure=failure) | RunFailed(failure=failure):
            return _short(failure.message)
        case StepCompleted(result=result) | RunCompleted(result=result):
            return _short(result)
        case _:
            return ""


def _short(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def what_next(folder: Path, python: str, squidmesh: str, undone: str) -> Sequence[tuple[str, str]]:
    """What to do and the command for it, in the order in which to type them. ``undone`` is the key of an order."""
    return (
        ("Go where all of this happened", f"cd {folder}"),
        ("Read the workflow", "cat orders.py"),
        ("Start one more order, and kill it in the middle", f"{python} orders.py & sleep 3; kill -9 $!"),
        ("Let a worker go on with it (Ctrl-C ends the worker)", f"{squidmesh} worker orders"),
        ("See the runs", f"{squidmesh} runs"),
        (f"See what became of {undone}", f"{squidmesh} show --key {undone}"),
    )
