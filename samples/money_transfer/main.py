"""A storm over a bank: workers are killed at random in the middle of transfers, and every cent is where it belongs.

    python samples/money_transfer/main.py [--seed 7] [--seconds 6] [--workers 3]

This process starts transfers all the time; worker processes serve them, and die by SIGKILL. At every kill the accounts
are added up. At the end each account must have what its completed transfers gave and took, and nothing else.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import func, insert, select
from transfers import NotEnough, Refused, accounts, metadata, transfer

from squidmesh import Mesh, MeshError, RunFailed
from squidmesh.events import AttemptLost

NAMES = [f"account {letter}" for letter in "ABCDEFGHIJKL"]
OPENED_WITH = 100_000  # cents
PATIENCE = 60  # seconds until a transfer must have ended, when the storm is over

SQUIDMESH = str(Path(sys.executable).with_name("squidmesh"))
ENVIRON = os.environ | {
    "PYTHONPATH": str(Path(__file__).parent),
    "SQUIDMESH_LEASE": "2",  # a worker that is not heard of for so many seconds is taken for dead (by default 15)
    "SQUIDMESH_SWEEP": "0.2",
}


class Workers:
    """Some worker processes, which end with the ``with`` block."""

    def __init__(self, count: int, log: BinaryIO) -> None:
        self._log = log
        self._all = [self._start() for _ in range(count)]

    def _start(self) -> subprocess.Popen[bytes]:
        command = [SQUIDMESH, "worker", "transfers", "--threads", "4"]
        return subprocess.Popen(command, env=ENVIRON, stdout=self._log, stderr=subprocess.STDOUT)

    def kill_one(self, dice: random.Random) -> int:
        """``kill -9``, and another one in its place; the process id of the dead."""
        dead = self._all.pop(dice.randrange(len(self._all)))
        dead.kill()
        dead.wait()
        self._all.append(self._start())
        return dead.pid

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *exc: object) -> None:
        for process in self._all:
            process.kill()
            process.wait()


def open_accounts(mesh: Mesh) -> None:
    mesh.migrate()
    with mesh.engine.begin() as db:
        metadata.create_all(db)
        if not db.scalar(select(func.count()).select_from(accounts)):
            db.execute(insert(accounts), [{"name": name, "cents": OPENED_WITH} for name in NAMES])


def storm(mesh: Mesh, workers: Workers, seed: int, seconds: float) -> None:
    """Start transfers, and kill workers, until the time is over."""
    transfers, kills = random.Random(f"{seed}, transfers"), random.Random(f"{seed}, kills")
    began = time.monotonic()
    kill_at = kills.uniform(1.5, 2.5)
    while (now := time.monotonic() - began) < seconds:
        source, target = transfers.sample(NAMES, 2)
        mesh.start(transfer(source, target, transfers.randrange(1, 50_000)))
        if now >= kill_at:
            print(f"{now:5.1f} s  kill -9 {workers.kill_one(kills)}   in all accounts {total(mesh)}", flush=True)
            kill_at = now + kills.uniform(0.5, 1.5)
        time.sleep(0.01)


def total(mesh: Mesh) -> str:
    with mesh.engine.connect() as db:
        return money(db.scalar(select(func.sum(accounts.c.cents))) or 0)


def audit(mesh: Mesh) -> bool:
    """Whether the accounts say what the runs say; waits for the last of them."""
    expected = dict.fromkeys(NAMES, OPENED_WITH)
    endings, lost = Counter[str](), 0
    for run_id in all_transfers(mesh):
        run = mesh.handle(run_id)
        with suppress(RunFailed):
            run.result(timeout=PATIENCE)
        seen = run.inspect()
        lost += sum(isinstance(event, AttemptLost) for event in run.history())
        match seen.failure:
            case None:
                endings["completed"] += 1
                expected[seen.input["source"]] -= seen.input["cents"]
                expected[seen.input["target"]] += seen.input["cents"]
            case failure if failure.matches(NotEnough):
                endings["not covered: nothing was written"] += 1
            case failure if failure.matches(Refused):
                endings[f"refused by the fraud desk: rollback {seen.rollback and seen.rollback.outcome}"] += 1
            case failure:
                endings[str(failure)] += 1
    for ending, count in endings.most_common():
        print(f"{count:5} transfers {ending}")
    print(f"{lost:5} attempts were lost with their workers")
    with mesh.engine.connect() as db:
        found = dict(db.execute(select(accounts.c.name, accounts.c.cents)).all())
    for name in NAMES:
        print(f"{name} {money(found[name]):>12}" + ("" if found[name] == expected[name] else "   WRONG"))
    print(f"in all    {money(sum(found.values())):>12} of {money(OPENED_WITH * len(NAMES))}")
    return found == expected


def all_transfers(mesh: Mesh) -> Iterator[str]:
    after: str | None = None
    while True:
        page = mesh.list(workflow=transfer, limit=1_000, after=after)
        yield from (run.run_id for run in page)
        if (after := page.next) is None:
            return


def money(cents: int) -> str:
    return f"{cents / 100:,.2f}"


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--seed", type=int, default=7, help="who transfers what to whom, and who is killed when")
    options.add_argument("--seconds", type=float, default=6, help="how long the storm lasts")
    options.add_argument("--workers", type=int, default=3, help="worker processes at a time")
    given = options.parse_args()
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))  # by way of the `with` blocks
    with Mesh() as mesh, Path("workers.log").open("wb") as log:
        open_accounts(mesh)
        try:
            with Workers(given.workers, log) as workers:
                storm(mesh, workers, given.seed, given.seconds)
                print("the storm is over, the last transfers end")
                right = audit(mesh)
        except (MeshError, TimeoutError) as error:
            print(f"{error} (see also {log.name})", file=sys.stderr)
            return 1
    print("every account has what its completed transfers gave and took" if right else "THE ACCOUNTS ARE WRONG")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
