"""Several worker processes under one: started together, stopped together, replaced when one dies.

The rule of this file: the master serves nothing and knows no database. A process that never came up ends
everything (starting it again would not help); one that was at work and died is replaced.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace

from squidmesh_worker.options import Options
from squidmesh_worker.process import CUT_SHORT, OK, say

OPTIONS_VARIABLE = "SQUIDMESH_WORKER_OPTIONS"
LIFELINE_VARIABLE = "SQUIDMESH_WORKER_LIFELINE"

#: Seconds that a process has beyond its grace until it is killed, and the longest pause before a replacement.
_LEEWAY = 5.0
_LONGEST_PAUSE = 10.0


@dataclass(slots=True)
class _Child:
    process: subprocess.Popen[bytes]
    lifeline: socket.socket
    ready: bool = False


@dataclass(slots=True)
class _Seat:
    """A place for one process: who has it, or when it may be taken again."""

    child: _Child | None = None
    free_at: float = 0.0
    pause: float = field(default=0.5)


class Master:
    """Runs ``options.processes`` worker processes until SIGTERM or SIGINT."""

    def __init__(self, options: Options) -> None:
        self._child_options = replace(options, processes=1)
        self._seats = [_Seat() for _ in range(options.processes)]
        self._grace = options.grace
        self._signals = 0
        self._kill_at = float("inf")
        self._code = OK
        self._was_ready = False

    def run(self) -> int:
        """Start them, and stay until all of them have ended; the exit code."""
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._told)
        while True:
            if not self._signals:
                self._fill_seats()
            children = [seat.child for seat in self._seats if seat.child is not None]
            if self._signals and not children:
                return self._code
            self._listen(children)
            if time.monotonic() > self._kill_at:
                self._kill_at = float("inf")
                self._send(signal.SIGKILL)

    def _fill_seats(self) -> None:
        for seat in self._seats:
            if seat.child is None and time.monotonic() >= seat.free_at:
                seat.child = self._start()
                if self._signals:  # told while it was being started
                    seat.child.process.send_signal(signal.SIGTERM)

    def _start(self) -> _Child:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "squidmesh_worker"],
                env=os.environ
                | {OPTIONS_VARIABLE: self._child_options.to_json(), LIFELINE_VARIABLE: str(theirs.fileno())},
                pass_fds=[theirs.fileno()],
            )
        return _Child(process, ours)

    def _listen(self, children: list[_Child]) -> None:
        """Wait for news of the processes, or a moment."""
        readable, _, _ = select.select([child.lifeline for child in children], [], [], 0.2)
        for seat in self._seats:
            child = seat.child
            if child is None or child.lifeline not in readable:
                continue
            try:
                news = child.lifeline.recv(16)
            except ConnectionError:
                news = b""
            if news:
                child.ready = self._was_ready = True
                seat.pause = 0.5
            else:
                self._ended(seat, child)

    def _ended(self, seat: _Seat, child: _Child) -> None:
        code = child.process.wait()
        child.lifeline.close()
        seat.child = None
        if self._signals:
            self._code = self._code or (max(0, code))
            return
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        if not child.ready and not self._was_ready:
            say(f": process {child.process.pid} {how} before it was ready; stopping the others")
            self._code = code if code > 0 else CUT_SHORT
            self._stop()
            return
        pause = 0.0 if child.ready else seat.pause
        seat.pause = min(_LONGEST_PAUSE, seat.pause * 2)
        seat.free_at = time.monotonic() + pause
        say(f": process {child.process.pid} {how}; another one is started" + (f" in {pause:g} s" if pause else ""))

    def _told(self, signum: int, frame: object) -> None:
        self._stop()

    def _stop(self) -> None:
        """The first time the processes are asked to end, the second time they are ended."""
        self._signals += 1
        if self._signals == 1:
            self._kill_at = time.monotonic() + self._grace + _LEEWAY
            self._send(signal.SIGTERM)
        else:
            self._code = CUT_SHORT
            self._send(signal.SIGKILL)

    def _send(self, signum: signal.Signals) -> None:
        for seat in self._seats:
            if seat.child is not None:
                seat.child.process.send_signal(signum)
