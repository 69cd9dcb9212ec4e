"""A worker process of DBOS: serves the queue, or runs here what it is told on its standard input.

`python -m tests.benchmarks.systems.dbos_worker DATABASE NUMBER SETUP`. It says "ready" when it takes work.
Lines it understands: `sequences RUNS STEPS` and `fan_out WIDTH`.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import asyncio
import sys

from dbos import DBOS, DBOSConfig

from tests.benchmarks.systems.system import PAYLOAD

#: The queue's settings. Ten looks a second instead of one; more often, looking takes the time of working.
QUEUE, POLL, CONCURRENCY = "benchmark", 0.1, 100
VERSION = "benchmark"
THREADS = 8


@DBOS.step()
def noop(payload: str) -> str:
    return payload


@DBOS.step()
async def noop_async(payload: str) -> str:
    return payload


@DBOS.workflow()
def sequence(steps: int, payload: str) -> int:
    for _ in range(steps):
        noop(payload)
    return steps


@DBOS.workflow()
async def spread(width: int) -> int:
    return len(await asyncio.gather(*(noop_async(PAYLOAD) for _ in range(width))))


def configuration(database: str, number: str) -> DBOSConfig:
    return {
        "name": "benchmark",
        "system_database_url": database,
        "application_version": VERSION,
        "executor_id": number,
        "log_level": "ERROR",
    }


def main() -> None:
    database, number, setup = sys.argv[1:4]
    DBOS(config={**configuration(database, number), "max_executor_threads": THREADS})
    if setup == "in-process":
        DBOS.listen_queues([])
    DBOS.launch()
    if setup == "queue":
        register()
    print("ready", flush=True)
    for line in sys.stdin:
        match line.split():
            case ["sequences", runs, steps]:
                for _ in range(int(runs)):
                    DBOS.start_workflow(sequence, int(steps), PAYLOAD)
            case ["fan_out", width]:
                DBOS.start_workflow(spread, int(width))
            case _:
                raise SystemExit(f"not understood: {line!r}")


def register() -> None:
    DBOS.register_queue(QUEUE, worker_concurrency=CONCURRENCY, polling_interval_sec=POLL)


if __name__ == "__main__":
    main()
