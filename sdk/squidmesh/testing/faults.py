"""Faults for tests: the worker dies at a chosen place, as by ``kill -9``; bells that get lost, or come twice.

The rule of this file: a death is an exception that nothing of the engine may catch on its way out. A fault is that of
one mesh: others in the process do not feel it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn, Self

from squidmesh.core.handlers import HandlerSlot
from squidmesh.engine import transacting, trial

Lose = Literal["attempt", "outcome"]
Bells = Literal["drop", "double"]

_ONE_AT_A_TIME = threading.RLock()


class Dies(BaseException):
    """The worker is gone."""


@dataclass(eq=False, slots=True)
class Fault:
    """At the next call (of a step, or of a handler): ``"attempt"``, before its body; ``"outcome"``, after it, before
    anything is recorded. What is recorded in the body's own transaction goes with it.

    As a context manager it is over at the end of the block. ``happened`` counts.
    """

    where: Lose
    step: str | None = None  # its name; None: whichever is called next
    kind: str | None = None  # attempt, undo, compensate, check; None: any
    times: int = 1
    happened: int = 0
    _pending: list[Fault] = field(default_factory=list, repr=False)

    @classmethod
    def of(cls, step: Any, lose: str, times: int) -> Fault:
        """:param step: a step, its name, or a handler of one, such as ``charge.undo``; None: any."""
        if lose not in ("attempt", "outcome"):
            raise ValueError(f"lose is 'attempt' or 'outcome', not {lose!r}")
        if times < 1:
            raise ValueError(f"times is a count of at least 1, not {times!r}")
        match step:
            case None:
                return cls(lose, times=times)  # type: ignore[arg-type]
            case HandlerSlot(step=of, kind=kind):
                return cls(lose, of.name, kind, times)  # type: ignore[arg-type]
            case str() | object(name=str()):
                return cls(lose, getattr(step, "name", step), "attempt", times)  # type: ignore[arg-type]
            case _:
                raise TypeError(f"a fault is at a step, its name, or a handler such as charge.undo, not {step!r}")

    @property
    def over(self) -> bool:
        return self.happened >= self.times

    def hits(self, call: Any) -> bool:
        """Whether the worker dies at this call."""
        named = self.step is None or call.name == self.step
        return not self.over and named and self.kind in (None, call.kind)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self in self._pending:
            self._pending.remove(self)


@contextmanager
def injected(faults: list[Fault], mesh: Any) -> Iterator[None]:
    """While the block lasts, the first of these faults that hits a call of this mesh kills its worker."""
    with _ONE_AT_A_TIME:
        real = trial.run, trial.run_beside, transacting.run
        dead: list[Fault] = []  # what has killed it: calls beside that one die with it

        def due(engine: Any, one: Any) -> Fault | None:
            if engine.mesh is not mesh:
                return None
            return next((fault for fault in (*dead, *faults) if fault in dead or fault.hits(one)), None)

        def die(fault: Fault) -> NoReturn:
            if not dead:
                dead.append(fault)
                fault.happened += 1
            raise Dies

        def run(engine: Any, one: Any) -> Any:
            if (fault := due(engine, one)) is None:
                return real[0](engine, one)
            if fault.where == "outcome":
                real[0](engine, one)
            die(fault)

        async def run_beside(engine: Any, one: Any) -> Any:
            if (fault := due(engine, one)) is None:
                return await real[1](engine, one)
            if fault.where == "outcome":
                await real[1](engine, one)
            die(fault)

        def run_in_transaction(engine: Any, one: Any, record: Any) -> Any:
            if (fault := due(engine, one)) is None:
                return real[2](engine, one, record)
            if fault.where == "outcome":
                real[2](engine, one, lambda *_: die(fault))
            die(fault)

        trial.run, trial.run_beside, transacting.run = run, run_beside, run_in_transaction  # type: ignore[assignment]
        try:
            yield
        finally:
            trial.run, trial.run_beside, transacting.run = real
