"""What a workflow yields: commands, of which a call of a step or workflow is the most common.

The rule of this file: a command is lazy and does nothing. ``yield from command`` and ``await command`` are one yield of
the command itself, typed by ``T``; a plain ``yield command`` is the same to the interpreter.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from types import CodeType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from squidmesh.core.retry import Retry
from squidmesh.errors import DefinitionError

if TYPE_CHECKING:
    from squidmesh.core.step import Step
    from squidmesh.core.workflow import Workflow

T_co = TypeVar("T_co", covariant=True)


class Script(Protocol):
    """The running body of a workflow, as commands and the deterministic functions see it."""

    closing: bool

    def dropped(self, command: Command[Any], at: tuple[CodeType, int]) -> None: ...


current_script: ContextVar[Any] = ContextVar("squidmesh_script", default=None)
"""The body that runs in this context; set once, in the saved Context of each run."""


class Command(Generic[T_co]):
    """Something that a workflow asks for. Yield it (``yield from``, ``await``, or ``yield``) to get its result."""

    __slots__ = ("script", "taken", "file", "line", "code")

    def __init__(self, depth: int = 2) -> None:
        self.script: Script | None = current_script.get()
        self.taken = self.script is None
        if self.script is not None:
            frame = sys._getframe(depth)
            self.file, self.line, self.code = frame.f_code.co_filename, frame.f_lineno, frame.f_code

    def __iter__(self) -> Generator[Command[Any], Any, T_co]:
        return (yield self)  # type: ignore[no-any-return]

    def __await__(self) -> Generator[Command[Any], Any, T_co]:
        return (yield self)  # type: ignore[no-any-return]

    def __del__(self) -> None:
        # The guard against a call that was written but never yielded; see guards.py.
        if not getattr(self, "taken", True) and self.script is current_script.get():
            from squidmesh.core.guards import dropped

            dropped(self)

    def told(self) -> str:
        """How messages name this command."""
        return type(self).__name__.lower()


@dataclass(frozen=True, slots=True)
class Options:
    """What ``call.options(…)`` overrides for one use; None leaves what the definition says."""

    retry: Retry | None = None
    timeout: float | None = None
    queue: str | None = None
    priority: int | None = None
    key: str | None = None
    detached: bool | None = None

    def to_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for name in ("timeout", "queue", "priority", "key", "detached"):
            value = getattr(self, name)
            if value is not None:
                out[name] = value
        if self.retry is not None:
            out["retry"] = self.retry.to_json()
        return out

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Options:
        known = {k: v for k, v in stored.items() if k in cls.__slots__}
        if "retry" in known:
            known["retry"] = Retry.from_json(known["retry"])
        return cls(**known)


NO_OPTIONS = Options()


class Call(Command[T_co]):
    """A bound, validated call of a step or workflow; nothing runs until it is yielded or started."""

    __slots__ = ("definition", "input", "overrides")

    def __init__(
        self,
        definition: Step[..., Any] | Workflow[..., Any],
        input: dict[str, Any],
        overrides: Options = NO_OPTIONS,
        depth: int = 3,
    ) -> None:
        super().__init__(depth)
        self.definition = definition
        self.input = input
        self.overrides = overrides

    def options(
        self,
        *,
        retry: Retry | None = None,
        timeout: float | timedelta | None = None,
        queue: str | None = None,
        priority: int | None = None,
        key: str | None = None,
        detached: bool | None = None,
    ) -> Call[T_co]:
        """The same call with other settings for this one use.

        ``timeout`` is in seconds or a timedelta. ``key`` and ``detached`` are for calls of workflows.
        """
        if (key is not None or detached is not None) and self.definition.is_step:
            raise DefinitionError(
                f"options(key=, detached=) are for workflows; {self.told()} is a step, whose key is context().key"
            )
        given: object = key
        if given is not None and not (isinstance(given, str) and given and "\0" not in given):
            raise DefinitionError(f"{self.told()}: key takes a text that is not empty, without NUL, not {key!r}")
        if retry is not None and not isinstance(retry, Retry):
            raise DefinitionError(f"{self.told()}: retry takes Retry(max_attempts=…), not {retry!r}")
        own = self.overrides
        self.taken = True
        merged = Options(
            retry=own.retry if retry is None else retry,
            timeout=own.timeout if timeout is None else positive("timeout", timeout),
            queue=own.queue if queue is None else queue_name(self.told(), queue),
            priority=own.priority if priority is None else whole_number(f"{self.told()}: priority", priority),
            key=own.key if key is None else key,
            detached=own.detached if detached is None else detached,
        )
        return Call(self.definition, self.input, merged)

    def told(self) -> str:
        return f"`{self.definition.name}`"

    def __repr__(self) -> str:
        return f"<Call of {self.definition.name}>"


FOREVER = 100_000_000_000.0
"""Seconds; no duration is as long (3,000 years), so that every due time fits the database's integer."""


def seconds(name: str, value: object) -> float:
    """A duration (a number of seconds, or a timedelta) as seconds."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is a number of seconds or a timedelta, not {value!r}")
    if not -FOREVER < value < FOREVER:  # nan, too
        raise ValueError(f"{name} is a number of seconds that a calendar knows, not {value!r}")
    return float(value)


def positive(name: str, value: float | timedelta) -> float:
    """A duration that must be above zero."""
    if (got := seconds(name, value)) <= 0:
        raise DefinitionError(f"{name} must be above zero, not {value!r}")
    return got


def queue_name(what: str, queue: object) -> str | None:
    """The name of a queue, as given to a definition or a call; None is none."""
    if queue is None or (isinstance(queue, str) and queue.strip() and "\0" not in queue):
        return queue
    raise DefinitionError(f"{what}: queue is the name of a queue, not {queue!r}")


def whole_number(what: str, value: object) -> int | None:
    """A whole number that a database column takes; None is none."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31):
        return value
    raise DefinitionError(f"{what} is a whole number, not {value!r}")
