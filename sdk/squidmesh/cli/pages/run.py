"""One run as people look at it: where it stands, its steps, who was asked, what was undone."""

from __future__ import annotations

from squidmesh.cli.blocks import Block, Cell, Column, Facts, Heading, Styled, Table
from squidmesh.cli.pages import words
from squidmesh.cli.pages.rollback import rollback
from squidmesh.views.run import RunView, StepView


def run(view: RunView) -> list[Block]:
    """The whole page."""
    blocks: list[Block] = [_facts(view)]
    if view.steps:
        blocks += [Heading("Steps"), steps(view)]
    if view.waits:
        blocks += [Heading("Signals"), _waits(view)]
    if view.gates:
        blocks += [Heading("Gates"), _gates(view)]
    if view.children:
        blocks += [Heading("Children"), _children(view)]
    for report in view.rollbacks:
        blocks += rollback(report)
    return blocks


def title(view: RunView) -> str:
    key = f"  key {view.key}" if view.key is not None else ""
    return f"{view.workflow} version {view.version}{key}"


def standing(view: RunView) -> Cell:
    """Its status, and the reason where that says more."""
    more = f" ({view.reason})" if view.reason and view.reason != view.status else ""
    return Styled(f"{view.status}{more}", words.STATUSES.get(view.status, ""))


def _facts(view: RunView) -> Facts:
    ended = words.took(view.created_at, view.ended_at)
    return Facts([
        ("run", view.run_id),
        ("workflow", title(view)),
        ("status", standing(view)),
        ("failure", Styled(words.failure(view.failure), "bad") if view.failure is not None else None),
        ("result", words.value(view.result) or None),
        ("input", words.value(view.input) if view.input else None),
        ("attributes", words.value(view.attributes) if view.attributes else None),
        ("parent", view.parent),
        ("rerun of", view.rerun_of),
        ("continued as", view.continued_as),
        ("held", _held(view)),
        ("queue", f"{view.queue}, priority {view.priority}" if (view.queue, view.priority) != ("default", 0) else None),
        ("created", f"{words.at(view.created_at)}, {words.ago(view.created_at)}"),
        ("ended", f"{words.at(view.ended_at)}, after {ended}" if view.ended_at is not None else None),
        ("deadline", words.at(view.deadline)),
    ])  # fmt: skip


def _held(view: RunView) -> str | None:
    held = view.held
    if held is None:
        return None
    return f"by {held.actor} since {words.at(held.since)}{f': {held.note}' if held.note else ''}"


def steps(view: RunView) -> Table:
    """Its steps, one line each."""
    columns = [
        Column("pos"), Column("step"), Column("status"), Column("tries", right=True), Column("took", right=True),
        Column("worker", wide=100), Column("came out", fold=True),
    ]  # fmt: skip
    return Table(columns, [_step(step, _undone(view)) for step in view.steps])


def _step(step: StepView, undone: dict[str, str]) -> list[Cell]:
    first, last = (step.attempts[0], step.attempts[-1]) if step.attempts else (None, None)
    tries = len(step.attempts)
    state = words.status(step.status)
    if (then := undone.get(step.position)) is not None:
        state = Styled(f"{state.text}, {then}", words.STATUSES.get(then, ""))
    return [
        step.position,
        step.name,
        state,
        Styled(str(tries) if tries else "", "warn" if tries > 1 else ""),
        words.took(first.started_at, last.ended_at) if first is not None and last is not None else "",
        (last.worker or "") if last is not None else "",
        _came_out(step),
    ]


def _came_out(step: StepView) -> Cell:
    if step.failure is not None:
        return Styled(words.failure(step.failure), "bad")
    if step.result is not None:
        return Styled(words.value(step.result), "quiet")
    failed = next((attempt.failure for attempt in reversed(step.attempts) if attempt.failure is not None), None)
    if failed is not None and step.status != "completed":
        return Styled(words.failure(failed), "warn")
    return Styled(f"progress {words.value(step.progress)}" if step.progress is not None else "", "quiet")


def _undone(view: RunView) -> dict[str, str]:
    """What became of steps in rollbacks, by position."""
    lists = ("undone", "irreversible", "failed", "unaccounted")
    return {
        entry.position: "undo failed" if state == "failed" else state
        for report in view.rollbacks
        for state in lists
        for entry in getattr(report, state)
        if entry.kind == "step"
    }


def _waits(view: RunView) -> Table:
    columns = [
        Column("pos"),
        Column("signal"),
        Column("status"),
        Column("since"),
        Column("until"),
        Column("got", fold=True),
    ]
    rows: list[list[Cell]] = [
        [
            wait.position, wait.name, words.status(wait.status), words.at(wait.since) or "", words.at(wait.until) or "",
            "; ".join([words.value(wait.payload), *wait.rejected]).strip("; "),
        ]
        for wait in view.waits
    ]  # fmt: skip
    return Table(columns, rows)


def _gates(view: RunView) -> Table:
    columns = [
        Column("pos"), Column("gate"), Column("kind"), Column("status"), Column("since"), Column("until"),
        Column("said", fold=True),
    ]  # fmt: skip
    rows: list[list[Cell]] = []
    for gate in view.gates:
        votes = [
            f"{vote.actor} {'approved' if vote.approved else 'rejected'}{f': {vote.note}' if vote.note else ''}"
            for vote in gate.votes
        ]
        if not votes and gate.actor:
            votes = [f"{gate.actor}{f': {gate.note}' if gate.note else ''} {words.value(gate.payload)}".strip()]
        more = f"{len([v for v in gate.votes if v.approved])} of {gate.needed}" if gate.kind == "approval" else ""
        said = "; ".join([*([more] if more else []), *votes, *gate.rejected])
        rows.append([
            gate.position, gate.name, gate.kind, words.status(gate.status), words.at(gate.since) or "",
            words.at(gate.until) or "", said,
        ])  # fmt: skip
    return Table(columns, rows)


def _children(view: RunView) -> Table:
    columns = [
        Column("pos"), Column("workflow"), Column("status"), Column("run"), Column("took", right=True, wide=100),
        Column("came out", fold=True),
    ]  # fmt: skip
    return Table(columns, [
        [
            child.position,
            child.workflow,
            words.status(child.status),
            child.run_id,
            words.took(child.started_at, child.ended_at),
            Styled(words.failure(child.failure) or words.value(child.result), "quiet"),
        ]
        for child in view.children
    ])  # fmt: skip
