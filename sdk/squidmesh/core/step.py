"""Steps: decorated functions with side effects.

The rule of this file: a definition is what the code says, checked when it is declared; how it runs is the engine's.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection, Coroutine
from datetime import timedelta
from functools import cached_property
from typing import Any, Final, Generic, Literal, ParamSpec, TypeAlias, TypeVar, get_args, overload

from squidmesh.core.calls import Call, positive, queue_name, whole_number
from squidmesh.core.effects import Trait
from squidmesh.core.guards import choice, named, place_of, plain, switch
from squidmesh.core.handlers import CheckSlot, CompensateSlot, Handler, Kind, UndoSlot
from squidmesh.core.payloads import Parameters, Value
from squidmesh.core.registry import REGISTRY
from squidmesh.core.retry import Retry, exception_classes
from squidmesh.core.stepcontext import current_step
from squidmesh.errors import DefinitionError

P = ParamSpec("P")
T = TypeVar("T")

UndoWhen: TypeAlias = Literal["completed", "attempted"]
Unknowns: TypeAlias = Collection[type[BaseException] | str] | type[BaseException] | str


UNDO_RETRY: Final = Retry(max_attempts=10, initial=1, maximum=300)
"""When a failed undo is tried again, where the step says nothing else."""


class Step(Generic[P, T]):
    """A step as declared with ``@step``. Calling it gives a lazy ``Call``; ``fn`` is the plain function."""

    is_step = True

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        name: str | None = None,
        retry: Retry | None = None,
        timeout: float | timedelta | None = None,
        heartbeat_timeout: float | timedelta | None = None,
        max_lost: int | None = None,
        queue: str | None = None,
        priority: int | None = None,
        transactional: bool = False,
        pure: bool = False,
        idempotent: bool | None = None,
        irreversible: bool = False,
        pivot: bool = False,
        undo: Callable[..., Any] | None = None,
        undo_retry: Retry | None = None,
        undo_timeout: float | timedelta | None = None,
        undo_when: UndoWhen = "completed",
        compensate: Callable[..., Any] | None = None,
        max_compensate_cycles: int = 1,
        check: Callable[..., Any] | None = None,
        unknown_on: Unknowns = (),
    ) -> None:
        named("@step", fn)
        plain("@step", fn, "a step returns its value: return a list, or make it a @workflow if it is to call steps")
        self.fn: Callable[P, Any] = fn
        self.name = _name("step", name, fn)
        self.is_async = inspect.iscoroutinefunction(fn)
        self.__doc__ = fn.__doc__
        self.__name__ = fn.__name__
        self.__module__ = fn.__module__
        self.__qualname__ = fn.__qualname__
        self.__wrapped__ = fn

        self.retry = _retry(self.name, "retry", retry)
        self.timeout = _duration(self.name, "timeout", timeout)
        self.heartbeat_timeout = _duration(self.name, "heartbeat_timeout", heartbeat_timeout)
        self.max_lost = _count(self.name, "max_lost", max_lost)
        self.queue = queue_name(f"step {self.name!r}", queue)
        self.priority = whole_number(f"step {self.name!r}: priority", priority)

        self.transactional = switch(f"step {self.name!r}: transactional", transactional)
        self.pure = switch(f"step {self.name!r}: pure", pure)
        self.pivot = switch(f"step {self.name!r}: pivot", pivot)
        self.irreversible = switch(f"step {self.name!r}: irreversible", irreversible) or pivot
        again = not self.irreversible if idempotent is None else idempotent
        self.idempotent = switch(f"step {self.name!r}: idempotent", again)
        self._check_effect()

        self.undo_retry = _retry(self.name, "undo_retry", undo_retry) or UNDO_RETRY
        self.undo_timeout = _duration(self.name, "undo_timeout", undo_timeout) or self.timeout
        self.undo_when = choice(f"step {self.name!r}: undo_when", undo_when, get_args(UndoWhen))
        cycles = _count(self.name, "max_compensate_cycles", max_compensate_cycles)
        self.max_compensate_cycles = 1 if cycles is None else cycles
        self.unknown_on = _unknowns(self.name, unknown_on)
        self.handlers: dict[Kind, Handler] = {}
        for slot, given in ((self.undo, undo), (self.compensate, compensate), (self.check, check)):
            if given is not None:
                slot.fill(given)

    def _check_effect(self) -> None:
        """What a step says of its effect must agree with itself."""
        if self.transactional and self.is_async:
            raise DefinitionError(
                f"step {self.name!r} at {place_of(self.fn)} is transactional and `async def`: a database transaction "
                "belongs to one thread; write a plain `def`, which uses context().connection"
            )
        if self.pure and (self.irreversible or not self.idempotent):
            word = "pivot=True" if self.pivot else "irreversible=True" if self.irreversible else "idempotent=False"
            raise DefinitionError(
                f"step {self.name!r} at {place_of(self.fn)} is declared pure=True, it only reads, and {word}, which "
                "speaks of an effect: take one of the two away"
            )

    # --------------------------------------------------------------------------------------------- handlers

    @property
    def undo(self) -> UndoSlot[P, T]:
        """``@charge.undo``: what reverses this step after it has completed."""
        return UndoSlot(self)

    @property
    def compensate(self) -> CompensateSlot[P, T]:
        """``@charge.compensate``: what is called when this step fails for good, before the workflow sees it."""
        return CompensateSlot(self)

    @property
    def check(self) -> CheckSlot[P, T]:
        """``@charge.check``: what finds out whether the effect of a failed attempt happened."""
        return CheckSlot(self)

    @property
    def undo_handler(self) -> Handler | None:
        return self.handlers.get("undo")

    @property
    def compensate_handler(self) -> Handler | None:
        return self.handlers.get("compensate")

    @property
    def check_handler(self) -> Handler | None:
        return self.handlers.get("check")

    def add_handler(self, handler: Handler) -> None:
        """Take a handler; the same one again replaces itself, as when its module is loaded anew.

        :raises DefinitionError: there is another one of its kind.
        """
        known = self.handlers.get(handler.kind)
        if known is not None and not known.replaced_by(handler):
            raise DefinitionError(
                f"step {self.name!r} has a handler `{handler.kind}` already, {known.name} at {known.place}; "
                f"{handler.name} at {handler.place} would be a second one: make them one"
            )
        self.handlers[handler.kind] = handler
        self.__dict__.pop("traits", None)

    @cached_property
    def traits(self) -> list[str]:
        """What is true of its effect, as ``StepScheduled`` records it: words of ``Trait``, in their order."""
        true = {
            Trait.UNDO: self.undo_handler is not None,
            Trait.PURE: self.pure,
            Trait.IRREVERSIBLE: self.irreversible,
            Trait.PIVOT: self.pivot,
            Trait.TRANSACTIONAL: self.transactional,
            Trait.ONCE: not self.idempotent,
            Trait.ATTEMPTED: self.undo_handler is not None and self.undo_when == "attempted",
        }
        return [trait.value for trait in Trait if true.get(trait, False)]

    @cached_property
    def parameters(self) -> Parameters:
        return Parameters(self.fn, f"step {self.name!r}")

    @cached_property
    def result(self) -> Value:
        return Value(result_type(self.fn), f"the result of step {self.name!r}")

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Call[T]:
        if current_step.get() is not None:
            caller = sys._getframe(1)
            raise DefinitionError(
                f"{caller.f_code.co_filename}:{caller.f_lineno}: `{self.name}` is called inside step "
                f"{current_step.get().step!r}: a step runs to its end by "
                f"itself; call the plain function with {self.name}.fn(…), or yield both from the workflow"
            )
        return Call(self, self.parameters.bind(args, kwargs))

    def __repr__(self) -> str:
        return f"<step {self.name}>"


class ForgottenStep:
    """Stands for a step that today's code does not have."""

    is_step = True
    queue = retry = priority = max_lost = check_handler = compensate_handler = None
    max_compensate_cycles = 0

    def __init__(self, name: str) -> None:
        self.name = name


@overload
def step(fn: Callable[P, Coroutine[Any, Any, T]], /) -> Step[P, T]: ...
@overload
def step(fn: Callable[P, T], /) -> Step[P, T]: ...
@overload
def step(
    *,
    name: str | None = None,
    retry: Retry | None = None,
    timeout: float | timedelta | None = None,
    heartbeat_timeout: float | timedelta | None = None,
    max_lost: int | None = None,
    queue: str | None = None,
    priority: int | None = None,
    transactional: bool = False,
    pure: bool = False,
    idempotent: bool | None = None,
    irreversible: bool = False,
    pivot: bool = False,
    undo: Callable[..., Any] | None = None,
    undo_retry: Retry | None = None,
    undo_timeout: float | timedelta | None = None,
    undo_when: UndoWhen = "completed",
    compensate: Callable[..., Any] | None = None,
    max_compensate_cycles: int = 1,
    check: Callable[..., Any] | None = None,
    unknown_on: Unknowns = (),
) -> StepDecorator: ...
def step(fn: Any = None, /, **settings: Any) -> Any:
    """Declare a step: a module-level function, sync or ``async def``, that workflows call.

    :param name: what history, logs and other workers know it by; the function's name by default.
    :param retry: when a failed attempt is tried again; without it an error is final at attempt 1.
    :param timeout: seconds (or a timedelta) for one attempt; past it the attempt fails with ``TimeoutError``.
    :param heartbeat_timeout: seconds between two ``context().heartbeat()``; past it the attempt has failed.
    :param max_lost: how many attempts may be lost with their worker (5) before the step fails.
    :param queue: where it runs; by default where its run is driven.
    :param priority: the lower, the sooner, among what is due on a queue.
    :param transactional: it runs inside the database transaction that records it, on ``context().connection``: what it
        writes there and its result are committed together, once.
    :param pure: it only reads: it has no effect to be undone or asked about.
    :param idempotent: another attempt under the same key does no harm, so a lost one is tried again. By default
        everything is, except what is irreversible.
    :param irreversible: it cannot be undone; a rollback lists it as such.
    :param pivot: irreversible, and the point of no return: once completed, its scope only goes forward.
    :param undo: what reverses it after it has completed: see ``@charge.undo``, the form that type checkers know.
    :param undo_retry: when a failed undo is tried again; by default 10 attempts, 1 s to 5 min apart.
    :param undo_timeout: seconds (or a timedelta) for one attempt of the undo; the step's ``timeout`` by default.
    :param undo_when: ``"attempted"``: its undo is called, with None for the result, also where it is not known whether
        an attempt had its effect.
    :param compensate: what is called when it fails for good, before the workflow sees it: see ``@charge.compensate``.
    :param max_compensate_cycles: how often ``compensate`` may ask for a fresh cycle of attempts.
    :param check: what finds out whether the effect of a failed attempt happened: see ``@charge.check``.
    :param unknown_on: exception classes, or their names as ``module.QualName``, after which nobody knows whether the
        effect happened, besides timeouts and broken connections.
    :raises DefinitionError: a method, a lambda, a name that another function has, a value out of range, settings that
        contradict each other, a handler that could not be found or called again.
    """
    return StepDecorator(settings) if fn is None else StepDecorator(settings)(fn)


class StepDecorator:
    """``@step(…)`` with its settings, about to be given the function."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, T]], /) -> Step[P, T]: ...
    @overload
    def __call__(self, fn: Callable[P, T], /) -> Step[P, T]: ...
    def __call__(self, fn: Any, /) -> Any:
        made: Step[..., Any] = Step(fn, **self._settings)
        REGISTRY.add_step(made)
        return made


def result_type(fn: Callable[..., Any]) -> Any:
    """What a function says that it returns; Any without an annotation."""
    from squidmesh.core.payloads import type_hints

    return type_hints(fn).get("return", Any)


def _name(what: str, name: object, fn: Callable[..., Any]) -> str:
    if name is None:
        return fn.__name__
    if not isinstance(name, str) or not name.strip():
        raise DefinitionError(f"@{what}(name=…) takes a name that is not empty, not {name!r}")
    return name


def _retry(name: str, what: str, retry: Any) -> Retry | None:
    if retry is not None and not isinstance(retry, Retry):
        raise DefinitionError(f"step {name!r}: {what} takes Retry(max_attempts=…), not {retry!r}")
    return retry


def _duration(name: str, what: str, value: float | timedelta | None) -> float | None:
    return None if value is None else positive(f"step {name!r}: {what}", value)


def _unknowns(name: str, classes: Any) -> tuple[type[BaseException] | str, ...]:
    try:
        return exception_classes(f"step {name!r}: unknown_on", classes)
    except ValueError as error:
        raise DefinitionError(str(error)) from None


def _count(name: str, what: str, value: Any) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise DefinitionError(f"step {name!r}: {what} is a count of zero or more, not {value!r}")
    return value
