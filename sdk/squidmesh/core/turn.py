"""The body of a workflow and the one place that resumes it: owner of the yield.

One thread at a time drives a body, always inside the one ``Context`` that was made for it. A body that is put away
(eviction, cancel, deploy) is closed here; what it yields meanwhile is thrown away: nothing is recorded or raised.
"""

from __future__ import annotations

import contextvars
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

from squidmesh.core.calls import current_script


@dataclass(frozen=True, slots=True)
class Place:
    """A line of code, and the function it stands in."""

    file: str
    line: int
    function: str


@dataclass(frozen=True, slots=True)
class Yielded:
    value: Any


@dataclass(frozen=True, slots=True)
class Returned:
    value: Any


@dataclass(frozen=True, slots=True)
class Raised:
    error: BaseException


_LIBRARIES = (*{sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")}, "<frozen ")

Turn = Yielded | Returned | Raised


class Body:
    """A generator or coroutine of a workflow, at the place where it waits."""

    __slots__ = ("_context", "_fn", "_args", "_kwargs", "_inner", "_last")

    def __init__(self, fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], script: Any) -> None:
        self._context = contextvars.Context()
        self._context.run(current_script.set, script)
        self._fn, self._args, self._kwargs = fn, args, kwargs
        self._inner: Any = None
        self._last: Place | None = None

    def begin(self) -> Turn:
        return self._context.run(self._begin)

    def _begin(self) -> Turn:
        self._inner = self._fn(*self._args, **self._kwargs)
        return self._resume(self._inner.send, None)

    def send(self, value: Any) -> Turn:
        return self._context.run(self._resume, self._inner.send, value)

    def throw(self, error: BaseException) -> Turn:
        return self._context.run(self._resume, self._inner.throw, error)

    def _resume(self, resume: Callable[[Any], Any], value: Any) -> Turn:
        try:
            return Yielded(resume(value))
        except StopIteration as stop:
            return Returned(stop.value)
        except BaseException as error:  # noqa: BLE001 - whatever the body lets out is a fact to judge, not an error of the driver
            self._last = self._raised_at(error)
            return Raised(error)

    def close(self, script: Any) -> None:
        """Put the body away: its ``finally`` blocks run, and what they yield is discarded."""
        script.closing = True
        if self._inner is None:
            return
        for _ in range(1_000):  # a body that yields in its finally is closed again; one that never ends is let be
            try:
                self._context.run(self._inner.close)
                return
            except RuntimeError as refused:
                if "ignored GeneratorExit" not in str(refused):
                    return
            except BaseException:  # noqa: BLE001 - an error while it is put away is not the run's
                return

    def place(self) -> Place:
        """Where the body stands: the innermost frame of it and its helper generators."""
        if self._last is not None:
            return self._last
        inner, frame = self._inner, None
        while inner is not None:
            found = getattr(inner, "gi_frame", None) or getattr(inner, "cr_frame", None)
            if found is None or found.f_globals.get("__name__") == "squidmesh.core.calls":
                break
            if frame is None or self._is_theirs(found):
                frame = found
            inner = getattr(inner, "gi_yieldfrom", None) or getattr(inner, "cr_await", None)
        if frame is None:
            code = self._fn.__code__
            return Place(code.co_filename, code.co_firstlineno, code.co_qualname)
        return Place(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname)

    def _raised_at(self, error: BaseException) -> Place | None:
        """The last line of a traceback that is theirs."""
        place, step = None, error.__traceback__
        while step is not None:
            code = step.tb_frame.f_code
            if self._is_theirs(step.tb_frame):
                place = Place(code.co_filename, step.tb_lineno, code.co_qualname)
            step = step.tb_next
        return place

    def _is_theirs(self, frame: FrameType) -> bool:
        """Whether a frame is of the code of those who wrote the workflow: no library, and not Squid Mesh."""
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] == "squidmesh":
            return module == self._fn.__module__
        file = frame.f_code.co_filename
        return not file.startswith(_LIBRARIES) or module.partition(".")[0] == self._fn.__module__.partition(".")[0]
