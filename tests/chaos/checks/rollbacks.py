"""Rollbacks: the order of undos, one outcome for each entry, no false ``clean``, and undone is what was undone.

The rule of this file: the order is that of events, the plan is the one that was recorded, and an effect that is called
undone has a line in the log, or a row in the bank, that undid it.
"""

from collections.abc import Iterator

from tests.chaos.checks.steps import Done
from tests.chaos.checks.violation import Violation
from tests.chaos.ledger import Event, Ledger, Run

ARMS = ("StepCompleted", "StepFailed", "TransactionCommitted", "ChildEnded", "StepDeferred", "UndoRegistered")
FORGIVEN = {"never_ran", "committed"}
"""Why something may be skipped in a rollback that is clean."""

Found = Iterator[tuple[str, str]]


def check(run: Run, ledger: Ledger, done: Done) -> Iterator[Violation]:
    for planned in run.of("RollbackPlanned"):
        for law, told in (*_order(run, planned), *_whole(run, planned), *_partition(run, planned, ledger)):
            yield Violation(law, run.id, f"rollback {planned['number']}: {told}")
    for law, told in (*_undone(run, ledger, done), *_calls(run, done)):
        yield Violation(law, run.id, told)


def _armed(run: Run, entry: str, before: int) -> int:
    """The number of the event that put an entry into the chain; 0 is what was before the run."""
    if entry == "0":
        return 0
    position, _, number = entry.partition(":undo:")
    seqs = [
        event["seq"]
        for event in run.of(*ARMS)
        if event["seq"] < before
        and event["position"] == position
        and (event["kind"] == "UndoRegistered") is bool(number)
        and (not number or str(event["number"]) == number)
    ]
    return max(seqs, default=-1)


def _order(run: Run, planned: Event) -> Found:
    entries = planned["entries"] or []
    armed = [_armed(run, entry, planned["seq"]) for entry in entries]
    if -1 in armed:
        yield "only what has happened is undone", f"{entries[armed.index(-1)]} was never armed"
    if armed != sorted(set(armed), reverse=True):
        yield "undo goes newest first", f"the plan is {list(zip(entries, armed, strict=True))}"
    begun: list[str] = []
    for event in run.of("UndoStarted"):
        if event["entry"] in entries and event["seq"] > planned["seq"] and event["entry"] not in begun:
            begun.append(event["entry"])
    if begun != [entry for entry in entries if entry in begun]:
        yield "undo goes newest first", f"planned {entries}, begun {begun}"


def _whole(run: Run, planned: Event) -> Found:
    """The plan of a run's own rollback has all that was done, and not settled before."""
    started = next(event for event in run.of("RollbackStarted") if event["number"] == planned["number"])
    if started["cause"] in ("scope", "race"):
        return
    traits = {event["position"]: event["traits"] or [] for event in run.of("StepScheduled")}
    registered = {event["position"] for event in run.of("UndoRegistered")}
    groups = tuple(f"{position}." for position, told in traits.items() if "group" in told)
    settled = {event["entry"] for event in run.of("EntrySettled") if event["seq"] < planned["seq"]}
    others = {
        event["position"]
        for event in run.of("ChildStarted")
        if event["joined"] or (event["options"] or {}).get("detached")
    }
    for event in run.of("StepCompleted", "TransactionCommitted", "ChildEnded"):
        position = event["position"]
        told = traits.get(position, ["undo"])
        nothing = event["kind"] == "ChildEnded" and (event["effects"] is False or position in others)
        covered = position in registered and "undo" not in told
        if event["seq"] > planned["seq"] or nothing or covered or "pure" in told or position.startswith(groups):
            continue
        if position not in settled and position not in planned["entries"]:
            yield "all that was done is planned", f"{position} ({event['kind']}) is not in {planned['entries']}"


def _partition(run: Run, planned: Event, ledger: Ledger) -> Found:
    """Each planned entry has one outcome when the rollback is over, and clean is said of none that is not."""
    ends = [event for event in run.of("RollbackEnded") if event["number"] == planned["number"]]
    if not ends:
        if run.ended and run.status != "terminated":
            yield "a rollback comes to an end", "the run has ended, and it has not"
        return
    entries, over = planned["entries"] or [], ends[0]
    if over["outcome"] in ("refused", "abandoned"):
        return
    settled = [event for event in run.of("EntrySettled") if planned["seq"] < event["seq"] < over["seq"]]
    for entry in entries:
        mine = [event for event in settled if event["entry"] == entry and event["actor"] is None]
        if len(mine) != 1:
            yield "each entry has one outcome", f"{entry} has {[event['state'] for event in mine]}"
        for event in mine if over["outcome"] == "clean" else ():
            if event["state"] != "undone" and not (event["state"] == "skipped" and event["reason"] in FORGIVEN):
                yield "clean is never said falsely", f"{entry} is {event['state']} ({event['reason']})"
            if event["state"] == "undone" and (left := _left_of_child(run, entry, ledger)):
                yield "clean is never said falsely", f"{entry}: {left}"


def _left_of_child(run: Run, entry: str, ledger: Ledger) -> str | None:
    """What speaks against it that a child was undone."""
    at = next((e["run_id"] for e in run.of("ChildStarted", "StepDeferred") if e["position"] == entry), None)
    child = ledger.runs.get(run.history[0]["continues"] if entry == "0" else at or "")
    if child is None:
        return None
    last = child if entry == "0" else ledger.newest(child)
    ends = last.of("RollbackEnded")
    if last.status == "completed" or (entry == "0" and not ends):
        return f"run {last.id} is {last.status}, and was not rolled back"
    if ends and ends[-1]["outcome"] != "clean":
        return f"the rollback of run {last.id} is {ends[-1]['outcome']}"
    return None


def _undone(run: Run, ledger: Ledger, done: Done) -> Found:
    """What is called undone was."""
    traits = {event["position"]: event["traits"] or [] for event in run.of("StepScheduled")}
    groups = [position for position, told in traits.items() if "group" in told]
    completed = {event["entry"] for event in run.of("UndoCompleted")}
    members = {
        event["position"]: next((g for g in groups if event["position"].startswith(f"{g}.")), event["position"])
        for event in run.of("StepCompleted")
        if "transactional" in traits.get(event["position"], ())
    }
    for position, entry in members.items():
        rows = ledger.bank.get((run.id, f"{run.id}:{position}:undo"), [])
        paid = ledger.bank.get((run.id, f"{run.id}:{position}"), [])
        if len(rows) != (entry in completed):
            yield (
                "transactional undos happen exactly once",
                f"{position}: {len(rows)} rows, of {entry}",
            )
        elif rows and rows != [-cents for cents in paid]:
            yield "an undo reverses what was done", f"{position}: {paid} and {rows}"
    for event in run.of("EntrySettled"):
        entry = event["entry"]
        if event["state"] == "undone" and event["actor"] is None and entry not in completed:
            yield "undone is what was undone", f"{entry} has no UndoCompleted"
    for entry in completed - set(members.values()) - set(groups):
        if entry in traits or ":undo:" in entry:
            key = f"{run.id}:{entry}" if ":undo:" in entry else f"{run.id}:{entry}:undo"
            if not done.get(key):
                yield "undone is what was undone", f"{entry} is recorded, and not in the log"


def _calls(run: Run, done: Done) -> Found:
    """No undo is called before that was recorded, nor again under one number."""
    begun: dict[str, int] = {}
    for event in run.of("UndoStarted"):
        key = f"{run.id}:{event['entry']}" if ":undo:" in event["entry"] else f"{run.id}:{event['entry']}:undo"
        begun[key] = begun.get(key, 0) + 1
    prefix = f"{run.id}:"
    for key in [key for key in done if key.startswith(prefix) and ":undo" in key]:
        numbers = [effect.attempt for effect in done[key]]
        if len(numbers) != len(set(numbers)) or max(numbers) > begun.get(key, 0):
            yield "an undo is recorded before it is called", f"{key}: calls {numbers}, {begun.get(key, 0)} recorded"
