"""Steps: decorated functions with side effects.

The rule of this file: a definition is what the code says, checked when it is declared; how it runs is the engine's.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Coroutine
from datetime import timedelta
from functools import cached_property
from typing import Any, Generic, ParamSpec, TypeVar, overload

from squidmesh.core.calls import Call, positive, queue_name, whole_number
from squidmesh.core.guards import named, plain
from squidmesh.core.payloads import Parameters, Value
from squidmesh.core.registry import REGISTRY
from squidmesh.core.retry import Retry
from squidmesh.core.stepcontext import current_step
from squidmesh.errors import DefinitionError

P = ParamSpec("P")
T = TypeVar("T")


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
    ) -> None:
        named("step", fn)
        plain(fn)
        self.fn: Callable[P, Any] = fn
        self.name = _name("step", name, fn)
        self.retry = _retry(self.name, retry)
        self.timeout = None if timeout is None else positive(f"step {self.name!r}: timeout", timeout)
        self.heartbeat_timeout = (
            None if heartbeat_timeout is None else positive(f"step {self.name!r}: heartbeat_timeout", heartbeat_timeout)
        )
        self.max_lost = _count(self.name, "max_lost", max_lost)
        self.queue = queue_name(f"step {self.name!r}", queue)
        self.priority = whole_number(f"step {self.name!r}: priority", priority)
        self.is_async = inspect.iscoroutinefunction(fn)
        self.__doc__ = fn.__doc__
        self.__name__ = fn.__name__
        self.__module__ = fn.__module__
        self.__qualname__ = fn.__qualname__
        self.__wrapped__ = fn

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
    :raises DefinitionError: a method, a lambda, a name that another function has, a value out of range.
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


def _retry(name: str, retry: Any) -> Retry | None:
    if retry is not None and not isinstance(retry, Retry):
        raise DefinitionError(f"step {name!r}: retry takes Retry(max_attempts=…), not {retry!r}")
    return retry


def _count(name: str, what: str, value: Any) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise DefinitionError(f"step {name!r}: {what} is a count of zero or more, not {value!r}")
    return value
