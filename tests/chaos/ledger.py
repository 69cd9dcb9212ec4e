"""What the database holds at the end, read with plain SQL, and histories decoded from their stored form.

A history row is a JSON array of events ``[kind, time, *fields]``: fields in the order of the table below, those at the
end left out where they are at their defaults. The number of a row is that of its first event.

The rule of this file: nothing of the engine is imported. What it stores is read as anybody could who has its tables.
"""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import psycopg

FIELDS = {
    "RunStarted": (
        "workflow version input interpreter_version key queue priority attributes parent start_at deadline rerun_of "
        "actor note tick parent_position parent_queue depth continues carried"
    ),
    "RunBlocked": "reason message file line function position code",
    "RunFailed": "failure",
    "RunCompleted": "result",
    "RunContinued": "run_id workflow version input queue",
    "StepScheduled": "position step input options elsewhere traits undo call",
    "AttemptStarted": "position number worker",
    "AttemptFailed": "position number failure retry_at effect",
    "AttemptLost": "position number worker final",
    "StepCompleted": "position result",
    "StepFailed": "position failure effect",
    "StepCancelled": "position",
    "StepInDoubt": "position failure effect",
    "StepResolved": "position outcome actor note result key",
    "CompensateStarted": "position cycle worker",
    "UndoRegistered": "position number function input",
    "TransactionCommitted": "position result",
    "RollbackStarted": "cause number scope position failure actor note on_irreversible on_undo_failure key asked_by",
    "RollbackPlanned": "number entries",
    "UndoStarted": "entry number worker",
    "UndoFailed": "entry number failure retry_at reason",
    "UndoCompleted": "entry number result note",
    "EntrySettled": "entry state reason actor note key",
    "RollbackEnded": "number outcome revision",
    "SignalReceived": "name payload key",
    "SignalTaken": "position name number",
    "VoteCast": "position actor approved note key",
    "GateDecided": "position approved payload actor note key",
    "RunHeld": "actor note key",
    "RunReleased": "actor note key",
    "RunTerminated": "actor note key",
    "CancelRequested": "actor note key undo force",
    "ChildStarted": "position run_id workflow input options joined version queue",
    "ChildEnded": "position run_id outcome result failure rollback effects",
    "StepDeferred": "position run_id workflow input version queue",
}


class Event(dict[str, Any]):
    """One event: ``kind``, ``seq``, and its fields by name; a field that was left out is None."""

    __slots__ = ()

    def __missing__(self, name: str) -> None:
        return None


@dataclass(slots=True)
class Run:
    """One row of the runs, with its history. ``gaps``: what is wrong with the numbers of its rows."""

    id: str
    workflow: str
    key: str | None
    status: str
    reason: str | None
    parent: str | None
    ended: bool
    worker: str | None
    length: int
    chain: str | None
    history: list[Event] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)

    def of(self, *kinds: str) -> list[Event]:
        return [event for event in self.history if event["kind"] in kinds]


@dataclass(slots=True)
class Ledger:
    """All of it. ``left``: rows of tasks, joins and inbox, by run; ``bank``: amounts by run and key."""

    runs: dict[str, Run]
    left: dict[str, list[str]]
    bank: dict[tuple[str, str], list[int]]

    @classmethod
    def read(cls, connection: psycopg.Connection[Any]) -> "Ledger":
        runs = {
            row[0]: Run(*row)
            for row in connection.execute(
                "SELECT id::text, workflow, key, status, reason, parent::text, ended_at IS NOT NULL, worker, length, "
                "chain::text FROM squidmesh_runs ORDER BY id"
            )
        }
        rows = connection.execute(
            "SELECT run_id::text, seq, epoch, events::text FROM squidmesh_history ORDER BY run_id, seq"
        )
        epochs: dict[str, int] = {}
        for run_id, seq, epoch, events in rows:
            append(runs[run_id], seq, json.loads(events))
            if epoch < epochs.get(run_id, 0):
                runs[run_id].gaps.append(f"row {seq} was written by holder {epoch}, after holder {epochs[run_id]}")
            epochs[run_id] = epoch
        left = defaultdict(list)
        for run_id, told in connection.execute(
            "SELECT run_id::text, 'task ' || position || ' ' || coalesce(worker, 'free') FROM squidmesh_tasks "
            "UNION ALL SELECT run_id::text, 'join ' || position FROM squidmesh_joins "
            "UNION ALL SELECT run_id::text, 'inbox ' || kind FROM squidmesh_inbox"
        ):
            left[run_id].append(told)
        bank = defaultdict(list)
        for run_id, key, cents in connection.execute("SELECT run, key, cents FROM chaos_bank"):
            bank[run_id, key].append(cents)
        return cls(runs, dict(left), dict(bank))

    def newest(self, run: Run) -> Run:
        """The last run of a chain."""
        while (end := run.of("RunContinued")) and end[-1]["run_id"] in self.runs:
            run = self.runs[end[-1]["run_id"]]
        return run


def append(run: Run, seq: int, rows: list[list[Any]]) -> None:
    """Put a stored row, with this number, behind what is known of the run."""
    if seq != len(run.history) + 1:
        run.gaps.append(f"row {seq} follows event {len(run.history)}")
    for n, (kind, _, *values) in enumerate(rows):
        names = FIELDS.get(kind, "position").split()
        run.history.append(Event(zip(names, values, strict=False), kind=kind, seq=seq + n))
