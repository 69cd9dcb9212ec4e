"""Stubs: what a step does, replaced for a test.

The rule of this file: only the body is replaced; validation, retries, history stay as they are.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from squidmesh.core.step import Step

MISSING: Final = object()


class Stub:
    """What stands in for a step's body. ``calls`` has the arguments of each attempt, as the step's own names."""

    def __init__(self, step: Any, fn: Callable[..., Any] | None, returns: Any, raises: Any) -> None:
        if not isinstance(step, Step):
            raise TypeError(f"stub() takes a step as it is declared, such as stub(charge, …), not {step!r}")
        if fn is not None and (returns is not MISSING or raises is not None):
            raise TypeError("stub() takes a function, or returns= and raises=, not both")
        self.calls: list[dict[str, Any]] = []
        self._signature = inspect.signature(step.fn)
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
    stub = Stub(step, fn, returns, raises)
    real, was_async = step.fn, step.is_async
    made = fn if fn is not None and inspect.iscoroutinefunction(fn) else None
    _ = step.parameters, step.result  # made from the real function, before it is replaced
    step.fn, step.is_async = stub, made is not None
    try:
        yield stub
    finally:
        step.fn, step.is_async = real, was_async
