"""What steps really did, where no database can undo it: a file that only grows, one line for each effect.

The rule of this file: a line is one write to a file opened for appending, so lines of several processes never mix; and
whoever only reads needs nothing of the engine.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

LOG = "CHAOS_EFFECTS"
"""The environment variable that says where the file is."""


@dataclass(frozen=True, slots=True)
class Effect:
    run: str
    step: str
    key: str
    attempt: int
    pid: int


def effect() -> None:
    """Called by a step or a handler: this attempt has had its effect."""
    from squidmesh import context

    here = context()
    done = Effect(here.run_id, here.step, here.key, here.attempt, os.getpid())
    line = json.dumps(asdict(done)).encode() + b"\n"
    log = os.open(os.environ[LOG], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        assert os.write(log, line) == len(line)
    finally:
        os.close(log)


def read(log: Path) -> list[Effect]:
    """All effects so far, in the order in which they happened."""
    lines = log.read_bytes().split(b"\n")[:-1] if log.exists() else []
    return [Effect(**json.loads(line)) for line in lines]
