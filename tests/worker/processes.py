"""Real processes of a test: what they say is read as they say it, and none outlives the test."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

SQUIDMESH = (sys.executable, "-c", "from squidmesh.cli import main; main()")


class Process:
    """A process and the lines it wrote to stdout and stderr."""

    def __init__(self, command: tuple[str, ...], folder: Path, environ: Mapping[str, str]) -> None:
        self.lines: list[str] = []
        self._said = threading.Condition()
        self._popen = subprocess.Popen(
            command,
            cwd=folder,
            env={name: value for name, value in os.environ.items() if not name.startswith("SQUIDMESH_")}
            | {"PYTHONWARNINGS": "error", "PYTHONUNBUFFERED": "1"}
            | dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._popen.pid

    def _read(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            with self._said:
                self.lines.append(line.rstrip("\n"))
                self._said.notify_all()

    def wait_until(self, condition: Callable[[list[str]], bool], within: float = 60.0) -> None:
        with self._said:
            assert self._said.wait_for(lambda: condition(self.lines), within), "\n".join(self.lines)

    def wait_for(self, text: str, count: int = 1, within: float = 60.0) -> list[str]:
        """Wait until so many lines with this text were said; gives them."""
        self.wait_until(lambda lines: sum(text in line for line in lines) >= count, within)
        return [line for line in self.lines if text in line]

    def ready_pids(self, count: int = 1) -> list[int]:
        lines = self.wait_for("squidmesh worker ready: pid ", count)
        return [int(line.split("pid ")[1].split(",")[0]) for line in lines]

    def send(self, signum: signal.Signals) -> None:
        self._popen.send_signal(signum)

    def send_to_another_thread(self, signum: signal.Signals) -> None:
        """As the system may do with a signal for the process: it is given to a thread that is not the main one."""
        threads = (int(thread.name) for thread in Path(f"/proc/{self.pid}/task").iterdir())
        other = max(threads)
        assert other != self.pid
        assert ctypes.CDLL(None).tgkill(self.pid, other, signum) == 0

    def ended(self, within: float = 60.0) -> int:
        """Wait for its end; gives its exit code."""
        code = self._popen.wait(within)
        self._reader.join(within)
        return code

    def stop(self, within: float = 60.0) -> int:
        self.send(signal.SIGTERM)
        return self.ended(within)

    def close(self) -> None:
        if self._popen.poll() is None:
            self._popen.kill()
            self._popen.wait(30)
        self._reader.join(30)
        if self._popen.stdout is not None:
            self._popen.stdout.close()


@contextlib.contextmanager
def process(*command: str, folder: Path, **environ: str) -> Iterator[Process]:
    running = Process(command, folder, environ)
    try:
        yield running
    finally:
        running.close()


def worker(*arguments: str, folder: Path, **environ: str) -> contextlib.AbstractContextManager[Process]:
    """``squidmesh worker`` with these arguments, in this folder."""
    return process(*SQUIDMESH, "worker", *arguments, folder=folder, **environ)


def gone(pid: int) -> bool:
    """Whether no process has this id any more (one that nobody waited for yet counts as gone)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
