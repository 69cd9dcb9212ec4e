"""What the engine needs from outside: a store, a doorbell and a clock.

The rule of this package: values and protocols only. The engine knows these and no SQL, the store knows rows and no
workflow rules, and neither knows a broker. Times are integer microseconds since the epoch (UTC).
"""

from __future__ import annotations

from squidmesh.ports.bells import Bell, BellKind, Clock, Doorbell
from squidmesh.ports.health import Health, TableSize, Waiting
from squidmesh.ports.pruning import Member, Prunable, Record, Tree
from squidmesh.ports.rows import (
    Append,
    Appended,
    Capability,
    Claimed,
    Due,
    DueSchedule,
    HistoryRow,
    InboxRow,
    Join,
    KeyTaken,
    Letter,
    LostTasks,
    NewRun,
    NewTask,
    Outcome,
    ReceiverGone,
    Reported,
    RunChange,
    RunFilter,
    RunRow,
    ScheduleChange,
    ScheduleRow,
    TaskRow,
    TickRow,
    WorkerRow,
)
from squidmesh.ports.store import Store, Transaction
from squidmesh.ports.tracing import NO_TRACING, Traced, Tracing

__all__ = [
    "NO_TRACING",
    "Append",
    "Appended",
    "Bell",
    "BellKind",
    "Capability",
    "Claimed",
    "Clock",
    "Doorbell",
    "Due",
    "DueSchedule",
    "Health",
    "HistoryRow",
    "InboxRow",
    "Join",
    "KeyTaken",
    "Letter",
    "LostTasks",
    "Member",
    "NewRun",
    "NewTask",
    "Outcome",
    "Prunable",
    "ReceiverGone",
    "Record",
    "Reported",
    "RunChange",
    "RunFilter",
    "RunRow",
    "ScheduleChange",
    "ScheduleRow",
    "Store",
    "TableSize",
    "TaskRow",
    "TickRow",
    "Traced",
    "Tracing",
    "Transaction",
    "Tree",
    "Waiting",
    "WorkerRow",
]
