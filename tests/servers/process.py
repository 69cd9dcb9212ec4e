"""One server process that cannot outlive the process that started it.

The kernel ends it with the *thread* that started it (PR_SET_PDEATHSIG), so one thread that never ends
starts them all. A tiny launcher gives up root and sets the signal before it becomes the server: the kernel
forgets the signal when a process changes its user, and nothing of ours may run between fork and exec.
"""

import os
import pwd
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import NoReturn

START_WITHIN = 60.0  # seconds
STOP_WITHIN = 20.0  # seconds
PAUSE = 0.01  # seconds between two looks

LAUNCHER = """
import ctypes, os, sys
death_signal, parent, uid, gid = map(int, sys.argv[1:5])
if uid != os.geteuid():
    os.setgroups([]); os.setgid(gid); os.setuid(uid)
if sys.platform == "linux":
    ctypes.CDLL(None, use_errno=True).prctl(1, death_signal)
if os.getppid() != parent:
    sys.exit("the starting process is gone")
os.execv(sys.argv[5], sys.argv[5:])
"""

_Start = tuple[Callable[[], "subprocess.Popen[bytes]"], "Future[subprocess.Popen[bytes]]"]


class Process:
    """A server's process, started and ended any number of times.

    `log` takes what it writes; `user` is whom it runs as (None: whoever starts it); `death_signal` is what
    it gets when the starting process dies.
    """

    def __init__(self, name: str, *, cwd: Path, user: str | None, death_signal: signal.Signals) -> None:
        self.name = name
        self.log = cwd / f"{name}.log"
        self._cwd = cwd
        self._identity = identity(user)
        self._death_signal = death_signal
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    @property
    def pid(self) -> int:
        assert self._popen is not None, f"{self.name} was never started"
        return self._popen.pid

    def spawn(self, command: Sequence[str]) -> None:
        """Start the command, which may not be running already."""
        assert not self.alive, f"{self.name} runs already"
        launcher = [sys.executable, "-I", "-S", "-c", LAUNCHER]
        about = [str(int(self._death_signal)), str(os.getpid()), *map(str, self._identity)]

        def popen() -> subprocess.Popen[bytes]:
            with self.log.open("ab") as log:
                return subprocess.Popen(
                    [*launcher, *about, *command],
                    cwd=self._cwd,
                    env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C in a terminal is for the tests alone
                )

        started: Future[subprocess.Popen[bytes]] = Future()
        _starter().put((popen, started))
        self._popen = started.result()

    def run(self, command: Sequence[str]) -> None:
        """Run a command to its end; raise with its output when it fails."""
        self.spawn(command)
        assert self._popen is not None
        if self._popen.wait(START_WITHIN) != 0:
            self.fail(f"{command[0]} failed")

    def wait_until(self, answers: Callable[[], bool], *, within: float = START_WITHIN) -> bool:
        """Wait until the server answers; False when its process ended instead."""
        end = time.monotonic() + within
        while not answers():
            if not self.alive:
                return False
            if time.monotonic() > end:
                self.fail(f"it does not answer after {within} s")
            time.sleep(PAUSE)
        return True

    def end(self, how: signal.Signals) -> None:
        """Send the signal and wait until the process is gone; SIGKILL follows when it does not go."""
        if self._popen is None:
            return
        if self._popen.poll() is None:
            self._popen.send_signal(how)
        try:
            self._popen.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait(STOP_WITHIN)

    def written(self) -> str:
        """The last that it wrote to its log."""
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""

    def fail(self, what: str) -> NoReturn:
        raise RuntimeError(f"{self.name}: {what}\n{self.written()}")


def identity(user: str | None) -> tuple[int, int]:
    """The user and group id to run as."""
    if user is None:
        return os.geteuid(), os.getegid()
    entry = pwd.getpwnam(user)
    return entry.pw_uid, entry.pw_gid


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@cache
def _starter() -> "SimpleQueue[_Start]":
    requests: SimpleQueue[_Start] = SimpleQueue()

    def serve() -> None:
        while True:
            start, started = requests.get()
            try:
                started.set_result(start())
            except BaseException as error:
                started.set_exception(error)

    threading.Thread(target=serve, name="tests-servers", daemon=True).start()
    return requests
