"""A process that has loaded the code and forks workers; one that dies is replaced: a new one costs no imports.

    python -m tests.processes.nursery DATABASE BROKER COUNT THREADS

``BROKER`` may be ``-``. Its rule: it never connects to anything itself, and no worker outlives it.
"""

import ctypes
import os
import signal
import sys
from types import FrameType
from typing import Any

from squidmesh import Mesh
from tests.processes import child_flows, doomed, people_flows, saga_flows  # noqa: F401 — what the workers serve

PR_SET_PDEATHSIG = 1


def work(database: str, broker: str | None, threads: int) -> None:
    """A worker of this process, until it is killed."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    doomed.beware()
    with Mesh(database, broker=broker) as mesh, mesh.worker(threads=threads):
        print(f"worker ready: {os.getpid()}", flush=True)
        while True:
            signal.pause()


def main(database: str, broker: str, count: str, threads: str) -> int:
    children: set[int] = set()

    def end(_: int, __: FrameType | None) -> Any:
        for child in children:
            os.kill(child, signal.SIGKILL)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    while True:
        while len(children) < int(count):
            child = os.fork()
            if child == 0:
                try:
                    work(database, None if broker == "-" else broker, int(threads))
                finally:
                    os._exit(1)
            children.add(child)
        died, status = os.wait()
        children.discard(died)
        print(f"worker died: {died}, {os.waitstatus_to_exitcode(status)}", flush=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
