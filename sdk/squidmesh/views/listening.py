"""What a run waits for from outside, and what is said about it: the message, the people, the release that helps.

The rule of this file: found in the folded facts alone (outside.py), told in sentences, each with what to type next.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from shlex import quote

from squidmesh.core.gates import APPROVAL, Opened
from squidmesh.core.report import Action
from squidmesh.core.status import REASONS, Reason, RunStatus
from squidmesh.ports import RunRow
from squidmesh.views.finding import Finding
from squidmesh.views.folding import Folded
from squidmesh.views.outside import Wait
from squidmesh.views.telling import due, several, since, until

FROM_OUTSIDE = REASONS[RunStatus.PAUSED] | {Reason.WAITING_FOR_SIGNAL}


def find_outside(run: Folded) -> Iterator[Finding]:
    """What has to come from outside; nothing once the run is to end."""
    if run.cancel is not None or run.expired or run.end is not None:
        return
    if (held := run.outside.held) is not None:
        yield Finding(Reason.HELD, "person", held.actor, since=held.at)
    for gate in run.outside.open_gates():
        opened = gate.event
        reason = Reason.WAITING_FOR_APPROVAL if opened.gate == APPROVAL else Reason.WAITING_FOR_RESUME
        yield Finding(reason, "gate", opened.name, opened.position, since=opened.at, until=opened.due)
    for wait in run.outside.open_waits():
        awaited = wait.event
        yield Finding(
            Reason.WAITING_FOR_SIGNAL, "signal", awaited.name, awaited.position, since=awaited.at, until=awaited.due
        )


def summary(run: Folded, main: Finding, now: int) -> str:
    """What is waited for, in a few sentences."""
    match main.reason:
        case Reason.HELD:
            held = run.outside.held
            why = f": {held.note.rstrip('.')}" if held is not None and held.note else ""
            return f"The run is held by {main.name}{since(main.since)}{why}. Nothing new begins until it is released."
        case Reason.WAITING_FOR_SIGNAL:
            told = f"The run waits{since(main.since)} for signal {main.name!r} (position {main.position})."
            if main.until is not None:
                told += f" Without one it goes on {until(main.until, now)}."
            wait = run.outside.waits.get(main.position or "")
            return told + _refused(wait) + _kept(run)
        case _:
            gate = run.outside.gates.by_position.get(main.position or "")
            return _at_gate(gate, main) + due(main.since, main.until, now) + _refused(gate)


def blocker(run: Folded, finding: Finding) -> str:
    """Who is waited for, in a clause."""
    gate = run.outside.gates.by_position.get(finding.position or "")
    match finding.reason:
        case Reason.HELD:
            return f"{finding.name} holds the run"
        case Reason.WAITING_FOR_APPROVAL if gate is not None:
            more = gate.event.needed - gate.approvals
            return f"approval {finding.name!r} at position {finding.position} takes {more} more"
        case _:
            return f"nobody has resumed the pause {finding.name!r} at position {finding.position}"


def actions(row: RunRow, found: Sequence[Finding]) -> list[Action]:
    """What helps, for all that is found; what explains the run best comes first."""
    told: list[Action] = []
    for finding in found:
        told += [action for action in _actions(row, finding, found) if action not in told]
    return told


def _actions(row: RunRow, finding: Finding, found: Sequence[Finding]) -> Iterator[Action]:
    named = sum(other.name == finding.name and other.reason is finding.reason for other in found) == 1
    name = (finding.name if named else finding.position) or ""
    match finding.reason:
        case Reason.HELD:
            yield _action(row, "release", "", "", "lets it go on")
        case Reason.WAITING_FOR_SIGNAL:
            yield Action(
                python=f'mesh.handle("{row.run_id}").signal({finding.name!r}, …)',
                cli=f"squidmesh signal {row.run_id} {quote(finding.name)} --payload …",
                why="sends it what it waits for",
            )
        case Reason.WAITING_FOR_APPROVAL:
            yield _action(row, "approve", f"{name!r}, ", f" {quote(name)}", f"votes for {finding.name!r}")
            yield _action(
                row, "reject", f"{name!r}, ", f" {quote(name)}", f"votes against {finding.name!r}, decides it"
            )
        case Reason.WAITING_FOR_RESUME:
            cli = f" {quote(name)} --payload …"
            yield _action(row, "resume", f"…, gate={name!r}, ", cli, f"ends the pause {finding.name!r}")
        case _:
            pass


def _action(row: RunRow, command: str, given: str, cli: str, why: str) -> Action:
    return Action(
        python=f'mesh.handle("{row.run_id}").{command}({given}actor=…)',
        cli=f"squidmesh {command} {row.run_id}{cli} --actor …",
        why=why,
    )


def _at_gate(gate: Opened | None, main: Finding) -> str:
    if main.reason is Reason.WAITING_FOR_RESUME or gate is None:
        return f"The run is paused at {main.name!r} (position {main.position}){since(main.since)}, until it is resumed."
    who = list(gate.votes)
    so_far = f"{gate.approvals} of {gate.event.needed}{f' ({several(who)})' if who else ''}"
    return f"Approval {main.name!r} (position {main.position}) is open{since(main.since)}: {so_far} so far."


def _refused(waiting: Wait | Opened | None) -> str:
    if waiting is None or not waiting.refused:
        return ""
    last = waiting.refused[-1]
    return f" What {last.actor or 'came'} {'sent ' if last.actor else ''}did not fit: {' '.join(last.message.split())}."


def _kept(run: Folded) -> str:
    """Messages that came, and that nobody waits for: perhaps one of them was sent by a wrong name."""
    kept = [name for name, _ in run.outside.mail.untaken()]
    if not kept:
        return ""
    names = several([repr(name) for name in dict.fromkeys(kept)])
    count = "One message is" if len(kept) == 1 else f"{len(kept)} messages are"
    return f" {count} kept that it does not wait for: {names}."
