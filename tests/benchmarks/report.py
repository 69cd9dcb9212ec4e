"""The results as people read them: a table for each measure, with ratios, and the statements where asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from rich.console import Console
from rich.table import Table

from tests.benchmarks.results import Result

OURS = "squidmesh"

#: The columns: figure, heading, format.
COLUMNS = (
    ("steps_per_s", "steps/s", "{:,.0f}"),
    ("children_per_s", "children/s", "{:,.0f}"),
    ("starts_per_s", "starts/s", "{:,.0f}"),
    ("undos_per_s", "undos/s", "{:,.0f}"),
    ("lowered_percent", "lowered by %", "{:.1f}"),
    ("pruned_per_s", "pruned/s", "{:,.0f}"),
    ("pruned_per_s_beside", "pruned/s beside", "{:,.0f}"),
    ("vacuum_seconds", "vacuum s", "{:.1f}"),
    ("full_bytes", "bytes before", "{:,.0f}"),
    ("pruned_bytes", "bytes after", "{:,.0f}"),
    ("again_bytes", "bytes filled again", "{:,.0f}"),
    ("ms_per_step", "ms a step", "{:.3f}"),
    ("timers_per_s", "timers/s", "{:,.0f}"),
    ("disorder_ms", "disorder ms", "{:.1f}"),
    ("start_call_max_ms", "longest call ms", "{:.1f}"),
    ("cpu_percent", "idle CPU %", "{:.1f}"),
    ("p50_ms", "p50 ms", "{:.1f}"),
    ("p99_ms", "p99 ms", "{:.1f}"),
    ("max_ms", "max ms", "{:.1f}"),
    ("round_trips", "round trips", "{:.2f}"),
    ("write_commits", "write commits", "{:.2f}"),
    ("wal_bytes", "WAL bytes", "{:,.0f}"),
    ("rows", "rows", "{:.2f}"),
    ("table_bytes", "table bytes", "{:,.0f}"),
    ("index_bytes", "index bytes", "{:,.0f}"),
    ("messages", "messages", "{:.2f}"),
    ("redis_commands", "Redis commands", "{:.2f}"),
    ("python_cpu_us", "Python CPU µs", "{:.0f}"),
    ("postgres_cpu_us", "server CPU µs", "{:.0f}"),
)


def show(results: Sequence[Result], about: Mapping[str, str], console: Console, *, with_statements: bool) -> None:
    """Print everything; what is counted is for a step, or for a start where only starts are measured."""
    console.print("  ".join(f"[dim]{name}[/] {value}" for name, value in about.items()))
    for _, group in groupby(results, key=lambda result: (result.measure.name, result.measure.case)):
        console.print(_table(list(group)))
    if with_statements:
        for result in results:
            if result.statements:
                console.print(_statements(result))


def _table(results: list[Result]) -> Table:
    measure = results[0].measure
    rows = [(result, _unsuffixed(result.to_json())) for result in results]
    shown = [column for column in COLUMNS if any(column[0] in row for _, row in rows)]
    table = Table(title=f"{measure.name} {measure.case}", title_justify="left", box=None, padding=(0, 1))
    table.add_column("system")
    for _, heading, _ in shown:
        table.add_column(heading, justify="right")
    table.add_column(f"{OURS} against it", justify="right")
    ours = next((result for result in results if result.system.name == OURS), None)
    for result, row in rows:
        cells = [form.format(row[name]) if name in row else "" for name, _, form in shown]
        table.add_row(f"{result.system.name} {result.system.setup}", *cells, _ratio(ours, result))
    return table


def _unsuffixed(row: Mapping[str, object]) -> dict[str, object]:
    kept = {"ms_per_step"}
    return {
        name if name in kept else name.removesuffix("_per_step").removesuffix("_per_start"): value
        for name, value in row.items()
    }


def _ratio(ours: Result | None, other: Result) -> str:
    if ours is None or other is ours or not other.leading or not ours.leading:
        return ""
    times = ours.leading / other.leading if ours.measure.more_is_better else other.leading / ours.leading
    return f"{times:.2f} ×"


def _statements(result: Result) -> Table:
    title = f"{result.measure.name} {result.measure.case}: statements of {result.system.name} {result.system.setup}"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1))
    for heading in ("a step", "ms each"):
        table.add_column(heading, justify="right")
    table.add_column("statement", overflow="ellipsis", no_wrap=True)
    for count, milliseconds, text in result.statements[:25]:
        table.add_row(f"{count:.3f}", f"{milliseconds:.3f}", text[:160])
    return table
