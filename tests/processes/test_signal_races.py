"""Messages to runs on real processes: before, during and after a wait, at its timeout, and as a worker dies of them."""

import json
import time
from collections import Counter
from typing import Any

from squidmesh import Handle
from squidmesh.events import RunHeld, RunReleased, SignalAwaited, SignalReceived, SignalTaken, TimerFired
from tests.processes import people_flows as flows
from tests.processes.presser import Press, write
from tests.processes.stage import Stage, wait_for
from tests.worker.processes import Process

FLOWS = "tests.processes.people_flows"
TOLD = flows.TOLD.name


def _count(handle: Handle[Any], kind: type[Any]) -> int:
    return sum(isinstance(event, kind) for event in handle.history())


def _awaits(handle: Handle[Any], times: int = 1) -> SignalAwaited:
    """Wait until it waits for a message for the so-manieth time; gives that wait."""

    def waits() -> list[SignalAwaited]:
        return [event for event in handle.history() if isinstance(event, SignalAwaited)]

    wait_for(f"it waits for message {times}", lambda: len(waits()) >= times)
    return waits()[times - 1]


def pressed(presser: Process) -> list[list[Any]]:
    """Wait until a presser is done; what came of each press: run, word, outcome."""
    presser.wait_for("presser done")
    return [json.loads(line.removeprefix("pressed ")) for line in presser.lines if line.startswith("pressed ")]


def test_a_message_before_during_and_after_a_wait_is_taken_once(stage: Stage) -> None:
    stage.two_workers("--threads", "4", module=FLOWS)
    before = stage.mesh.start(flows.hears(2, None, "go"))
    during = stage.mesh.start(flows.hears(2))
    after = stage.mesh.start(flows.hears_late(0.05))
    stage.begun("chaos_held_up")
    for _ in range(2):
        before.signal(TOLD, 1, key="one")
    before.signal(TOLD, 2, key="two")
    _awaits(during)
    during.signal(TOLD, 1)
    _awaits(during, 2)
    during.signal(TOLD, 2)
    _awaits(after, 2)
    after.signal(TOLD, 3)
    stage.signal("go")
    results = [handle.result(timeout=60) for handle in (before, during, after)]
    assert results == [[1, 2], [1, 2], [None, 3]]
    assert [_count(handle, SignalTaken) for handle in (before, during, after)] == [2, 2, 1]
    assert _count(after, TimerFired) == 1
    stage.check([before, during, after])


def test_of_a_message_and_the_timeout_at_one_instant_one_wins_and_the_other_is_for_the_next_wait(stage: Stage) -> None:
    stage.two_workers("--threads", "4", module=FLOWS)
    presser = stage.presser("at the timeout")
    handles = stage.mesh.start_many([flows.hears_late(2.0) for _ in range(12)])
    due = [(_awaits(handle).due or 0) / 1e6 for handle in handles]
    presses = [
        Press(handle.run_id, "signal", at + 0.002 * (n - 4), [TOLD, 1], {"key": "k"})
        for n, (at, handle) in enumerate(zip(due, handles, strict=True))
    ]
    write(stage.folder / "at the timeout", sorted(presses, key=lambda press: press.at))
    assert all(outcome in ("waiting", "running", "completed") for _, _, outcome in pressed(presser))
    won: Counter[str] = Counter()
    for handle in handles:
        wait_for("one has won", lambda handle=handle: _count(handle, TimerFired) + _count(handle, SignalTaken))
        if _count(handle, TimerFired) == 0:
            handle.signal(TOLD, 2)
        first, second = handle.result(timeout=60)
        won["message" if first == 1 else "timeout"] += 1
        assert [first, second] == ([1, 2] if first == 1 else [None, 1])
        at_first = [event for event in handle.history() if getattr(event, "position", None) == "1"]
        assert sum(isinstance(event, SignalTaken | TimerFired) for event in at_first) == 1
        assert isinstance(at_first[-1], SignalTaken if first == 1 else TimerFired)
        assert _count(handle, SignalReceived) == _count(handle, SignalTaken)
    assert sum(won.values()) == len(handles)
    stage.check(handles)


def test_a_worker_that_dies_while_it_takes_a_message_loses_and_doubles_none(stage: Stage) -> None:
    stage.nursery(count=2, threads=2)
    handles = stage.mesh.start_many([flows.hears(3) for _ in range(2)])
    for n, handle in enumerate(handles):
        for message in (1, 100 + n, 2):
            for _ in range(2):  # whoever has had no answer sends it again
                handle.signal(TOLD, message, key=f"k{message}")
    results = [handle.result(timeout=60) for handle in handles]
    assert results == [[1, 100 + n, 2] for n in range(len(handles))]
    assert {file.name for file in stage.folder.glob("fuse-*")} == {f"fuse-{100 + n}" for n in range(len(handles))}
    assert [_count(handle, SignalReceived) for handle in handles] == [3, 3]
    stage.check(handles)


def test_an_operator_who_holds_and_releases_while_messages_come_delays_them_and_nothing_else(stage: Stage) -> None:
    stage.two_workers("--threads", "4", module=FLOWS)
    operator, sender = stage.pressers("operator", "sender")
    handles = stage.mesh.start_many([flows.hears(4) for _ in range(4)])
    begin = time.time() + 1.0
    holds, sends = [], []
    for n in range(4):
        for handle in handles:
            at = begin + 0.05 * n
            by = {"actor": "ops"}
            holds += [Press(handle.run_id, "hold", at, [], by), Press(handle.run_id, "release", at + 0.02, [], by)]
            sends.append(Press(handle.run_id, "signal", at, [TOLD, n], {"key": f"k{n}"}))
    write(stage.folder / "operator", sorted(holds, key=lambda press: press.at))
    write(stage.folder / "sender", sends)
    outcomes = Counter(outcome for _, _, outcome in pressed(sender))
    assert set(outcomes) <= {"pending", "running", "waiting", "paused", "completed"}
    pressed(operator)
    assert [handle.result(timeout=60) for handle in handles] == [[0, 1, 2, 3]] * len(handles)
    for handle in handles:
        assert _count(handle, SignalReceived) == _count(handle, SignalTaken) == 4
        assert _count(handle, RunHeld) - _count(handle, RunReleased) in (0, 1)  # it may have ended before the release
    stage.check(handles)
