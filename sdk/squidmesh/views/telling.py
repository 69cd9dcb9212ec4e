"""How times, durations and steps are told in sentences.

The rule of this file: times are told in UTC, to the second; phrases only, which others put together.
"""

from __future__ import annotations

from squidmesh.core.deadlines import DeadlineState, deadline_state
from squidmesh.core.deterministic import instant
from squidmesh.views.finding import Finding


def step(finding: Finding) -> str:
    """The step of a finding; empty where it is about none."""
    return f"{finding.what} {finding.step!r} (position {finding.position})" if finding.step else ""


def sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def since(moment: int | None) -> str:
    return f" since {at(moment)}" if moment is not None else ""


def until(moment: int | None, now: int) -> str:
    if moment is None:
        return "soon"
    return f"at {at(moment)} (in {span(moment - now)})" if moment > now else f"now, as was due at {at(moment)}"


def due(began: int | None, moment: int | None, now: int) -> str:
    """How people stand to a deadline. Nothing where there is none."""
    if moment is None:
        return ""
    match deadline_state(began, moment, now):
        case DeadlineState.OVERDUE:
            return f" It is overdue: it was due at {at(moment)}."
        case DeadlineState.DUE_SOON:
            return f" It is due soon: due at {at(moment)} (in {span(moment - now)})."
        case DeadlineState.ON_TIME:
            return f" It is on time: due at {at(moment)} (in {span(moment - now)})."


def at(moment: int) -> str:
    return f"{instant(moment):%Y-%m-%d %H:%M:%S} UTC"


def span(micros: int) -> str:
    """A duration to a glance: its largest unit, or two."""
    seconds = max(micros, 0) / 1_000_000
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            count = f"{seconds / size:.1f}".removesuffix(".0")
            return f"{count} {'day' if (count, unit) == ('1', 'days') else unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def several(things: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``; beyond a handful only their number goes on."""
    if len(things) > 5:
        things = [*things[:4], f"{len(things) - 4} more"]
    return things[0] if len(things) == 1 else f"{', '.join(things[:-1])} and {things[-1]}"
