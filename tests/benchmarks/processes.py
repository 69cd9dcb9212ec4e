"""Worker processes of a system under test: started, waited for, counted, ended.

They go with the process that starts them, however that ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.servers.process import LAUNCHER, identity

READY_WITHIN = 30.0  # seconds
STOP_WITHIN = 10.0  # seconds
_TICK = os.sysconf("SC_CLK_TCK")


class Worker:
    """One process that says ``ready`` (a text it writes) when it takes work, and reads lines from its input."""

    def __init__(self, command: Sequence[str], ready: str, env: Mapping[str, str] | None = None) -> None:
        self._ready = ready
        self._is_ready = threading.Event()
        self._written: list[str] = []
        about = [str(int(signal.SIGKILL)), str(os.getpid()), *map(str, identity(None))]
        self._popen = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", LAUNCHER, *about, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **(env or {})},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._popen.pid

    def tell(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(line + "\n")
        self._popen.stdin.flush()

    def wait_ready(self) -> None:
        if not self._is_ready.wait(READY_WITHIN) or self._popen.poll() is not None:
            raise RuntimeError(f"worker process {self.pid} did not become ready")

    def written(self) -> str:
        """The last lines it wrote."""
        return "".join(self._written[-12:])

    def tell_to_stop(self) -> None:
        self._popen.terminate()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when that does not end it."""
        if self._popen.poll() is None:
            self._popen.terminate()
        try:
            self._popen.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._reader.join(STOP_WITHIN)
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                pipe.close()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            self._written.append(line)
            if self._ready in line:
                self._is_ready.set()
        self._is_ready.set()


@contextmanager
def workers(
    commands: Iterable[Sequence[str]], ready: str, env: Mapping[str, str] | None = None
) -> Iterator[list[Worker]]:
    """Start these, wait until all are ready, and end them."""
    started: list[Worker] = []
    try:
        for command in commands:
            started.append(Worker(command, ready, env))  # noqa: PERF401 — what was started is to be ended
        for worker in started:
            worker.wait_ready()
        yield started
    except BaseException as error:
        for worker in started:
            error.add_note(f"worker process {worker.pid} wrote last:\n{worker.written()}")
        raise
    finally:
        for worker in started:
            worker.tell_to_stop()
        for worker in started:
            worker.stop()


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time that these processes and their living descendants have used so far."""
    wanted, parents, used = set(pids), {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            pid = int(entry.name)
            parents[pid], used[pid] = int(fields[1]), (int(fields[11]) + int(fields[12])) / _TICK
    return sum(seconds for pid, seconds in used.items() if _descends(pid, wanted, parents))


def _descends(pid: int, wanted: set[int], parents: Mapping[int, int]) -> bool:
    while pid in parents:
        if pid in wanted:
            return True
        pid = parents[pid]
    return False
