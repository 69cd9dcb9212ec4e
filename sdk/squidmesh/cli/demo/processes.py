"""The worker processes of the demo: real ones, as anybody would start them.

The rule of this file: none of them outlives the ``with`` block, however it is left, nor the demo itself.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_SERVE = "from squidmesh.cli.demo.processes import serve; serve()"
COMMAND = (sys.executable, "-c", _SERVE, "worker", "orders", "--threads", "3")
SLOWEST_START = 30.0  # seconds
PARENT_VARIABLE = "SQUIDMESH_DEMO_PROCESS"
"""Tells a worker process the id of the demo that has started it."""
_PR_SET_PDEATHSIG = 1  # Linux: the signal that a process gets when its parent has died


class NotUp(Exception):
    """A worker process did not come up; the text has what it said."""


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """One of them: ``name`` is a letter, ``log`` the file with what it says."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def up(self) -> bool:
        return self.popen.poll() is None

    def kill(self) -> None:
        """``kill -9``: no goodbye, no last write."""
        self.popen.kill()
        self.popen.wait()


class WorkerProcesses:
    """Some worker processes in a folder, up and ready inside the ``with`` block."""

    def __init__(self, folder: Path, names: str) -> None:
        self._folder = folder
        self._names = names
        self.all: list[WorkerProcess] = []

    def __enter__(self) -> WorkerProcesses:
        try:
            for name in self._names:
                self.all.append(self._start(name))
            for process in self.all:
                _wait_until_ready(process)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._end()

    def name_of(self, pid: int) -> str | None:
        """The letter of the process with this id."""
        return next((process.name for process in self.all if process.pid == pid), None)

    def kill(self, name: str) -> WorkerProcess:
        """Kill the process of this letter, and give it."""
        process = next(process for process in self.all if process.name == name)
        process.kill()
        return process

    def _start(self, name: str) -> WorkerProcess:
        log = self._folder / f"worker-{name}.log"
        with log.open("wb") as output:
            popen = subprocess.Popen(
                COMMAND, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env=os.environ | {PARENT_VARIABLE: str(os.getpid())},
            )  # fmt: skip
        return WorkerProcess(name, popen, log)

    def _end(self) -> None:
        for process in self.all:
            process.popen.terminate()
        patience = time.monotonic() + 2.0
        for process in self.all:
            try:
                process.popen.wait(max(0.0, patience - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_ready(process: WorkerProcess) -> None:
    until = time.monotonic() + SLOWEST_START
    while "squidmesh worker ready" not in process.log.read_text(errors="replace"):
        if not process.up or time.monotonic() > until:
            said = process.log.read_text(errors="replace").strip().splitlines()[-1:]
            raise NotUp(f"a worker process did not come up: {' '.join(said) or 'it said nothing'} ({process.log})")
        time.sleep(0.02)


def serve() -> None:
    """What each of them runs: the ``squidmesh worker`` of its arguments, told to end when the demo is gone."""
    from squidmesh.cli import main

    with suppress(AttributeError, OSError):  # a kernel that cannot do that
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(os.environ.get(PARENT_VARIABLE, os.getppid())):
        return  # it has gone before it could be said
    main()


def embedded_only() -> None:
    """Forget what the environment says of databases and brokers: the demo touches nobody's data."""
    for name in [name for name in os.environ if name.startswith("SQUIDMESH_")]:
        del os.environ[name]
