"""A process without workers that says to runs what it is told to, each thing at its instant.

    python -m tests.processes.presser DATABASE BROKER FILE

``BROKER`` may be ``-``. When the file appears it has a list of presses. What came of each is a line of JSON.
Its rule: it is as early as it can be, so that what two processes say at one instant meets.
"""

import json
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from squidmesh import IllegalState, Mesh, MeshError, NothingOpen

LOOK = 0.002  # seconds between two looks for the file


@dataclass(frozen=True, slots=True)
class Press:
    """``word``: a method of a handle; ``at``: seconds since the epoch."""

    run: str
    word: str
    at: float = 0.0
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)


def write(file: Path, presses: list[Press]) -> None:
    """All of them at once, so that nobody reads half of it."""
    part = file.with_suffix(".part")
    part.write_text(json.dumps([asdict(press) for press in presses]))
    part.rename(file)


def main(database: str, broker: str, file: str) -> None:
    with Mesh(database, broker=None if broker == "-" else broker) as mesh:
        mesh.list(limit=1)  # so that it is connected
        print("presser ready", flush=True)
        while not Path(file).exists():
            time.sleep(LOOK)
        for told in json.loads(Path(file).read_text()):
            press = Press(**told)
            while (left := press.at - time.time()) > 0:
                time.sleep(left if left < LOOK else left / 2)
            try:
                came = getattr(mesh.handle(press.run), press.word)(*press.args, **press.kwargs)
            except (NothingOpen, IllegalState) as late:
                came = type(late).__name__
            except MeshError as other:
                came = repr(other)
            print("pressed " + json.dumps([press.run, press.word, came]), flush=True)
    print("presser done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
