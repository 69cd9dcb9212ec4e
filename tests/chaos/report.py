"""The table at the end: faults by kind, runs by workflow and outcome, and what is not as it must be.

The rule of this file: one look is enough, and a violation comes with the history of its run.
"""

import json
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos.storm import Outcome

SHOWN = 40
"""Violations in the table; all of them are in the file."""


def show(outcome: Outcome, seed: int, seconds: float, console: Console) -> None:
    faults = Table("fault", "times", title=f"seed {seed}: {sum(outcome.faults.values())} faults in {seconds:g} s")
    for kind, times in sorted(outcome.faults.items(), key=lambda item: -item[1]):
        faults.add_row(kind, str(times))
    console.print(faults)
    if outcome.missed:
        console.print(f"Not possible when their time came: {outcome.missed}")
    runs = list(outcome.ledger.runs.values())
    statuses = sorted({run.status for run in runs})
    counts = Counter((run.workflow, run.status) for run in runs)
    table = Table("workflow", *statuses, "all", title=f"{len(runs)} runs, {outcome.effects} effects")
    for workflow in sorted({run.workflow for run in runs}):
        row = [counts[workflow, status] for status in statuses]
        table.add_row(workflow, *[str(n) if n else "" for n in row], str(sum(row)))
    whole = [sum(counts[run, status] for run in {r.workflow for r in runs}) for status in statuses]
    table.add_row("all", *map(str, whole), str(len(runs)), style="bold")
    console.print(table)
    events = sum(run.length for run in runs)
    lost = sum(len(run.of("AttemptLost")) for run in runs)
    console.print(
        f"{events} events, {lost} attempts lost with their worker, calm after {outcome.calm:.0f} s; "
        f"calls that the database did not answer: {sum(outcome.outages.values())}"
    )
    for error in outcome.errors[:SHOWN]:
        console.print(f"[red]error[/red] {error}", highlight=False, markup=True)
    laws = Counter(violation.law for violation in outcome.violations)
    if not laws:
        console.print("[bold green]No violation.[/bold green]")
        return
    found = Table("law", "run", "what was found", title=f"{len(outcome.violations)} violations", title_style="bold red")
    for violation in outcome.violations[:SHOWN]:
        found.add_row(violation.law, violation.run, violation.told)
    console.print(found)


def keep(outcome: Outcome, folder: Path) -> None:
    """Write down what a search for the cause needs: violations, all histories, and what was said."""
    with (folder / "violations.txt").open("w") as file:
        for violation in outcome.violations:
            print(f"{violation.law}\n  run {violation.run}\n  {violation.told}", file=file)
            run = outcome.ledger.runs.get(violation.run)
            for event in run.history if run is not None else ():
                print(f"    {json.dumps(event)}", file=file)
    with (folder / "histories.jsonl").open("w") as file:
        for run in outcome.ledger.runs.values():
            told = {"run": run.id, "status": run.status, "parent": run.parent, "chain": run.chain}
            print(json.dumps(told | {"history": run.history}), file=file)
    (folder / "workers.log").write_text("\n".join(outcome.said))
