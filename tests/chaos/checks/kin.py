"""Runs that belong together: parents and children, and the links of a chain.

    a child is there because its parent says so, one for each place · nobody ends before the children that it
    waits for · what a parent says of a child's end is what the child says · a run that continues has one successor

The rule of this file: two histories side by side; neither is believed without the other.
"""

from collections.abc import Iterator

from tests.chaos.checks.violation import Violation
from tests.chaos.ledger import Ledger, Run

Found = Iterator[tuple[str, str]]


def check(run: Run, ledger: Ledger) -> Iterator[Violation]:
    for law, told in (*_as_parent(run, ledger), *_as_child(run, ledger), *_as_link(run, ledger)):
        yield Violation(law, run.id, told)


def _as_parent(run: Run, ledger: Ledger) -> Found:
    told = {event["position"]: event for event in run.of("ChildEnded")}
    if len(told) != len(run.of("ChildEnded")):
        yield "a child ends once", f"{[(e['seq'], e['position']) for e in run.of('ChildEnded')]}"
    for event in run.of("ChildStarted", "StepDeferred"):
        child = ledger.runs.get(event["run_id"])
        if child is None:
            yield "a child that was started is there", f"{event['run_id']} at {event['position']} is not"
            continue
        last, end = ledger.newest(child), told.get(event["position"])
        if run.ended and not last.ended:
            yield "children end with their parents", f"{last.id} at {event['position']} is {last.status}"
        if event["kind"] == "ChildStarted" and run.ended and run.status != "terminated" and end is None:
            yield "a parent hears of each end", f"{child.id} at {event['position']} is {last.status}"
        if end is not None and last.ended:
            said = {e["kind"].removeprefix("Run").lower() for e in last.of(
                "RunCompleted", "RunFailed", "RunCancelled", "RunTerminated", "RunUndone"
            )}  # fmt: skip
            if end["outcome"] not in said:
                yield "a parent hears the truth", f"{end['outcome']} of {last.id}, which says {sorted(said)}"


def _as_child(run: Run, ledger: Ledger) -> Found:
    started = run.history[0] if run.history else None
    if run.parent is None or started is None:
        return
    parent = ledger.runs.get(run.parent)
    if parent is None:
        yield "a child has a parent", f"{run.parent} is not there"
    elif started["continues"] is None:
        asked = [e for e in parent.of("ChildStarted", "StepDeferred") if e["run_id"] == run.id and not e["joined"]]
        if len(asked) != 1:
            yield "a parent knows its children", f"{parent.id} has started it {len(asked)} times"


def _as_link(run: Run, ledger: Ledger) -> Found:
    for event in run.of("RunContinued"):
        later = ledger.runs.get(event["run_id"])
        if later is None:
            yield "a chain goes on", f"its successor {event['run_id']} is not there"
        elif later.history[0]["continues"] != run.id or later.chain != (run.chain or run.id):
            yield "a chain goes on", f"{later.id} continues {later.history[0]['continues']} of chain {later.chain}"
    if run.status == "continued" and run.key is not None:
        yield "the successor has the key", f"{run.key} stands here"
