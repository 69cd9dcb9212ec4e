"""Stubs: what a step, or a handler of one, does, replaced for a test.

The rule of this file: only the body is replaced; validation, retries, history stay as they are.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from squidmesh.core.handlers import Handler, HandlerSlot
from squidmesh.core.step import Step

MISSING: Final = object()


class Stub:
    """What stands in for a body. ``calls`` has the arguments of each attempt, by the names that the real one has."""

    def __init__(self, real: Callable[..., Any], fn: Callable[..., Any] | None, returns: Any, raises: Any) -> None:
        if fn is not None and (returns is not MISSING or raises is not None):
            raise TypeError("stub() takes a function, or returns= and raises=, not both")
        self.calls: list[dict[str, Any]] = []
        self._signature = inspect.signature(real)
        self._fn, self._returns = fn, None if returns is MISSING else returns
        self._raises = list(raises) if isinstance(raises, (list, tuple)) else raises

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        bound = self._signature.bind(*args, **kwargs)
        self.calls.append(dict(bound.arguments))
        error = self._raises
        if isinstance(error, list):
            error = error.pop(0) if error else None
        if error is not None:
            raise error
        return self._fn(*args, **kwargs) if self._fn is not None else self._returns


@contextmanager
def stubbed(step: Any, fn: Callable[..., Any] | None, returns: Any, raises: Any) -> Iterator[Stub]:
    target = _target(step)
    stub = Stub(target.fn, fn, returns, raises)
    real, was_async = target.fn, target.is_async
    target.fn, target.is_async = stub, inspect.iscoroutinefunction(fn)
    try:
        yield stub
    finally:
        target.fn, target.is_async = real, was_async


def _target(step: Any) -> Step[..., Any] | Handler:
    match step:
        case Step():
            _ = step.parameters, step.result  # made from the real function, before it is replaced
            return step
        case HandlerSlot(handler=Handler() as handler):
            return handler
        case HandlerSlot(step=Step(name=name), kind=kind):
            raise TypeError(f"stub({name}.{kind}, …): step {name!r} has no {kind}; declare one with @{name}.{kind}")
        case _:
            raise TypeError(
                f"stub() takes a step as it is declared, such as stub(charge, …), or a handler of one, such as "
                f"stub(charge.undo, …), not {step!r}"
            )
