"""Every history that a release has written is replayed by this one: whole, cut off at any place, and row by row."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from squidmesh.core import events as ev
from squidmesh.core.codec import decode_rows
from squidmesh.core.events import Event
from squidmesh.core.interpreter import Decision, Interpreter
from squidmesh.core.recorded import COMMANDS, CONSEQUENCES
from squidmesh.core.workflow import Workflow

FILES = sorted(Path(__file__).parent.glob("v*/*.json"))
DECIDED = (
    *COMMANDS, *CONSEQUENCES, ev.PatchTaken, ev.StepFailed, ev.ScopeEntered, ev.ScopeLeft, ev.RollbackStarted,
    ev.RollbackPlanned, ev.EntrySettled, ev.RollbackEnded,
)  # fmt: skip


class Recording:
    def __init__(self, file: Path) -> None:
        text = json.loads(file.read_text(encoding="utf-8"))
        module = import_module(f"tests.replay.{file.parent.name}.workflows")
        known = {(w.name, w.version): w for w in vars(module).values() if isinstance(w, Workflow)}
        self.workflow = known[text["workflow"], text["version"]]
        self.run_id: str = text["run_id"]
        self.rows: list[list[Event]] = []
        seq = 1
        for row in text["rows"]:
            self.rows.append(decode_rows([(seq, json.dumps(row))]))
            seq += len(row)
        self.history = [event for row in self.rows for event in row]

    def replayed(self, history: list[Event], now: int = 0) -> tuple[Interpreter, Decision]:
        live = Interpreter(self.workflow, self.run_id)
        live.replay(history, now)
        return live, live.take()


@pytest.fixture(params=FILES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def recording(request: pytest.FixtureRequest) -> Recording:
    return Recording(request.param)


def test_there_is_something_recorded() -> None:
    assert len(FILES) >= 7


def test_a_recorded_history_replays_to_its_end_and_decides_nothing(recording: Recording) -> None:
    _, decision = recording.replayed(recording.history)
    assert (decision.events, decision.steps, decision.blocked, decision.ended) == ((), (), None, True)


def test_every_prefix_of_a_recorded_history_replays(recording: Recording) -> None:
    for length in range(1, len(recording.history)):
        _, decision = recording.replayed(recording.history[:length])
        assert decision.blocked is None, (length, decision.blocked)


def test_every_row_is_decided_again_as_it_was(recording: Recording) -> None:
    """The values that the code has seen (times, ids, chance) show in the inputs and results that it decides on."""
    before: list[Event] = []
    for row in recording.rows:
        learnt: list[Any] = [event for event in row if not isinstance(event, DECIDED)]
        decided = [replace(event, seq=0, at=0) for event in row if isinstance(event, DECIDED)]
        live, nothing = recording.replayed(before, row[0].at)
        assert nothing.events == ()
        live.feed(learnt, row[0].at)
        assert [replace(event, at=0) for event in live.take().events] == decided
        before += row
