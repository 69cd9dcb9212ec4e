"""``transaction(fn, …)``: several transactional steps in one database transaction, as one command.

The rule of this file: a definition, checked where it is used, and found again by its importable names. It looks like a
step to whoever schedules and runs it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from functools import cached_property, lru_cache
from inspect import Parameter
from typing import Any, ClassVar, Generic, TypeVar, cast, get_args, get_origin

from squidmesh.core.calls import Call
from squidmesh.core.effects import Trait
from squidmesh.core.guards import place_of, plain
from squidmesh.core.handlers import importable, imported
from squidmesh.core.payloads import Parameters, Value
from squidmesh.core.step import result_type
from squidmesh.core.workflow import Flow
from squidmesh.errors import DefinitionError

T = TypeVar("T")


class Transaction(Generic[T]):
    """A generator function whose steps commit together, with what undoes them (else, their own undos do)."""

    is_step = True
    retry = timeout = heartbeat_timeout = max_lost = queue = priority = None
    undo_handler = compensate_handler = check_handler = None
    transactional = idempotent = True
    pure = irreversible = pivot = is_async = False
    undo_when = "completed"
    max_compensate_cycles = 0
    unknown_on: tuple[type[BaseException] | str, ...] = ()
    traits: ClassVar[list[str]] = [Trait.TRANSACTIONAL.value, Trait.GROUP.value]

    def __init__(self, fn: Callable[..., Any], undo: Callable[..., Any] | None = None) -> None:
        self.function = importable(fn, "transaction()")
        if not inspect.isgeneratorfunction(fn):
            raise DefinitionError(
                f"transaction() takes a generator function, and {fn.__qualname__} at {place_of(fn)} is none: its steps "
                "are called with `x = yield from step(…)`; for a single one, @step(transactional=True) will do"
            )
        self.fn = fn
        self.name = fn.__name__
        self.undo_name: str | None = None
        if undo is not None:
            self.undo_name = f"{self._undo(undo)}({self.function})"

    def _undo(self, undo: Callable[..., Any]) -> str:
        name = importable(undo, "transaction(undo=…)")
        plain("transaction(undo=…)", undo, "an undo is called once: write it as a plain `def`")
        if inspect.iscoroutinefunction(undo):
            raise DefinitionError(
                f"transaction(undo=…) {undo.__qualname__} at {place_of(undo)} is an `async def`: it runs in one "
                "database transaction, which belongs to one thread; write a plain `def`, with context().connection"
            )
        own = inspect.signature(self.fn).parameters.values()
        places = [p.name for p in own if p.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)]
        try:
            inspect.signature(undo).bind("result", *places, **{p.name: p for p in own if p.kind is p.KEYWORD_ONLY})
        except TypeError as error:
            told = ", ".join(["result", *(str(p.replace(annotation=p.empty, default=p.empty)) for p in own)])
            raise DefinitionError(
                f"transaction(undo=…) {undo.__qualname__} at {place_of(undo)} cannot be called for {self.name!r} "
                f"({error}): write `def {undo.__name__}({told})`"
            ) from None
        return name

    @cached_property
    def parameters(self) -> Parameters:
        return Parameters(self.fn, f"transaction {self.name!r}")

    @cached_property
    def result(self) -> Value:
        declared = result_type(self.fn)
        if declared is not Any:
            if get_origin(declared) is not Generator:
                raise DefinitionError(
                    f"transaction {self.name!r} at {place_of(self.fn)} is declared to return {declared!r}: "
                    "write `-> Flow[…]` with the type of its result"
                )
            declared = get_args(declared)[2] if len(get_args(declared)) == 3 else Any
        return Value(declared, f"the result of transaction {self.name!r}")

    def __repr__(self) -> str:
        return f"<transaction {self.name}>"


@lru_cache(maxsize=1_024)
def defined(fn: Callable[..., Any], undo: Callable[..., Any] | None = None) -> Transaction[Any]:
    """The definition of this function as a transaction; made, and checked, once."""
    made: Transaction[Any] = Transaction(fn, undo)
    _ = made.parameters, made.result  # types that have no JSON form are refused here, too
    return made


def undo_of(name: str) -> tuple[Callable[..., Any], Transaction[Any]]:
    """The function that undoes a transaction, and the transaction, by what ``undo_name`` was when it ran.

    :raises LookupError: one of the two is not in today's code.
    """
    undo, _, function = name.rstrip(")").partition("(")
    return imported(undo), defined(imported(function))


def transaction(
    fn: Callable[..., Flow[T]], *args: Any, undo: Callable[..., Any] | None = None, **kwargs: Any
) -> Call[T]:
    """Run the steps of a generator function in one database transaction: all that they write, their results and the
    function's own are committed together, or none of it.

    ``fn`` yields calls of transactional and pure steps, and ``gather`` and ``fan_out`` of such, which run one after
    another, by one worker, on one connection. A step that fails is rolled back to where it began, and tried again at
    once, without a pause, as its ``retry`` says; then ``StepFailed`` is raised in ``fn``, which may catch it. What
    leaves ``fn`` rolls back the whole. Anything else that is yielded is refused, and blocks the run as broken code.

    :param fn: a module-level generator function.
    :param args: its arguments (and ``kwargs``), which are validated here.
    :param undo: ``undo(result, *args)``, a module-level function that undoes it, in one transaction too. Without it the
        undos of its steps do, the newest first.
    :raises DefinitionError: a function that could not be found, or called, again.
    :raises InvalidPayload: arguments that do not fit.
    """
    definition = defined(fn, undo)
    return Call(cast(Any, definition), definition.parameters.bind(args, kwargs))
