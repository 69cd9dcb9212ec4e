"""What was answered is kept: a start that was confirmed is there, and comes out as its plan says.

The rule of this file: from the outside. A person's word that was confirmed is in the history; the result is the one
that the input demands, whatever happened on the way.
"""

from collections.abc import Iterator, Sequence

from tests.chaos.checks.violation import Violation
from tests.chaos.ledger import Ledger, Run
from tests.chaos.promise import ANY, Promise

RECORDED = {
    "approve": "VoteCast", "reject": "VoteCast", "resume": "GateDecided", "hold": "RunHeld", "release": "RunReleased",
    "terminate": "RunTerminated",
}  # fmt: skip


def check(promises: Sequence[Promise], ledger: Ledger) -> Iterator[Violation]:
    for one in promises:
        run = ledger.runs.get(one.run_id)
        if run is None:
            yield Violation("a start that was confirmed is kept", one.run_id, "it is not there")
            continue
        for law, told in _kept(one, run, ledger):
            yield Violation(law, run.id, f"{run.workflow}: {told}")


def _kept(one: Promise, run: Run, ledger: Ledger) -> Iterator[tuple[str, str]]:
    last = ledger.newest(run)
    links = [run]
    while links[-1] is not last:
        links.append(ledger.runs[links[-1].of("RunContinued")[-1]["run_id"]])
    for key, what in one.words.items():
        kind = RECORDED.get(what)
        if kind is not None and not any(event["key"] == key for link in links for event in link.of(kind)):
            yield "a word that was confirmed is recorded", f"{what} as {key} is in no history of the chain"
        if what == "rollback" and last.ended and last.status == "completed":
            yield "a word that was confirmed is recorded", "a rollback was begun, and the run is as it was"
    if not last.ended:
        return
    if last.status not in one.ends:
        yield "a run comes out as it must", f"it is {last.status}, not {' or '.join(sorted(one.ends))}"
    elif last.status == "completed" and one.result is not ANY:
        result = last.of("RunCompleted")[-1]["result"]
        if result != one.result:
            yield "a run comes out as it must", f"it gave {result}, not {one.result}"
