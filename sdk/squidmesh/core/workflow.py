"""Workflows: decorated generator functions (or ``async def``) that yield commands.

The rule of this file: a definition is what the code says; it holds no state of any run.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Sequence
from datetime import timedelta
from functools import cached_property
from typing import Any, Generic, Literal, ParamSpec, TypeAlias, TypeVar, get_args, get_origin, overload

from squidmesh.core.calls import Call, Command, positive, queue_name, whole_number
from squidmesh.core.guards import body_kind, choice, named, place_of, switch
from squidmesh.core.payloads import Parameters, Value
from squidmesh.core.registry import REGISTRY
from squidmesh.core.schedule import Cron, Every, Trigger
from squidmesh.core.schedule import triggers as checked_triggers
from squidmesh.core.step import _name, result_type
from squidmesh.errors import DefinitionError, WorkflowError

P = ParamSpec("P")
T = TypeVar("T")

Flow: TypeAlias = Generator[Command[Any], Any, T]
"""What a workflow, or a helper generator of one, returns: ``def checkout(order: Order) -> Flow[Label]``."""

OnFailure: TypeAlias = Literal["undo", "keep"]
OnIrreversible: TypeAlias = Literal["report", "halt", "refuse"]
OnUndoFailure: TypeAlias = Literal["halt", "continue"]


class Workflow(Generic[P, T]):
    """A workflow as declared with ``@workflow``. Calling it gives a lazy ``Call``; ``fn`` is the plain function."""

    is_step = False

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        name: str | None = None,
        version: int = 1,
        triggers: Sequence[Cron | Every] = (),
        queue: str | None = None,
        fail_on: tuple[type[BaseException], ...] | type[BaseException] = (),
        on_failure: OnFailure = "undo",
        on_irreversible: OnIrreversible = "report",
        on_undo_failure: OnUndoFailure = "halt",
        strict_undo: bool = False,
        undo_retention: float | timedelta | None = None,
    ) -> None:
        named("@workflow", fn)
        self.kind = body_kind(fn)
        self.fn: Callable[P, Any] = fn
        self.name = _name("workflow", name, fn)
        if (whole_number(f"workflow {self.name!r}: version", version) or 0) < 1:
            raise DefinitionError(f"workflow {self.name!r}: version is a whole number from 1, not {version!r}")
        self.version = version
        self.queue = queue_name(f"workflow {self.name!r}", queue)
        self.ends_on: tuple[type[BaseException], ...] = (WorkflowError, *_exceptions(self.name, fail_on))
        own = f"workflow {self.name!r}"
        self.on_failure = choice(f"{own}: on_failure", on_failure, get_args(OnFailure))
        self.on_irreversible = choice(f"{own}: on_irreversible", on_irreversible, get_args(OnIrreversible))
        self.on_undo_failure = choice(f"{own}: on_undo_failure", on_undo_failure, get_args(OnUndoFailure))
        self.strict_undo = switch(f"{own}: strict_undo", strict_undo)
        self.undo_retention = None if undo_retention is None else positive(f"{own}: undo_retention", undo_retention)
        self.__doc__ = fn.__doc__
        self.__name__ = fn.__name__
        self.__module__ = fn.__module__
        self.__qualname__ = fn.__qualname__
        self.__wrapped__ = fn
        self.beside: Workflow[..., Any] | None = None  # of a companion: the workflow whose calls it defers
        self.triggers: tuple[Trigger, ...] = checked_triggers(self, triggers) if triggers != () else ()

    @cached_property
    def parameters(self) -> Parameters:
        return Parameters(self.fn, f"workflow {self.name!r}")

    @cached_property
    def result(self) -> Value:
        return Value(self._returns(), f"the result of workflow {self.name!r}")

    def _returns(self) -> Any:
        declared = result_type(self.fn)
        if self.kind == "async" or declared is Any:
            return declared
        if get_origin(declared) is Generator or getattr(get_origin(declared), "__name__", "") == "Generator":
            return get_args(declared)[2] if len(get_args(declared)) == 3 else Any
        raise DefinitionError(
            f"workflow {self.name!r} at {place_of(self.fn)} is declared to return {declared!r}: "
            "write `-> Flow[…]` with the type of its result"
        )

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Call[T]:
        return Call(self, self.parameters.bind(args, kwargs))

    def __repr__(self) -> str:
        return f"<workflow {self.name} version {self.version}>"


@overload
def workflow(fn: Callable[P, Generator[Command[Any], Any, T]], /) -> Workflow[P, T]: ...
@overload
def workflow(fn: Callable[P, Coroutine[Any, Any, T]], /) -> Workflow[P, T]: ...
@overload
def workflow(
    *,
    name: str | None = None,
    version: int = 1,
    triggers: Sequence[Cron | Every] = (),
    queue: str | None = None,
    fail_on: tuple[type[BaseException], ...] | type[BaseException] = (),
    on_failure: OnFailure = "undo",
    on_irreversible: OnIrreversible = "report",
    on_undo_failure: OnUndoFailure = "halt",
    strict_undo: bool = False,
    undo_retention: float | timedelta | None = None,
) -> WorkflowDecorator: ...
def workflow(fn: Any = None, /, **settings: Any) -> Any:
    """Declare a workflow: a module-level generator function that yields commands, or an ``async def`` that awaits them.

    :param name: what runs know it by; the function's name by default.
    :param version: runs stay on the version they started with while it is registered; new ones take the highest.
    :param triggers: when runs of it start by themselves: ``[Cron("0 2 * * *", input={…}), Every(600)]``. A mesh with a
        worker keeps a schedule for each.
    :param queue: where its runs are driven ("default").
    :param fail_on: exceptions besides ``WorkflowError`` that end a run as failed; any other is broken code, and
        blocks the run until the code is mended.
    :param on_failure: ``"undo"``: a failed run is rolled back before it ends; ``"keep"``: nothing of it is undone until
        a person says so (``handle.rollback()``).
    :param on_irreversible: what a rollback does at a step that cannot be undone: ``"report"`` lists it and goes on,
        ``"halt"`` waits there for a person, ``"refuse"`` undoes nothing at all if there is one.
    :param on_undo_failure: what it does where an undo has failed for good: ``"halt"`` waits there for a person,
        ``"continue"`` undoes the rest first.
    :param strict_undo: a step that is neither pure nor irreversible and has no undo is refused when it is scheduled.
    :param undo_retention: seconds (or a timedelta) after its end in which a run can still be rolled back; None: always.
    :raises DefinitionError: a method, a function that yields nothing, a name and version that another one has, a value
        out of range.
    """
    return WorkflowDecorator(settings) if fn is None else WorkflowDecorator(settings)(fn)


class WorkflowDecorator:
    """``@workflow(…)`` with its settings, about to be given the function."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings

    @overload
    def __call__(self, fn: Callable[P, Generator[Command[Any], Any, T]], /) -> Workflow[P, T]: ...
    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, T]], /) -> Workflow[P, T]: ...
    def __call__(self, fn: Any, /) -> Any:
        made: Workflow[..., Any] = Workflow(fn, **self._settings)
        REGISTRY.add_workflow(made)
        return made


def _exceptions(name: str, fail_on: Any) -> tuple[type[BaseException], ...]:
    wanted = fail_on if isinstance(fail_on, (tuple, list, set, frozenset)) else (fail_on,)
    for cls in wanted:
        if not (isinstance(cls, type) and issubclass(cls, BaseException)):
            raise DefinitionError(f"workflow {name!r}: fail_on takes exception classes, not {cls!r}")
    return tuple(wanted)
