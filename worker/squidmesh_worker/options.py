"""What a worker process is to do, and how that travels from a master to its processes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """``threads`` is per process; ``queues``: None means all that the code names; ``grace``: seconds that
    attempts in flight have to finish when the process is told to stop. ``database`` and ``broker``: None
    means those of the mesh in the modules, else those of the environment.
    """

    modules: tuple[str, ...]
    database: str | None = None
    broker: str | None = None
    processes: int = 1
    threads: int = 8
    queues: tuple[str, ...] | None = None
    grace: float = 30.0
    verbose: bool = False

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Options:
        read = json.loads(text)
        queues = read["queues"]
        return Options(
            **read | {"modules": tuple(read["modules"]), "queues": None if queues is None else tuple(queues)}
        )
