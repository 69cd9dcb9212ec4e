"""The commands besides calls, and the functions that make them.

The rule of this file: a function here checks its arguments and builds a value; the interpreter gives it meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, Literal, TypeVar, overload

from squidmesh.core.calls import Call, Command, current_script, seconds, whole_number
from squidmesh.core.failure import Failure
from squidmesh.core.guards import no_generator
from squidmesh.core.payloads import Value
from squidmesh.errors import DefinitionError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
I = TypeVar("I")  # noqa: E741
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
F = TypeVar("F")

_ANY = Value(Any, "a published value")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Sleep(Command[None]):
    """A timer: after ``duration`` seconds, or at ``until`` (microseconds since the epoch)."""

    __slots__ = ("duration", "until")

    def __init__(self, duration: float | None, until: int | None) -> None:
        super().__init__(3)
        self.duration, self.until = duration, until


class Gather(Command[Any]):
    __slots__ = ("members", "as_list")

    def __init__(self, members: Sequence[Command[Any]], as_list: bool) -> None:
        super().__init__(3)
        self.members, self.as_list = members, as_list
        adopt(members)


class FanOut(Generic[T]):
    """What a ``fan_out`` gives: ``results`` and ``failures`` are dicts by index of the item."""

    __slots__ = ("results", "failures")

    def __init__(self, results: dict[int, T], failures: dict[int, Failure]) -> None:
        self.results, self.failures = results, failures

    def values(self) -> list[T]:
        """The results, in the order of the items."""
        return [self.results[i] for i in sorted(self.results)]

    def __iter__(self) -> Iterator[T]:
        return iter(self.values())

    def __len__(self) -> int:
        return len(self.results) + len(self.failures)

    def __repr__(self) -> str:
        return f"<FanOut: {len(self.results)} results, {len(self.failures)} failures>"


class FanOutCommand(Command[FanOut[T]]):
    __slots__ = ("members", "limit", "tolerate")

    def __init__(self, members: Sequence[Command[T]], limit: int | None, tolerate: float) -> None:
        super().__init__(3)
        self.members, self.limit = members, limit
        self.tolerate = int(len(members) * tolerate) if 0 < tolerate < 1 else int(tolerate)
        adopt(members)

    def told(self) -> str:
        return "fan_out"


class Race(Command[Any]):
    __slots__ = ("members",)

    def __init__(self, members: Sequence[Command[Any]]) -> None:
        super().__init__(3)
        self.members = members
        adopt(members)


class Spawn(Command[Any]):
    __slots__ = ("call",)

    def __init__(self, call: Call[Any]) -> None:
        super().__init__(3)
        self.call = call
        call.taken = True


class Pending(Command[T_co]):
    """A call that runs beside the workflow. ``yield from`` it to wait; ``gather`` and ``race`` take it."""

    __slots__ = ("position",)

    def __init__(self, position: str) -> None:
        super().__init__(1)
        self.taken = True
        self.position = position


class Publish(Command[None]):
    __slots__ = ("name", "value")

    def __init__(self, name: str, value: Any) -> None:
        super().__init__(3)
        self.name, self.value = name, value


class Log(Command[None]):
    __slots__ = ("message", "level")

    def __init__(self, message: str, level: str) -> None:
        super().__init__(3)
        self.message, self.level = message, level


def adopt(members: Sequence[Command[Any]]) -> None:
    for member in members:
        member.taken = True


def _commands(what: str, members: Sequence[Any]) -> list[Command[Any]]:
    for n, member in enumerate(members):
        no_generator(what, n, member)
        if not isinstance(member, Command):
            raise DefinitionError(f"{what}() takes calls and other commands; member {n} is {member!r}")
    return list(members)


# ------------------------------------------------------------------------------------------------ time


def sleep(duration: float | timedelta) -> Command[None]:
    """Wait for ``duration`` (seconds or a timedelta); no worker is held. Zero or less: go on at once."""
    return Sleep(seconds("duration", duration), None)


def sleep_until(when: datetime) -> Command[None]:
    """Wait until ``when``, an aware datetime; an instant that is past: go on at once."""
    return Sleep(None, micros("when", when))


def micros(name: str, when: datetime) -> int:
    """An aware datetime as microseconds since the epoch. ``ValueError`` for a naive one."""
    if not isinstance(when, datetime):
        raise TypeError(f"{name} is an aware datetime, not {when!r}")
    if when.tzinfo is None or when.utcoffset() is None:
        raise ValueError(f"{name} must be aware: write {when!r} with a tzinfo, such as datetime.UTC")
    return (when - _EPOCH) // _MICROSECOND  # exact: a float is not, far from the epoch


# -------------------------------------------------------------------------------------------- together


@overload
def gather(a: Command[A], /) -> Command[tuple[A]]: ...
@overload
def gather(a: Command[A], b: Command[B], /) -> Command[tuple[A, B]]: ...
@overload
def gather(a: Command[A], b: Command[B], c: Command[C], /) -> Command[tuple[A, B, C]]: ...
@overload
def gather(a: Command[A], b: Command[B], c: Command[C], d: Command[D], /) -> Command[tuple[A, B, C, D]]: ...
@overload
def gather(
    a: Command[A], b: Command[B], c: Command[C], d: Command[D], e: Command[E], /
) -> Command[tuple[A, B, C, D, E]]: ...
@overload
def gather(
    a: Command[A], b: Command[B], c: Command[C], d: Command[D], e: Command[E], f: Command[F], /
) -> Command[tuple[A, B, C, D, E, F]]: ...
@overload
def gather(members: Sequence[Command[T]], /) -> Command[list[T]]: ...
@overload
def gather(*members: Command[Any]) -> Command[tuple[Any, ...]]: ...
def gather(*members: Any) -> Command[Any]:
    """Run commands side by side; gives their results in order, as a tuple, or a list for ``gather(list)``.

    On the first failure nothing new starts, what is in flight settles, then ``GatherFailed`` is raised.
    """
    if len(members) == 1 and isinstance(members[0], Sequence):
        return Gather(_commands("gather", members[0]), True)
    return Gather(_commands("gather", members), False)


def fan_out(
    call: Callable[[I], Call[T]], items: Sequence[I], limit: int | None = None, tolerate: float = 0
) -> Command[FanOut[T]]:
    """Call a step (or workflow, or a function that builds a call) for every item.

    :param limit: how many may be in flight at once; None: all.
    :param tolerate: how many may fail: a count, or a fraction below 1 of the items. Past it, nothing new starts
        and, once the others have settled, ``GatherFailed`` is raised.
    """
    given: object = items
    if not isinstance(given, Sequence):
        raise DefinitionError(
            f"fan_out takes a sequence, whose order is the same at every replay, not {type(given).__name__}: "
            "write sorted(items) or list(items)"
        )
    if limit is not None and (whole_number("fan_out: limit", limit) or 0) < 1:
        raise DefinitionError(f"fan_out: limit is a count of at least 1, or None, not {limit!r}")
    if isinstance(tolerate, bool) or tolerate < 0 or (tolerate > 1 and tolerate != int(tolerate)):
        raise DefinitionError(f"fan_out: tolerate is a count, or a fraction below 1, not {tolerate!r}")
    return FanOutCommand(_commands("fan_out", [call(item) for item in items]), limit, tolerate)


@overload
def race(a: Command[A], /) -> Command[tuple[Literal[0], A]]: ...
@overload
def race(a: Command[A], b: Command[B], /) -> Command[tuple[Literal[0], A] | tuple[Literal[1], B]]: ...
@overload
def race(
    a: Command[A], b: Command[B], c: Command[C], /
) -> Command[tuple[Literal[0], A] | tuple[Literal[1], B] | tuple[Literal[2], C]]: ...
@overload
def race(*members: Command[T]) -> Command[tuple[int, T]]: ...
def race(*members: Any) -> Command[Any]:
    """Wait for what settles first: ``(index, value)``; its failure is raised. The others are cancelled."""
    if not members:
        raise DefinitionError("race() needs at least one command")
    return Race(_commands("race", members))


def spawn(call: Call[T]) -> Command[Pending[T]]:
    """Start a call beside the workflow; gives a ``Pending`` at once, to be waited for with ``yield from``."""
    no_generator("spawn", 0, call)
    if not isinstance(call, Call):
        raise DefinitionError(f"spawn() takes the call of a step or workflow, not {call!r}")
    return Spawn(call)


# ----------------------------------------------------------------------------------------------- notes


def publish(name: str, value: Any) -> Command[None]:
    """Make a value readable from outside (``handle.published(name)``); recorded with the next state change."""
    given: object = name
    if not isinstance(given, str) or not given:
        raise DefinitionError(f"publish() takes a name first, not {given!r}")
    return Publish(name, _ANY.encode(value))


def log(message: str, level: str = "info") -> Command[None]:
    """Write a line into the run's history (and the host's logs), once, however often the code is replayed."""
    if level not in ("debug", "info", "warning", "error", "critical"):
        raise DefinitionError(f"log(): level is debug, info, warning, error or critical, not {level!r}")
    return Log(str(message), level)


def in_workflow() -> bool:
    return current_script.get() is not None
