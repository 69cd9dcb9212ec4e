"""What a step can ask while it runs: ``context()``.

The rule of this file: the context is a view of one attempt; what it does is done by the engine, through ``Attempt``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from squidmesh.errors import DefinitionError


class Attempt(Protocol):
    """What the engine does for a running attempt."""

    def state(self) -> Mapping[str, list[Any]]: ...
    def checkpoint(self, value: Any) -> None: ...
    def heartbeat(self) -> None: ...


class State(Mapping[str, Any]):
    """Results of the steps that had completed when this attempt was scheduled, by step name, as JSON values.

    ``state["charge"]`` is the latest result of that step, ``state.all("charge")`` all of them, in order.
    """

    def __init__(self, results: Mapping[str, list[Any]]) -> None:
        self._results = results

    def __getitem__(self, step: str) -> Any:
        if step not in self._results:
            known = ", ".join(self._results) or "none"
            raise KeyError(f"no result of {step!r} when this attempt was scheduled; there were: {known}")
        return self._results[step][-1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)

    def all(self, step: str) -> list[Any]:
        return list(self._results.get(step, ()))


@dataclass(slots=True)
class StepContext:
    """What ``context()`` gives inside a step.

    ``key`` is the same at every attempt, on every worker, after any crash: give it to what you call, as its
    idempotency key. ``progress`` is the latest value given to ``checkpoint``, of this attempt or an earlier one.
    """

    run_id: str
    step: str
    position: str
    attempt: int
    key: str
    progress: Any
    mesh: Any
    _attempt: Attempt
    _state: State | None = None

    @property
    def state(self) -> State:
        if self._state is None:
            self._state = State(self._attempt.state())
        return self._state

    def checkpoint(self, value: Any) -> None:
        """Store ``value`` (JSON) durably, now; a later attempt finds it in ``progress``."""
        self._attempt.checkpoint(value)
        self.progress = value

    def heartbeat(self) -> None:
        """Say that the step is alive: restarts ``heartbeat_timeout``.

        :raises Cancelled: the run was cancelled, or does not need this step any more.
        """
        self._attempt.heartbeat()


current_step: ContextVar[Any] = ContextVar("squidmesh_step", default=None)


def context() -> StepContext:
    """The context of the step that runs here.

    :raises DefinitionError: called outside a step.
    """
    found: StepContext | None = current_step.get()
    if found is None:
        raise DefinitionError(
            "context() is for the inside of a step; in a workflow use run_info(), elsewhere the handle of the run"
        )
    return found
