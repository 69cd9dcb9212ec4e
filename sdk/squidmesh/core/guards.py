"""Mistakes that Python would let pass in silence, each answered with the place and what to write instead.

The rule of this file: a guard raises, or notes, and never guesses what was meant.
"""

from __future__ import annotations

import dis
import gc
import inspect
import sys
from collections.abc import Callable, Sequence
from types import CodeType, TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from squidmesh.errors import DefinitionError

if TYPE_CHECKING:
    from squidmesh.core.calls import Command

Word = TypeVar("Word", bound=str)


def place_of(fn: Callable[..., Any]) -> str:
    code = getattr(fn, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(fn)


def named(what: str, fn: Any) -> str:
    """Check that a function can be found again by name; gives its ``module.qualname``.

    ``what`` is what it is given to, as it is written: ``@step``, ``@charge.undo``, ``add_undo()``.
    """
    if isinstance(fn, (staticmethod, classmethod)) or not inspect.isfunction(fn):
        raise DefinitionError(f"{what} takes a function, not {fn!r}")
    owner, _, name = fn.__qualname__.rpartition(".")
    if name == "<lambda>":
        raise DefinitionError(f"{what} at {place_of(fn)}: a lambda has no name to be found by; write a def")
    if owner and not owner.endswith("<locals>"):
        raise DefinitionError(
            f"{what} on a method: {fn.__qualname__} at {place_of(fn)}. It is found again by name on any worker, "
            "where there is no object to call it on: make it a module-level function"
        )
    return f"{fn.__module__}.{fn.__qualname__}"


def plain(what: str, fn: Callable[..., Any], instead: str) -> None:
    """Check that a function gives its value by ``return``; ``instead`` says how, where it does not."""
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise DefinitionError(f"{what} {fn.__qualname__} at {place_of(fn)} yields; {instead}")


def choice(what: str, value: Word, allowed: Sequence[str]) -> Word:
    """Check that a setting is one of a few words."""
    if value not in allowed:
        raise DefinitionError(f"{what} is {' or '.join(map(repr, allowed))}, not {value!r}")
    return value


def switch(what: str, value: bool) -> bool:
    """Check that a setting is True or False, and not something that only looks like it."""
    if value is not True and value is not False:
        raise DefinitionError(f"{what} is True or False, not {value!r}")
    return value


def body_kind(fn: Callable[..., Any]) -> str:
    """Check that a workflow function is a generator function or an ``async def`` without ``yield``."""
    if inspect.isasyncgenfunction(fn):
        raise DefinitionError(
            f"@workflow {fn.__qualname__} at {place_of(fn)}: `yield` in an `async def` workflow; "
            "write `x = await step(…)`, or make it a plain `def` with `yield from`"
        )
    if inspect.iscoroutinefunction(fn):
        return "async"
    if inspect.isgeneratorfunction(fn):
        return "generator"
    raise DefinitionError(
        f"@workflow {fn.__qualname__} at {place_of(fn)} yields nothing: a workflow calls its steps with "
        "`x = yield from step(…)` (in a `def`) or `x = await step(…)` (in an `async def`)"
    )


def no_generator(what: str, index: int, member: Any) -> None:
    if inspect.isgenerator(member) or inspect.iscoroutine(member):
        name, verb = member.__name__, _verb(member)
        code = member.gi_code if inspect.isgenerator(member) else member.cr_code
        member.close()
        if name == "<genexpr>":
            raise DefinitionError(
                f"{what}() takes commands, and was given a generator expression: write {what}([…]), a list"
            )
        raise DefinitionError(
            f"{what}() takes commands, and member {index} is the generator of {name} "
            f"({code.co_filename}:{code.co_firstlineno}): write `{verb} {name}(…)` by itself, or make it a @workflow"
        )


def _verb(generator: Any) -> str:
    return "await" if inspect.iscoroutine(generator) else "yield from"


def foreign(value: Any, file: str, line: int) -> str:
    """What is wrong with something yielded that is not a command, and what to write instead."""
    where = f"{file}:{line}"
    if inspect.isgenerator(value) or inspect.iscoroutine(value):
        name, verb = value.__name__, _verb(value)
        value.close()
        return f"{where} yields the generator of {name} itself: write `{verb} {name}(…)`"
    if value is None or type(value).__module__.startswith(("asyncio", "_asyncio", "concurrent")):
        what = "yields nothing, or awaits something" if value is None else f"awaits {type(value).__name__},"
        return f"{where} {what} which is not of Squid Mesh: {_IN_A_STEP}"
    return (
        f"{where} yields {value!r:.80}, which is not a command: yield the call of a step (`yield from step(…)`) "
        "or a command such as sleep(…) or gather(…)"
    )


_IN_A_STEP = "waiting and I/O belong in a step (`await my_step(…)`), time in `await sleep(…)`"


def foreign_loop(error: BaseException) -> bool:
    """Whether an error says that something awaited wants an event loop, which a workflow does not have."""
    return type(error).__name__ == "AsyncLibraryNotFoundError" or (
        isinstance(error, RuntimeError) and "no running event loop" in str(error)
    )


def broken_code(error: BaseException, file: str, line: int) -> str:
    """What to do about an exception that ends the body and is not one of the business."""
    told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if foreign_loop(error):
        return f"{file}:{line} awaits something which is not of Squid Mesh ({told}): {_IN_A_STEP}"
    return (
        f"{file}:{line}: {told}. This is broken code, not a failure of the business: the run waits for a fixed deploy "
        "(or derive the exception from WorkflowError, or name it in @workflow(fail_on=…))"
    )


def broken_by(error: BaseException) -> str:
    """The reason to give for such an exception: the code names something missing, or is broken otherwise."""
    unknown_name = isinstance(error, (NameError, ImportError)) and not isinstance(error, UnboundLocalError)
    of_module = isinstance(error, AttributeError) and inspect.ismodule(error.obj)
    return "code_missing" if unknown_name or of_module else "code_error"


def returned(value: Any) -> str | None:
    """What is wrong with a workflow that returns this, if anything."""
    from squidmesh.core.calls import Command

    if isinstance(value, Command):
        value.taken = True
        return f"returns {value.told()} without running it: write `return (yield from …)` (or `return await …`)"
    if inspect.isgenerator(value) or inspect.iscoroutine(value):
        name, verb = value.__name__, _verb(value)
        value.close()
        fix = f"await {name}(…)" if verb == "await" else f"(yield from {name}(…))"
        return f"returns the generator of {name}: write `return {fix}`"
    return None


# Instructions that give up a value and cannot raise: no exception is on its way there.
_CALM = (
    "POP_TOP",
    "STORE_FAST",
    "STORE_NAME",
    "STORE_GLOBAL",
    "STORE_DEREF",
    "DELETE_FAST",
    "DELETE_NAME",
    "DELETE_DEREF",
)

Drop = tuple[CodeType, int]
"""Where a command was let go of: the code, and the offset of its instruction."""


def dropped(command: Command[Any]) -> None:
    """Note a command that was collected without being yielded, unless an exception on its way has swept it off.

    An exception tells by marks. One that unwinds the frame that let go (as in ``gather(charge(…), ship(broken()))``)
    has left a traceback of that very instruction, or is passed on by an instruction made for that. One that was caught
    takes with it, at the end of its handler, the frames that it had passed through.
    """
    script = command.script
    if script is None or script.closing:
        return
    frame = sys._getframe(2)  # whoever let go of it; 1 is Command.__del__
    code, at = frame.f_code.co_code, frame.f_lasti
    opcode = dis.opname[code[at]]
    if opcode in ("POP_EXCEPT", "RERAISE", "CLEANUP_THROW"):
        return
    if opcode.startswith(_CALM):
        if _POP_EXCEPT in code[max(at - 8, 0) : at : 2]:  # `except … as error` lets go of its name
            return
        if code[at - 2] == _SWAP == code[at + 2]:  # a comprehension is left by an exception
            return
    elif any(isinstance(r, TracebackType) and r.tb_lasti == at for r in gc.get_referrers(frame)):
        return
    script.dropped(command, (frame.f_code, at))


_POP_EXCEPT, _SWAP = dis.opmap["POP_EXCEPT"], dis.opmap["SWAP"]


def raised_at(error: BaseException, drop: Drop) -> bool:
    """Whether an error came from the very instruction that let go of a command: C code drops its arguments first."""
    step = error.__traceback__
    while step is not None:
        if (step.tb_frame.f_code, step.tb_lasti) == drop:
            return True
        step = step.tb_next
    return False


def told_dropped(command: Command[Any]) -> str:
    what = command.told()
    awaits = command.code.co_flags & inspect.CO_COROUTINE
    return (
        f"{command.file}:{command.line}: {what} was called but never yielded, so it never ran: write "
        f"`{'await' if awaits else 'yield from'} {what.strip('`')}(…)`, or `discard(…)` around it if that is meant"
    )
