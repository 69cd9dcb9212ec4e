"""How waits and endings are called in a trace: one table for what begins, one for what it comes to.

The rule of this file: names and words only, none of them a payload.
"""

from __future__ import annotations

from typing import Any

from squidmesh.core import events as ev
from squidmesh.core.events import Event

BEGUN: tuple[type[Event], ...] = (ev.TimerSet, ev.SignalAwaited, ev.GateOpened, ev.ChildStarted, ev.StepDeferred)
"""What begins a wait."""

ENDED: tuple[type[Event], ...] = (
    ev.TimerFired, ev.TimerCancelled, ev.SignalTaken, ev.GateDecided, ev.GateExpired, ev.ChildEnded,
)  # fmt: skip
"""What ends one, at the same position."""

ENDINGS: dict[type[Event], str] = {
    ev.RunCompleted: "completed",
    ev.RunFailed: "failed",
    ev.RunCancelled: "cancelled",
    ev.RunTerminated: "terminated",
    ev.RunContinued: "continued",
}
"""What a run ends with, and the status that it has then."""

OUTCOMES: dict[type[Event], str] = {
    ev.StepFailed: "failed",
    ev.StepCancelled: "cancelled",
    ev.StepSkipped: "skipped",
}
"""What a step ends with other than its result."""


def begun(event: Any) -> tuple[str, dict[str, Any]]:
    """The name of the span, and what it says beside where it is."""
    match event:
        case ev.SignalAwaited(name=name):
            return f"WaitForSignal:{name}", {"squidmesh.signal": name}
        case ev.GateOpened(gate=gate, name=name):
            return f"WaitFor{'Approval' if gate == 'approval' else 'Resume'}:{name}", {"squidmesh.gate": name}
        case ev.ChildStarted(workflow=workflow, run_id=child):
            return f"RunChild:{workflow}", {"squidmesh.child": child}
        case ev.StepDeferred(workflow=workflow, run_id=child):
            return f"Defer:{workflow}", {"squidmesh.child": child}
        case _:
            return "Sleep", {}


def ended(name: str, event: Any) -> str:
    """What a wait came to, as its span says it."""
    match event:
        case ev.GateDecided(approved=approved) if name.startswith("WaitForApproval"):
            return "approved" if approved else "rejected"
        case ev.GateDecided():
            return "resumed"
        case ev.GateExpired():
            return "expired"
        case ev.ChildEnded(outcome=outcome):
            return outcome
        case ev.TimerFired() if name != "Sleep":
            return "timed_out"
        case ev.TimerCancelled():
            return "cancelled"
        case _:
            return "completed"
