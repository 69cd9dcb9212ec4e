"""Runs measures: round by round, in each round one system after the other; a quick run, by system.

The rule of this file: every session has workers, a database and a Redis database of its own, no other session is
open meanwhile, and what costs time to count is counted after the last round, in a pass that is not timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from tests.benchmarks.machine import Servers
from tests.benchmarks.measures import Measure
from tests.benchmarks.measures.measure import Figures
from tests.benchmarks.postgres import Written, checkpoint, statements
from tests.benchmarks.processes import cpu_seconds
from tests.benchmarks.redis import commands
from tests.benchmarks.results import Result, per_step
from tests.benchmarks.systems import System
from tests.benchmarks.systems.system import Session

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Visit:
    """One session of a system and what is measured in it; the last one of a measure counts too."""

    system: System
    workers: int
    measures: tuple[Measure, ...]
    round: int
    last: bool


def run(
    servers: Servers,
    measures: Sequence[Measure],
    systems: Sequence[System],
    *,
    quick: bool,
    rounds: int,
    say: Say,
    size: int | None = None,
) -> list[Result]:
    """All results, in order of measures and systems. ``size``: instead of that which each measure has."""
    wanted = [measure for measure in measures if (measure.quick if quick else measure.full)]
    results = {
        (measure, system): Result(measure, system) for measure in wanted for system in systems if _can(system, measure)
    }
    for visit in (_by_system if quick else _by_measure)(list(results), rounds):
        names = ", ".join(f"{measure.name} {measure.case}".strip() for measure in visit.measures)
        say(f"{visit.round}/{rounds} {visit.system.name} {visit.system.setup}: {names}")
        with visit.system.open(servers, visit.workers) as session:
            for measure in visit.measures:
                result = results[measure, visit.system]
                if not quick:
                    measure.warm(session)
                usual = measure.quick if quick else measure.full
                result.rounds.append(_timed(servers, session, measure, size or usual))
                if visit.last and measure.counted and session.database is not None:
                    _count(servers, session, session.database, result)
    return list(results.values())


def _by_measure(pairs: Sequence[tuple[Measure, System]], rounds: int) -> Iterator[Visit]:
    """A session for each measure; the systems take turns, so that what the machine does meanwhile hits all."""
    for measure, group in groupby(pairs, key=itemgetter(0)):
        systems = [system for _, system in group]
        for number in range(1, rounds + 1):
            for system in systems:
                yield Visit(system, measure.workers, (measure,), number, number == rounds)


def _by_system(pairs: Sequence[tuple[Measure, System]], rounds: int) -> Iterator[Visit]:
    """As few sessions as there can be: starting and ending them is most of the time of a quick run."""
    sessions: dict[tuple[System, int], list[Measure]] = {}
    for measure, system in pairs:
        sessions.setdefault((system, measure.workers), []).append(measure)
    for number in range(1, rounds + 1):
        for (system, workers), measures in sessions.items():
            yield Visit(system, workers, tuple(measures), number, number == rounds)


def _can(system: System, measure: Measure) -> bool:
    return not system.measures.isdisjoint({measure.name, f"{measure.name} {measure.case}"})


def _timed(servers: Servers, session: Session, measure: Measure, size: int) -> Figures:
    if session.database is None:
        measure.warm(session)
        return _performed(servers, session, measure, size)
    checkpoint(servers)
    measure.warm(session)  # the pages that it touches are in the log in full before anything is counted
    with Written(servers, session.database) as written:
        figures = _performed(servers, session, measure, size)
    return figures | per_step(figures, written.figures)


def _performed(servers: Servers, session: Session, measure: Measure, size: int) -> Figures:
    """What the measure gives, and the processor time that went into it."""
    server = cpu_seconds([servers.postgres_pid])
    python = cpu_seconds(session.pids) + time.process_time()
    figures = measure.perform(session, size)
    used = {"python_cpu_us": (cpu_seconds(session.pids) + time.process_time() - python) * 1e6}
    if session.database is not None:
        used["postgres_cpu_us"] = (cpu_seconds([servers.postgres_pid]) - server) * 1e6
    return figures | per_step(figures, used)


def _count(servers: Servers, session: Session, database: str, result: Result) -> None:
    """Statements and messages, apart from what is timed: logging them costs what would be measured."""
    measure = result.measure
    with commands(servers) as told, statements(servers, database) as sent:
        figures = measure.perform(session, measure.counted)
    messages = told.pop("messages", 0)
    trips = {"round_trips": sent.sent.total(), "messages": messages, "redis_commands": told.total()}
    result.counted = per_step(figures, trips)
    unit = figures.get("steps") or figures["starts"]
    result.statements = [
        (count / unit, sent.microseconds[text] / count / 1e3, text) for text, count in sent.sent.most_common()
    ]
