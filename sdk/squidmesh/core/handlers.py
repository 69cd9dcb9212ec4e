"""What is called about a step besides the step itself: its undo, its compensate, its check, and registered undos.

A handler is declared beside its step (``@charge.undo``) and called with the result or the failure, then with the step's
own arguments by their places; only what the step takes by name alone is passed by name. Type checkers know a handler by
its step, and want the names and defaults of its parameters to be the step's too.

The rule of this file: a handler is found again by its name, by any worker, long after. What could not be found, or
could not be called with what history has for it, is refused when it is declared.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter
from operator import attrgetter
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Concatenate,
    Final,
    Generic,
    Literal,
    ParamSpec,
    TypeAlias,
    TypeVar,
    Union,
    get_args,
    get_origin,
    overload,
)

from squidmesh.core.effects import Applied, Cleaned, NotApplied, NotNeeded, RetryStep, StillUnknown
from squidmesh.core.failure import Failure
from squidmesh.core.guards import named, place_of, plain
from squidmesh.core.payloads import type_hints
from squidmesh.errors import DefinitionError

if TYPE_CHECKING:
    from squidmesh.core.step import Step

P = ParamSpec("P")
T = TypeVar("T")
UndoAnswer = TypeVar("UndoAnswer", bound=NotNeeded | Coroutine[Any, Any, NotNeeded | None] | None)

Kind: TypeAlias = Literal["undo", "compensate", "check"]

_FIRST: Final[Mapping[Kind, tuple[str, ...]]] = {"undo": ("result",), "compensate": ("failure",), "check": ()}
"""What a handler is given before the step's arguments."""


@dataclass(slots=True)
class Handler:
    """A function that stands by a step. ``name`` is its ``module.qualname``, ``place`` where it is written."""

    kind: Kind
    fn: Callable[..., Any]
    is_async: bool
    name: str
    place: str

    def bind(
        self, first: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What to call ``fn`` with.

        ``first`` is the step's result (for an undo) or its failure (for a compensate), and is passed over by a check;
        ``args`` and ``kwargs`` are the step's arguments as its ``parameters.decode`` gives them.
        """
        return (tuple(args) if self.kind == "check" else (first, *args)), dict(kwargs)

    def replaced_by(self, other: Handler) -> bool:
        """Whether the other is this one again, of a module that was loaded anew."""
        return (self.name, self.place.rpartition(":")[0]) == (other.name, other.place.rpartition(":")[0])


# ------------------------------------------------------------------------------------------- ``@charge.undo``


@dataclass(frozen=True, slots=True)
class HandlerSlot(Generic[P, T]):
    """The place of a handler on a step: a decorator for a function to fill it, which is given back as it was."""

    kind: ClassVar[Kind]
    step: Step[P, T]

    @property
    def handler(self) -> Handler | None:
        return self.step.handlers.get(self.kind)

    def fill(self, fn: Any) -> Any:
        self.step.add_handler(declared(self.step, self.kind, fn))
        return fn


class UndoSlot(HandlerSlot[P, T]):
    """``@charge.undo``: ``(result, *the step's arguments) -> None | NotNeeded``."""

    __slots__ = ()
    kind = "undo"

    def __call__(self, fn: Callable[Concatenate[T, P], UndoAnswer], /) -> Callable[Concatenate[T, P], UndoAnswer]:
        return self.fill(fn)  # type: ignore[no-any-return]


class CompensateSlot(HandlerSlot[P, T]):
    """``@charge.compensate``: ``(failure, *the step's arguments) -> the step's result | Cleaned | RetryStep``."""

    __slots__ = ()
    kind = "compensate"

    @overload
    def __call__(
        self, fn: Callable[Concatenate[Failure, P], T | Cleaned | RetryStep], /
    ) -> Callable[Concatenate[Failure, P], T | Cleaned | RetryStep]: ...
    @overload
    def __call__(
        self, fn: Callable[Concatenate[Failure, P], Coroutine[Any, Any, T | Cleaned | RetryStep]], /
    ) -> Callable[Concatenate[Failure, P], Coroutine[Any, Any, T | Cleaned | RetryStep]]: ...
    def __call__(self, fn: Any, /) -> Any:
        return self.fill(fn)


class CheckSlot(HandlerSlot[P, T]):
    """``@charge.check``: ``(*the step's arguments) -> Applied(its result) | NotApplied | StillUnknown``."""

    __slots__ = ()
    kind = "check"

    @overload
    def __call__(
        self, fn: Callable[P, Applied[T] | NotApplied | StillUnknown], /
    ) -> Callable[P, Applied[T] | NotApplied | StillUnknown]: ...
    @overload
    def __call__(
        self, fn: Callable[P, Coroutine[Any, Any, Applied[T] | NotApplied | StillUnknown]], /
    ) -> Callable[P, Coroutine[Any, Any, Applied[T] | NotApplied | StillUnknown]]: ...
    def __call__(self, fn: Any, /) -> Any:
        return self.fill(fn)


# --------------------------------------------------------------------------------- checks of what is declared


def declared(step: Step[..., Any], kind: Kind, fn: Any) -> Handler:
    """The handler of this function for a step.

    :raises DefinitionError: it could not be found again, or not be called, or the step can have no such handler.
    """
    what = f"@{step.name}.{kind}"
    name = named(what, fn)
    plain(what, fn, "it is called once and returns its answer: write it as a plain `def` or `async def`")
    if (why := _conflict(step, kind, fn)) is not None:
        raise DefinitionError(f"{what} {fn.__qualname__} at {place_of(fn)}: step {step.name!r} {why}")
    _findable(what, step, fn)
    _callable(what, step, kind, fn)
    if kind == "undo" and step.undo_when == "attempted":
        _takes_none(what, fn)
    return Handler(kind, fn, inspect.iscoroutinefunction(fn), name, place_of(fn))


def _conflict(step: Step[..., Any], kind: Kind, fn: Callable[..., Any]) -> str | None:
    """What in the step's own settings speaks against such a handler, and what to do."""
    if step.pure:
        return f"is pure, it has no effect to be asked about: take pure=True away, or the {kind}"
    if kind == "undo" and step.irreversible:
        word = "pivot" if step.pivot else "irreversible"
        return (
            f"is declared {word}=True and cannot have an undo: take one of the two away; an undo that finds out "
            "that it comes too late raises Irreversible"
        )
    if kind == "undo" and step.transactional and inspect.iscoroutinefunction(fn):
        return "is transactional, and so is its undo: write a plain `def`, which uses context().connection"
    return None


def _findable(what: str, step: Step[..., Any], fn: Callable[..., Any]) -> None:
    around = fn.__qualname__.rpartition(".")[0]
    if around and (fn.__module__, around) != (step.__module__, step.__qualname__.rpartition(".")[0]):
        raise DefinitionError(
            f"{what} {fn.__qualname__} at {place_of(fn)} is a function inside another one, where no other worker finds "
            f"it: make it a module-level function (or declare step {step.name!r} beside it)"
        )


def _callable(what: str, step: Step[..., Any], kind: Kind, fn: Callable[..., Any]) -> None:
    """Check a handler's signature by a call in which each argument is the name that the step has for it."""
    own, of_step = inspect.signature(fn), inspect.signature(step.fn).parameters
    places = [n for n, p in of_step.items() if p.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)]
    by_name = {n: n for n, p in of_step.items() if p.kind is Parameter.KEYWORD_ONLY}
    try:
        bound = own.bind(*_FIRST[kind], *places, **by_name).arguments
    except TypeError as error:
        raise DefinitionError(_misfit(what, step, kind, fn, str(error))) from None
    for open_end, stars in ((Parameter.VAR_POSITIONAL, "*"), (Parameter.VAR_KEYWORD, "**")):
        for name, parameter in of_step.items():
            if parameter.kind is open_end and open_end not in {p.kind for p in own.parameters.values()}:
                raise DefinitionError(_misfit(what, step, kind, fn, f"{stars}{name} is missing"))
    for name, given in bound.items():
        if name in places and given in places and name != given:
            raise DefinitionError(
                _misfit(what, step, kind, fn, f"arguments are passed by place, and its {name!r} would get {given!r}")
            )


def _misfit(what: str, step: Step[..., Any], kind: Kind, fn: Callable[..., Any], why: str) -> str:
    bare = [p.replace(annotation=p.empty, default=p.empty) for p in inspect.signature(step.fn).parameters.values()]
    wanted = ", ".join(filter(None, [*_FIRST[kind], str(inspect.Signature(bare))[1:-1]]))
    return (
        f"{what} {fn.__qualname__} at {place_of(fn)} cannot be called for step {step.name!r} ({why}): "
        f"write `def {fn.__name__}({wanted})`"
    )


def _takes_none(what: str, fn: Callable[..., Any]) -> None:
    first = next(iter(inspect.signature(fn).parameters.values()))
    try:
        hint = type_hints(fn).get(first.name, Any)
    except DefinitionError:  # it names a type that the rest of its module has yet to define
        return
    if first.default is not None and _excludes_none(hint):
        raise DefinitionError(
            f"{what} {fn.__qualname__} at {place_of(fn)} is called with None where only an attempt is known of "
            f"(undo_when='attempted'): write `{first.name}: … | None`"
        )


def _excludes_none(hint: Any) -> bool:
    """Whether a type plainly has no None in it; where that is not plain, no."""
    origin = get_origin(hint)
    if origin is Annotated:
        return _excludes_none(get_args(hint)[0])
    if origin in (Union, UnionType):
        return all(_excludes_none(member) for member in get_args(hint))
    if origin is Literal:
        return None not in get_args(hint)
    cls = origin or hint
    if cls is Any or not isinstance(cls, type) or getattr(cls, "_is_protocol", False):
        return False
    return not issubclass(NoneType, cls)


# ------------------------------------------------------------------------------------------- registered undos


def importable(fn: Any, what: str = "add_undo()") -> str:
    """``module:name`` of a function that any worker can import.

    ``what`` is what it is given to, for messages.

    :raises DefinitionError: a lambda, a closure, a method, a name that stands for something else.
    """
    named(what, fn)
    name = f"{fn.__module__}:{fn.__qualname__}"
    if "<locals>" in fn.__qualname__:
        raise DefinitionError(
            f"{what}: {fn.__qualname__} at {place_of(fn)} is a function inside another one, where no other worker "
            "finds it: make it a module-level function, and pass what it needs as arguments"
        )
    try:
        found = imported(name)
    except LookupError as error:
        raise DefinitionError(f"{what} at {place_of(fn)}: {error}") from error
    if found is not fn:
        raise DefinitionError(
            f"{what}: {name} at {place_of(fn)} is not what its module has by that name ({found!r}): "
            "give it a name of its own"
        )
    return name


def imported(name: str) -> Callable[..., Any]:
    """The function of this ``module:name`` in the code at hand.

    :raises LookupError: there is none.
    """
    module, _, qualname = name.partition(":")
    try:
        found = attrgetter(qualname)(importlib.import_module(module))
    except Exception as error:
        raise LookupError(f"there is no function {name} in this code: {type(error).__name__}: {error}") from error
    if not inspect.isfunction(found):
        raise LookupError(f"there is no function {name} in this code: that is {found!r}")
    return found
