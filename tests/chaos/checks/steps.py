"""What was recorded of steps, and what they did: no more and no less.

    every effect of a completed step happened · a transactional one exactly once, and only if it is recorded · one that
    is not idempotent at most once · no effect before its attempt was recorded, and no attempt twice

The rule of this file: forward effects only; what undoes them is in rollbacks.py.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from tests.chaos.checks.violation import Violation
from tests.chaos.effects import Effect
from tests.chaos.ledger import Event, Ledger, Run

SILENT = {"chaos_look", "chaos_is_time", "chaos_refuse"}
"""Steps that say nothing in the log of effects (transactional ones do not either)."""

Done = Mapping[str, Sequence[Effect]]
"""Effects by key."""

ABOUT = (
    "StepScheduled", "AttemptStarted", "AttemptFailed", "AttemptLost", "StepCompleted", "StepFailed", "StepCancelled",
    "StepResolved", "TransactionCommitted",
)  # fmt: skip


def check(run: Run, ledger: Ledger, done: Done) -> Iterator[Violation]:
    of_step: dict[str, list[Event]] = defaultdict(list)
    for event in run.of(*ABOUT):
        of_step[event["position"]].append(event)
    for position, events in of_step.items():
        scheduled = next((event for event in events if event["kind"] == "StepScheduled"), None)
        if scheduled is None:
            yield Violation("a step is scheduled before all else", run.id, f"{position}: {events[0]}")
            continue
        key = f"{run.id}:{position}"
        for law, told in (*_attempts(events), *_effects(scheduled, events, key, run, ledger, done)):
            yield Violation(law, run.id, f"{scheduled['step']} at {position}: {told}")


def _attempts(events: Sequence[Event]) -> Iterator[tuple[str, str]]:
    numbers = [event["number"] or 1 for event in events if event["kind"] == "AttemptStarted"]
    if numbers != list(range(1, len(numbers) + 1)):
        yield "attempts are numbered without a gap", str(numbers)
    kinds = Counter(event["kind"] for event in events)
    if kinds["StepCompleted"] + kinds["TransactionCommitted"] > 1:
        yield "a step completes once", str(dict(kinds))


def _effects(
    scheduled: Event, events: Sequence[Event], key: str, run: Run, ledger: Ledger, done: Done
) -> Iterator[tuple[str, str]]:
    traits = scheduled["traits"] or []
    kinds = Counter(event["kind"] for event in events)
    did = done.get(key, ())
    begun = kinds["AttemptStarted"]
    if "transactional" in traits:
        rows = len(ledger.bank.get((run.id, key), ()))
        if rows != kinds["StepCompleted"]:
            yield "transactional effects happen exactly once", f"completed {kinds['StepCompleted']} times, {rows} rows"
        return
    if kinds["StepCompleted"] and scheduled["step"] not in SILENT and "group" not in traits and not did:
        yield "what is recorded has happened", "it completed, and its effect is not in the log"
    if "once" in traits and len(did) > 1:
        yield "what is not idempotent happens at most once", f"{len(did)} times: {did}"
    attempts = [effect.attempt for effect in did]
    if len(attempts) != len(set(attempts)):
        yield "an attempt is made once", str(did)
    # A terminated run waits for nothing: a task that was claimed goes with its run, and so does what was known of it.
    if attempts and max(attempts) > begun and run.status != "terminated":
        yield (
            "an attempt is recorded before it runs",
            f"{begun} are, attempt {max(attempts)} was made",
        )


def check_nothing_else(ledger: Ledger, done: Done) -> Iterator[Violation]:
    """Nothing happened that no history knows of."""
    known = {
        f"{run.id}:{event['position']}"
        for run in ledger.runs.values()
        for event in run.of("StepScheduled", "UndoRegistered")
    }
    for key, did in done.items():
        if _forward(key) not in known:
            yield Violation("nothing happens unrecorded", did[0].run, f"{did[0].step} under {key}")
    for run_id, key in ledger.bank:
        if _forward(key) not in known:
            yield Violation("nothing happens unrecorded", run_id, f"a row of the bank under {key}")


def _forward(key: str) -> str:
    """The key of the step whose handler's key this may be: of its first two parts, run and position."""
    return ":".join(key.split(":")[:2])
