"""Faults for tests: the worker dies at a chosen place, as by ``kill -9``.

The rule of this file: a death is an exception that nothing of the engine may catch on its way out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from squidmesh.engine import transacting, trial


class Dies(BaseException):
    """The worker is gone."""


@dataclass(slots=True)
class Fault:
    """At the next attempt (of a step, or of a handler): ``"attempt"``, before its body; ``"outcome"``, after it, before
    anything is recorded. What is recorded in the body's own transaction goes with it.
    """

    where: str

    @contextmanager
    def injected(self) -> Iterator[None]:
        real = trial.run, trial.run_beside, transacting.run

        def run(engine: Any, one: Any) -> Any:
            if self.where == "outcome":
                real[0](engine, one)
            raise Dies

        async def run_beside(engine: Any, one: Any) -> Any:
            if self.where == "outcome":
                await real[1](engine, one)
            raise Dies

        def run_in_transaction(engine: Any, one: Any, record: Any) -> Any:
            def die(*_: Any) -> bool:
                raise Dies

            if self.where == "outcome":
                real[2](engine, one, die)
            raise Dies

        trial.run, trial.run_beside, transacting.run = run, run_beside, run_in_transaction  # type: ignore[assignment]
        try:
            yield
        finally:
            trial.run, trial.run_beside, transacting.run = real
