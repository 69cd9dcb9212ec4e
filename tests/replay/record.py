"""Records what is missing: ``python -m tests.replay.record``. What is there is never written again."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

from squidmesh.core import events as ev
from squidmesh.core.chain import Entry
from squidmesh.core.codec import encode
from squidmesh.core.effects import Trait
from squidmesh.core.failure import describe
from squidmesh.core.nodes import StepNode, TimerNode
from tests.core.play import Play

HERE = Path(__file__).parent


def main() -> None:
    for folder in sorted(HERE.glob("v*")):
        for name, (workflow, given, seed, end) in import_module(f"tests.replay.{folder.name}.workflows").RUNS.items():
            file = folder / f"{name}.json"
            if not file.exists():
                rows = play_out(Play(workflow, **given), Random(seed), end)
                text = {"workflow": workflow.name, "version": workflow.version, "run_id": "run-1", "rows": rows}
                file.write_text(json.dumps(text, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
                print(f"recorded {file.relative_to(HERE)}: {len(rows)} rows")


def play_out(play: Play, luck: Random, end: str) -> list[Any]:
    """Play a run to its end; gives its history as rows of stored events."""
    rows = [json.loads(encode(play.history))]
    length = len(play.history)
    for turn in range(1_000):
        if play.last.ended:
            return rows
        if end and turn == 5:
            play.cancel() if end == "cancel" else play.fire("deadline")
        else:
            play.time += luck.randrange(1, 5_000_000)
            if (undo := play.live.undo) is not None:
                play.feed(ev.UndoStarted(entry=undo.id, number=undo.attempts + 1, worker="host:1:a"))
            elif running := [entry for entry in play.live.chain.armed() if entry.running]:
                play.feed(undone(running[0], play.time, luck))
            else:
                play.feed(*outcome(play, luck.choice(sorted(play.open)), luck))
        assert play.last.blocked is None, play.last.blocked
        rows.append(json.loads(encode(play.history[length:])))
        length = len(play.history)
    raise AssertionError("the run does not end")


def undone(entry: Entry, now: int, luck: Random) -> ev.Event:
    if luck.random() < 0.7:
        return ev.UndoCompleted(entry=entry.id, number=entry.attempts)
    failure = describe(ValueError(f"no luck in the undo of {entry.id}"), attempts=entry.attempts)
    return ev.UndoFailed(entry=entry.id, number=entry.attempts, failure=failure, retry_at=now + 9)


def outcome(play: Play, position: str, luck: Random) -> list[ev.Event]:
    leaf = play.live.open[position]
    if isinstance(leaf, TimerNode):
        return [ev.TimerFired(position=position)]
    assert isinstance(leaf, StepNode)
    if not leaf.running:
        return [ev.AttemptStarted(position=position, number=leaf.number + 1, worker="host:1:a")]
    failure = describe(ValueError(f"no luck at {position}"), attempts=leaf.number)
    match luck.choice(["done", "done", "done", "failed", "again", "lost", "saved"]):
        case "failed" if leaf.step == "replay.number":
            return [ev.AttemptFailed(position=position, number=leaf.number, failure=failure)]
        case "again":
            return [ev.AttemptFailed(position=position, number=leaf.number, failure=failure, retry_at=play.time + 9)]
        case "lost":
            return [
                ev.AttemptLost(position=position, number=leaf.number, worker="host:1:a", final=leaf.has(Trait.ONCE))
            ]
        case "saved":
            return [ev.CheckpointSaved(position=position, value={"page": luck.randrange(9)})]
        case _ if leaf.step != "replay.charge":
            return [ev.StepCompleted(position=position, result=luck.randrange(100))]
        case _:
            return [ev.StepCompleted(position=position, result={"order": "o-1", "cents": luck.randrange(100)})]


if __name__ == "__main__":
    main()
