"""`python -m tests.benchmarks [--quick] [--only w10,…] [--systems squidmesh,…] [--json FILE]`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console

from tests.benchmarks.machine import describe, own_servers
from tests.benchmarks.measures import MEASURES, Measure
from tests.benchmarks.postgres import drop_templates
from tests.benchmarks.report import show
from tests.benchmarks.results import Result
from tests.benchmarks.run import run
from tests.benchmarks.systems import SYSTEMS, System


def main(arguments: list[str] | None = None) -> int:
    told = _parser().parse_args(arguments)
    systems = [system for system in told.systems if system.installed]
    console = Console(width=None if sys.stdout.isatty() else 240)
    quick = bool(told.quick)
    rounds = told.rounds or (1 if quick else 3)
    for missing in sorted({system.needs for system in told.systems if not system.installed}):
        console.print(f"{missing} is not installed and is left out: pip install -e '.[bench]'")
    with own_servers() as servers:
        about = describe(servers)
        try:
            results = run(
                servers, told.only, systems, quick=quick, rounds=rounds, size=told.size,
                say=lambda line: console.print(line, style="dim", highlight=False),
            )  # fmt: skip
        finally:
            drop_templates()
    show(results, about, console, with_statements=told.statements)
    if told.json is not None:
        told.json.write_text(_json(results))
    return 0


def _json(results: list[Result]) -> str:
    return json.dumps([result.to_json() for result in results], indent=1) + "\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of small sizes, under 90 s")
    parser.add_argument("--only", type=_measures, default=list(MEASURES), metavar="w10,…")
    parser.add_argument("--systems", type=_systems, default=list(SYSTEMS), metavar="squidmesh,dbos,…")
    parser.add_argument("--rounds", type=int, help="how often all is measured (3; with --quick 1)")
    parser.add_argument("--size", type=int, help="of each measure, instead of its own (with --only one)")
    parser.add_argument("--statements", action="store_true", help="show which statements were sent")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    return parser


def _measures(text: str) -> list[Measure]:
    return [measure for measure in MEASURES if measure.name in _among(text, {m.name for m in MEASURES})]


def _systems(text: str) -> list[System]:
    return [system for system in SYSTEMS if system.name in _among(text, {s.name for s in SYSTEMS})]


def _among(text: str, known: set[str]) -> set[str]:
    wanted = {name.strip() for name in text.split(",") if name.strip()}
    if unknown := wanted - known:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}; there is {', '.join(sorted(known))}")
    return wanted


if __name__ == "__main__":
    sys.exit(main())
