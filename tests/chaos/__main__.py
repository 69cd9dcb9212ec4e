"""One command: ``python -m tests.chaos [--seconds 300] [--seed N]``.

The rule of this file: arguments in, exit code out: 0 without a violation, 1 with one, 2 when the harness itself failed.
"""

import argparse
import random
import signal
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from tests.chaos import report
from tests.chaos.arena import Arena
from tests.chaos.plans import NAMES
from tests.chaos.storm import storm


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0, help="how long the storm lasts")
    parser.add_argument("--seed", type=int, default=None, help="of the schedule of faults, and of what is started")
    parser.add_argument("--workers", type=int, default=3, help="worker processes")
    parser.add_argument("--rate", type=float, default=3.0, help="runs that are started a second, their children apart")
    parser.add_argument("--database-url", help="a PostgreSQL to use (in a database of its own) and never to restart")
    parser.add_argument("--redis-url", help="a Redis to use, and to empty")
    parser.add_argument("--rabbitmq-url", help="a RabbitMQ to use in its place")
    parser.add_argument("--keep", type=Path, help="a folder for the log of effects, violations and what workers said")
    parser.add_argument("--only", default=",".join(sorted(NAMES)), help="kinds of plans (default: %(default)s)")
    given = parser.parse_args()
    if unknown := (only := frozenset(given.only.split(","))) - NAMES:
        parser.error(f"--only: no such kind: {', '.join(sorted(unknown))}")
    seed = random.randrange(10**6) if given.seed is None else given.seed
    console = Console(width=160)
    console.print(f"python -m tests.chaos --seconds {given.seconds:g} --seed {seed}", highlight=False)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    with tempfile.TemporaryDirectory(prefix="squidmesh-chaos-") as made:
        folder = given.keep or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        with Arena(folder, given.workers, given.database_url, given.redis_url, given.rabbitmq_url) as arena:
            outcome = storm(arena, given.seconds, seed, given.rate, only)
        report.show(outcome, seed, given.seconds, console)
        report.keep(outcome, folder)
    if outcome.violations:
        return 1
    return 2 if outcome.errors else 0


if __name__ == "__main__":
    sys.exit(main())
