"""What people say at a gate: approve, reject, resume.

The rule of this file: each names its gate and who acts, and is one event. Whoever comes too late is told how it came
out; what is decided, and when, is the holder's to say.
"""

from __future__ import annotations

from typing import Any

from squidmesh.core import events as ev
from squidmesh.core.gates import APPROVAL, PAUSE
from squidmesh.engine.engine import Engine
from squidmesh.engine.known import Known
from squidmesh.engine.post import Asked, person, post
from squidmesh.engine.sending import sized, storable


def vote(
    engine: Engine, run_id: str, gate: object, approved: bool, actor: str, note: str | None, key: str | None
) -> str:
    """Approve, or reject. Of one actor the first vote counts, and a second one records nothing."""
    command = "approve" if approved else "reject"
    by, why = person(command, actor, note, noted=False)

    def judge(known: Known) -> Asked | None:
        at = known.gate(command, APPROVAL, gate, engine.clock.now())
        if by in at.votes:
            return None
        return Asked(ev.VoteCast(position=at.event.position, actor=by, approved=approved, note=why or None, key=key))

    return post(engine, run_id, command, key, judge).row.status


def resume(
    engine: Engine, run_id: str, payload: Any, gate: object, actor: str, note: str | None, key: str | None
) -> str:
    """Let a paused run go on, with a payload; whether that fits is found when the run has it."""
    by, why = person("resume", actor, note, noted=False)
    told = "the payload of resume"
    stored = sized(engine, told, storable(told, payload))

    def judge(known: Known) -> Asked:
        at = known.gate("resume", PAUSE, gate, engine.clock.now())
        return Asked(ev.GateDecided(position=at.event.position, payload=stored, actor=by, note=why or None, key=key))

    return post(engine, run_id, "resume", key, judge).row.status
