"""Where a test of this folder plays: a database, a broker, worker processes, and a folder of files as signals.

Its rule: whatever is started here ends with the stage, by its process id.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sqlalchemy import text

from squidmesh import Handle, Mesh
from tests.processes import invariants
from tests.processes.effects import FOLDER, Effect, effects
from tests.processes.saga_flows import BANK
from tests.worker.processes import SQUIDMESH, Process

ROOT = Path(__file__).parents[2]

LEASE, SWEEP = 1.5, 0.2  # seconds
LONG = 60.0  # a lease that no test outlives, however busy the machine is: for tests that let no worker die
PATIENCE = 60.0  # seconds until a test says that something did not happen


def wait_for(what: str, condition: Callable[[], Any], within: float = PATIENCE) -> Any:
    """Wait until the condition gives something true; gives that.

    Raises AssertionError, saying what did not happen, after `within` seconds.
    """
    until = time.monotonic() + within
    while not (found := condition()):
        assert time.monotonic() < until, f"not within {within} s: {what}"
        threading.Event().wait(0.005)
    return found


class Stage:
    """One database and one broker (None: none), with a mesh of this process that only starts and looks.

    ``lease`` may be changed until the first worker is started.
    """

    def __init__(self, folder: Path, database: str, broker: str | None) -> None:
        self.folder = folder
        self.database = database
        self.broker = broker
        self.lease = LEASE
        self.environ: dict[str, str] = {}  # for the processes that are started from now on
        self.mesh = Mesh(database, broker=broker, lease=LEASE, sweep=SWEEP)
        self.workers: list[Process] = []

    # ------------------------------------------------------------------------------------------- processes

    def worker(self, *options: str, module: str = "tests.processes.flows", cwd: Path = ROOT, ready: int = 1) -> Process:
        """A worker process that is ready (several under one, with ``--processes`` and ``ready``)."""
        command = [*SQUIDMESH, "worker", module, "--database", self.database]
        if self.broker is not None:
            command += ["--broker", self.broker]
        return self.process(*command, *options, cwd=cwd, says="squidmesh worker ready", times=ready)

    def two_workers(self, *options: str, module: str = "tests.processes.flows") -> list[Process]:
        """Two worker processes that came up at the same time and are ready."""
        with ThreadPoolExecutor(2) as both:
            return list(both.map(lambda _: self.worker(*options, module=module), range(2)))

    def nursery(self, count: int = 3, threads: int = 2) -> Process:
        """So many workers for the sagas, each replaced as soon as it dies."""
        command = (sys.executable, "-m", "tests.processes.nursery", self.database, self.broker or "-")
        return self.process(*command, str(count), str(threads), says="worker ready", times=count)

    def presser(self, name: str) -> Process:
        """A process that is ready to say to runs what will stand in the file of this name."""
        command = (sys.executable, "-m", "tests.processes.presser", self.database, self.broker or "-")
        return self.process(*command, str(self.folder / name), says="presser ready")

    def pressers(self, *names: str) -> list[Process]:
        """Several of them, each in a process of its own."""
        with ThreadPoolExecutor(len(names)) as all_of_them:
            return list(all_of_them.map(self.presser, names))

    def process(self, *command: str, says: str, times: int = 1, cwd: Path = ROOT) -> Process:
        """A process that has said something so many times."""
        settings = {
            FOLDER: str(self.folder),
            "SQUIDMESH_LEASE": str(self.lease),
            "SQUIDMESH_SWEEP": str(SWEEP),
        }
        paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        running = Process(command, cwd, settings | {"PYTHONPATH": paths} | self.environ)
        self.workers.append(running)
        running.wait_for(says, times)
        return running

    def kill(self, worker: Process) -> float:
        """``kill -9``; when it was, by the monotonic clock."""
        worker.send(signal.SIGKILL)
        killed = time.monotonic()
        worker.ended()
        return killed

    @contextlib.contextmanager
    def frozen(self, worker: Process) -> Iterator[None]:
        """Inside the block the process is stopped (SIGSTOP), whatever it was about to do."""
        worker.send(signal.SIGSTOP)
        try:
            wait_for(
                "the process stands still",
                lambda: "T" in Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()[0],
            )
            yield
        finally:
            worker.send(signal.SIGCONT)

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
        self.mesh.close()

    # --------------------------------------------------------------------------------------- files as signals

    def signal(self, name: str) -> None:
        """Let every step go on that waits for this name, and all that will."""
        (self.folder / name).touch()

    def effects(self, step: str | None = None, run: str | None = None) -> list[Effect]:
        """What steps did so far."""
        return [
            done
            for done in effects(self.folder)
            if (step is None or done.step == step) and (run is None or done.run == run)
        ]

    def begun(self, step: str, times: int = 1, within: float = PATIENCE) -> list[Effect]:
        """Wait until a step has begun so many times; gives its effects."""
        wait_for(f"{step} began {times} times", lambda: len(self.effects(step)) >= times, within)
        return self.effects(step)

    # ------------------------------------------------------------------------------------------------ the bank

    def open_bank(self) -> None:
        """The table that transactional steps write to."""
        with self.mesh.engine.begin() as connection:
            connection.execute(text(BANK))

    def paid(self, run: str) -> dict[str, int]:
        """What is there of a run, by key: each key once."""
        with self.mesh.engine.begin() as connection:
            found = connection.execute(text("SELECT key, cents FROM chaos_bank WHERE run = :run"), {"run": run})
            rows = [(key.removeprefix(run), cents) for key, cents in found]
        assert len(rows) == len(dict(rows)), rows
        return dict(rows)

    # ------------------------------------------------------------------------------------------------ the end

    def check(self, handles: Iterable[Handle[Any]]) -> None:
        """What must hold for runs that have ended, and for the tables when all have."""
        did = self.effects()
        for handle in handles:
            invariants.check_run(handle, did)
        invariants.check_tables(self.database, [handle.run_id for handle in handles])

    def check_sagas(self, handles: Iterable[Handle[Any]]) -> None:
        """The same for runs with handlers, undos and people."""
        did = self.effects()
        for handle in handles:
            invariants.check_saga(handle, did)
        invariants.check_tables(self.database, [handle.run_id for handle in handles])

    def said(self) -> str:
        """What the processes said, for a message."""
        return "\n".join(f"[{w.pid}] {line}" for w in self.workers for line in w.lines)
