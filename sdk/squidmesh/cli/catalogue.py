"""Every command: where help lists it, the file that has it, what it does in a line, and an example of it.

The rule of this file: it is all that help needs, so that help imports no command; docs/cli.md is made of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Entry(NamedTuple):
    """``file``: of this folder; ``example``: the arguments, as they are typed."""

    file: str
    told: str
    example: str


SECTIONS: Mapping[str, Mapping[str, Entry]] = {
    "Look": {
        "status": Entry("status", "How all of it stands, on one screen.", ""),
        "runs": Entry("runs", "List runs, newest first, by filters.", "--status blocked --since 2h"),
        "show": Entry("show", "One run: its steps, signals, gates, rollbacks.", "RUN"),
        "explain": Entry("explain", "Why a run is where it is, and what can be done.", "--key order-1"),
        "history": Entry("history", "Every recorded event of a run.", "RUN --last 20"),
        "graph": Entry("graph", "A run as it happened, drawn.", "RUN --svg run.svg"),
        "timeline": Entry("timeline", "A run along time.", "RUN"),
        "watch": Entry("watch", "Follow a run until it ends.", "RUN --timeout 10m"),
        "reasons": Entry("reasons", "The reasons that explain gives.", ""),
    },
    "Start and steer": {
        "start": Entry("start", "Start a run.", "shop:checkout '{\"order\": {\"id\": \"o-1\"}}' --key o-1"),
        "signal": Entry("signal", "Send a run a message.", "RUN payment.done --payload '{\"cents\": 4200}'"),
        "approve": Entry("gates", "Vote for an approval.", "RUN fraud-desk --actor ada"),
        "reject": Entry("gates", "Vote against an approval, which decides it.", 'RUN --actor ada --note "too large"'),
        "resume": Entry("gates", "Let a run go on from a pause.", "RUN count --payload 3 --actor ada"),
        "hold": Entry("holding", "Have nothing new begin in a run.", 'RUN --actor ada --note "bank is down"'),
        "release": Entry("holding", "Let a held or blocked run go on.", "RUN --actor ada"),
        "cancel": Entry("ending", "Ask a run to end; what it did is undone.", "RUN --actor ada"),
        "terminate": Entry("ending", "End a run at once; nothing is undone.", "RUN --actor ada --note stray"),
        "rerun": Entry("rerun", "Start an ended run anew, with its input.", "RUN --from-position 3 --actor ada"),
        "bulk": Entry("bulk", "One command for all runs that filters find.", "cancel --workflow checkout --since 2h"),
    },
    "Repair": {
        "retry-step": Entry("steps", "Try a step again, past the pivot.", 'RUN mail --actor ada --note "it is up"'),
        "skip-step": Entry("steps", "Go on with a value for a step.", "RUN mail --value null --actor ada --note sent"),
        "resolve-step": Entry("steps", "Say whether a step in doubt took effect.",
                              'RUN pay --applied \'"tx-9"\' --actor ada --note "asked the bank"'),
        "fail": Entry("ending", "End a run as failed; what it did is undone.", 'RUN --actor ada --note "no stock"'),
        "rollback": Entry("undoing", "Undo what an ended run did.", "RUN --dry-run"),
        "undo-retry": Entry("undoing", "Try an undo again that has failed.", 'RUN pay --actor ada --note "bank is up"'),
        "undo-skip": Entry("undoing", "Go on without an undo that has failed.", "RUN charge --actor ada --note lost"),
        "undo-mark-done": Entry("undoing", "Say that something was undone by hand.",
                                'RUN charge --actor ada --note "refunded by phone"'),
        "undo-abandon": Entry("undoing", "End a rollback that stands.", 'RUN --actor ada --note "written off"'),
    },
    "Operate": {
        "worker": Entry("worker", "Serve the workflows of modules.", "shop --processes 2"),
        "workers": Entry("workers", "Who serves what.", ""),
        "schedules": Entry("schedules", "Look at schedules, and steer them.", 'pause nightly --actor ada'),
        "doctor": Entry("doctor", "Look for what is wrong, and what to do.", ""),
        "migrate": Entry("migrate", "Create or upgrade the tables.", ""),
        "prune": Entry("prune", "Delete runs that ended long ago.", "--older-than 30d --archive runs.jsonl"),
        "export": Entry("export", "Write runs as lines of JSON.", "runs.jsonl --status failed"),
        "completion": Entry("completion", "What a shell needs to complete commands.", "bash"),
        "demo": Entry("demo", "Orders that survive a killed worker.", ""),
    },
    "Check code": {
        "check": Entry("check", "Open runs against the code at hand, before a deploy.", "shop"),
        "replay": Entry("replay", "Recorded histories against the code at hand.", "histories shop"),
    },
}  # fmt: skip

COMMANDS: Mapping[str, Entry] = {name: entry for commands in SECTIONS.values() for name, entry in commands.items()}
