"""What steps really did, written down where no database can undo it: one line of a file for each attempt's effect.

Its rule: a line is one write to a file opened for appending, so lines of several processes never mix.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from squidmesh import context

FOLDER = "STAGE_FOLDER"
"""The environment variable that says where the stage of this process is."""

LOG = "effects.jsonl"


@dataclass(frozen=True, slots=True)
class Effect:
    run: str
    step: str
    position: str
    attempt: int
    key: str
    pid: int


def folder() -> Path:
    return Path(os.environ[FOLDER])


def effect() -> None:
    """Called by a step: this attempt has had its effect."""
    here = context()
    done = Effect(here.run_id, here.step, here.position, here.attempt, here.key, os.getpid())
    line = json.dumps(asdict(done)).encode() + b"\n"
    log = os.open(folder() / LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        assert os.write(log, line) == len(line)
    finally:
        os.close(log)


def effects(stage: Path) -> list[Effect]:
    """All effects so far, in the order in which they happened."""
    log = stage / LOG
    lines = log.read_bytes().split(b"\n")[:-1] if log.exists() else []
    return [Effect(**json.loads(line)) for line in lines]
