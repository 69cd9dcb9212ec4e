"""The live interpreters of a worker, kept between the times that it holds their runs: step n costs what step 1 did.

The rule of this file: whoever holds a run has taken its interpreter out; an interpreter that was fed with what is not
durable is never put back. The oldest go first, and are closed by the thread that puts another one in.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from squidmesh.core.events import Event
from squidmesh.core.interpreter import Interpreter
from squidmesh.core.nodes import StepNode
from squidmesh.core.status import CODE_REASONS, RunStatus
from squidmesh.engine.engine import Engine
from squidmesh.ports import RunRow

KEPT = 512


@dataclass(slots=True)
class Live:
    """A run that this worker holds: ``length`` events are durable; ``pending`` ones are about to be appended."""

    run: RunRow
    worker: str  # the id it was claimed under
    interpreter: Interpreter
    length: int
    code: str = ""  # fingerprint of the code at hand
    pending: list[Event] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)  # inbox rows folded into ``pending``
    fresh: list[StepNode] = field(default_factory=list)  # scheduled, and about to be placed
    passed: list[Event] = field(default_factory=list)  # that came for it, and is meant for its successor

    @property
    def run_id(self) -> str:
        return self.run.run_id

    def recorded(self, engine: Engine, events: Sequence[Event]) -> None:
        """These events are durable now, behind those that were."""
        engine.observe(self.run_id, self.run.workflow, self.length + 1, events)
        self.length += len(events)
        self.interpreter.length = self.length

    @property
    def blocked_by_code(self) -> bool:
        return self.run.status == RunStatus.BLOCKED and self.run.reason in CODE_REASONS

    @property
    def tried(self) -> list[str]:
        """Fingerprints of the code that this run was blocked by, since it last got on."""
        return (self.run.code or "").split()


class Cache:
    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._runs: OrderedDict[str, tuple[Interpreter, int]] = OrderedDict()

    def take(self, run_id: str) -> tuple[Interpreter, int] | None:
        with self._lock:
            return self._runs.pop(run_id, None)

    def put(self, live: Live) -> None:
        with self._lock:
            before = self._runs.pop(live.run_id, None)  # put back by a thread that could not claim the run
            self._runs[live.run_id] = (live.interpreter, live.length)
            oldest = self._runs.popitem(last=False)[1] if len(self._runs) > self._kept else None
        for dropped in (before, oldest):
            if dropped is not None:
                dropped[0].close()

    def put_back(self, run_id: str, kept: tuple[Interpreter, int]) -> None:
        """Put back what was taken, unless there is a newer one by now."""
        with self._lock:
            newer = self._runs.setdefault(run_id, kept) is not kept
        if newer:
            kept[0].close()

    def clear(self) -> None:
        with self._lock:
            dropped, self._runs = list(self._runs.values()), OrderedDict()
        for interpreter, _ in dropped:
            interpreter.close()

    def __len__(self) -> int:
        return len(self._runs)
