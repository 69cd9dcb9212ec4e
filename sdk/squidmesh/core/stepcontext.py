"""What a step, or a handler of one, can ask while it runs: ``context()``.

The rule of this file: the context is a view of one attempt; what it does is done by the engine, through ``Attempt``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVarTuple

from squidmesh.core.failure import Failure
from squidmesh.core.guards import plain
from squidmesh.core.handlers import importable
from squidmesh.core.payloads import Parameters
from squidmesh.errors import DefinitionError

if TYPE_CHECKING:
    from sqlalchemy import Connection

Args = TypeVarTuple("Args")


class Attempt(Protocol):
    """What the engine does for a running attempt."""

    def state(self) -> Mapping[str, list[Any]]: ...
    def checkpoint(self, value: Any) -> None: ...
    def heartbeat(self) -> None: ...
    def connection(self) -> Any: ...
    def add_undo(self, function: str, input: dict[str, Any]) -> None: ...
    def mark_irreversible(self, note: str) -> None: ...


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


@dataclass(frozen=True, slots=True)
class RollbackInfo:
    """The rollback that an undo is part of: why it is done (``cause``, ``failure``), and who wanted it."""

    id: str
    cause: str
    failure: Failure | None = None
    actor: str | None = None
    note: str | None = None


@dataclass(slots=True)
class StepContext:
    """What ``context()`` gives inside a step, or its undo, compensate or check.

    ``key`` is the same at every attempt, on every worker, after any crash: give it to what you call, as its
    idempotency key. ``forward_key`` is that of the step itself, in its handlers too: what the step did is known by it.
    ``progress`` is the latest value given to ``checkpoint``, of this attempt or an earlier one. ``rollback`` is there
    in an undo only.
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
    forward_key: str = ""
    rollback: RollbackInfo | None = None

    def __post_init__(self) -> None:
        self.forward_key = self.forward_key or self.key

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

    @property
    def connection(self) -> Connection:
        """The SQLAlchemy ``Connection`` whose transaction records this step: what is written there commits with it.

        :raises DefinitionError: the step is not transactional.
        """
        found: Connection | None = self._attempt.connection()
        if found is None:
            raise DefinitionError(
                f"step {self.step!r} has no connection: only the steps of the database's own transactions do; declare "
                "it with @step(transactional=True)"
            )
        return found

    def add_undo(self, fn: Callable[[*Args], Any], *args: *Args) -> None:
        """Register ``fn(*args)`` as an undo, durably, now: it is called if the run is rolled back.

        Also if this step then fails. Registered by a later attempt with the same arguments it is still one.

        :param fn: a module-level function, sync or ``async def``, that any worker can import.
        :raises DefinitionError: it could not be found again.
        :raises InvalidPayload: the arguments do not fit its parameters.
        """
        function = importable(fn, "context().add_undo()")
        plain("context().add_undo():", fn, "an undo is called once: write it as a plain `def` or `async def`")
        self._attempt.add_undo(function, Parameters(fn, f"undo {fn.__name__!r}").bind(args, {}))

    def mark_irreversible(self, note: str = "") -> None:
        """Say that this step, as it came out, cannot be undone: a rollback lists it as irreversible."""
        self._attempt.mark_irreversible(note)


current_step: ContextVar[Any] = ContextVar("squidmesh_step", default=None)


def context() -> StepContext:
    """The context of the step, or of the handler of one, that runs here.

    :raises DefinitionError: called outside a step.
    """
    found: StepContext | None = current_step.get()
    if found is None:
        raise DefinitionError(
            "context() is for the inside of a step; in a workflow use run_info(), elsewhere the handle of the run"
        )
    return found
