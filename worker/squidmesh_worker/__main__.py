"""A worker process that a master started, with its options in the environment."""

from __future__ import annotations

import os
import socket
import sys

from squidmesh_worker.master import LIFELINE_VARIABLE, OPTIONS_VARIABLE
from squidmesh_worker.options import Options
from squidmesh_worker.process import CANNOT_START, say, work


def main() -> int:
    try:
        options = Options.from_json(os.environ.pop(OPTIONS_VARIABLE))
        lifeline = socket.socket(fileno=int(os.environ.pop(LIFELINE_VARIABLE)))
    except KeyError:
        say(": this is started by a master process; type squidmesh worker MODULE")
        return CANNOT_START
    with lifeline:
        return work(options, lifeline)


if __name__ == "__main__":
    sys.exit(main())
