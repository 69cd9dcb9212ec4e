"""Faults for tests: the worker dies at a chosen place, as by ``kill -9``.

The rule of this file: a death is an exception that nothing of the engine may catch on its way out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from squidmesh.engine import trial


class Dies(BaseException):
    """The worker is gone."""


@dataclass(slots=True)
class Fault:
    """At the next attempt: ``"attempt"``, before its body; ``"outcome"``, after it, before anything is recorded."""

    where: str

    @contextmanager
    def injected(self) -> Iterator[None]:
        real, real_beside = trial.run, trial.run_beside

        def run(engine: Any, one: Any) -> Any:
            if self.where == "outcome":
                real(engine, one)
            raise Dies

        async def run_beside(engine: Any, one: Any) -> Any:
            if self.where == "outcome":
                await real_beside(engine, one)
            raise Dies

        trial.run, trial.run_beside = run, run_beside  # type: ignore[assignment]
        try:
            yield
        finally:
            trial.run, trial.run_beside = real, real_beside
