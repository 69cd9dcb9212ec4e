"""What a call comes to in today's code: a function, and its arguments as history has them, decoded anew.

The rule of this file: what is not there, or does not decode, is told as that; nothing is run here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from squidmesh.core.handlers import Handler, imported
from squidmesh.core.payloads import Parameters
from squidmesh.core.transactions import undo_of
from squidmesh.engine.calling import CallKind, Trial
from squidmesh.errors import DefinitionError, InvalidPayload, PayloadError

_UNREADABLE = (InvalidPayload, PayloadError, DefinitionError)


class Unfit(Exception):
    """It cannot be called. ``reason``: handler_missing, payload."""

    def __init__(self, reason: str, error: BaseException) -> None:
        self.reason, self.error = reason, error
        super().__init__(str(error))


@dataclass(frozen=True, slots=True)
class Called:
    fn: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    is_async: bool


def called(trial: Trial) -> Called:
    """The function of a call, and what it is called with.

    :raises Unfit: for a handler or a registered undo that is missing, or whose arguments do not decode.
    """
    match trial.kind:
        case CallKind.ATTEMPT:
            args, kwargs = trial.step.parameters.decode(trial.input)
            return Called(trial.step.fn, args, kwargs, trial.step.is_async)
        case CallKind.CHECK:
            return _handler(trial, trial.step.check_handler, lambda: None)
        case CallKind.COMPENSATE:
            return _handler(trial, trial.step.compensate_handler, lambda: trial.failure)
        case CallKind.UNDO:
            return _undo(trial)


def _undo(trial: Trial) -> Called:
    entry = trial.entry
    assert entry is not None
    if entry.kind == "transaction" and entry.function is not None:
        return _undo_of_transaction(trial, entry.function, entry.result)
    if entry.function is not None:
        try:
            fn = imported(entry.function)
        except LookupError as error:
            raise Unfit("handler_missing", error) from error
        try:
            args, kwargs = Parameters(fn, f"undo {entry.step!r}").decode(entry.input)
        except _UNREADABLE as error:
            raise Unfit("payload", error) from error
        return Called(fn, args, kwargs, inspect.iscoroutinefunction(fn))
    handler = trial.step.undo_handler if trial.step is not None and entry.kind == "step" else None
    return _handler(trial, handler, lambda: trial.step.result.decode(entry.result) if entry.certain else None)


def _undo_of_transaction(trial: Trial, name: str, stored: Any) -> Called:
    try:
        fn, definition = undo_of(name)
    except (LookupError, DefinitionError) as error:
        raise Unfit("handler_missing", error) from error
    try:
        result, (args, kwargs) = definition.result.decode(stored), definition.parameters.decode(trial.input)
    except _UNREADABLE as error:
        raise Unfit("payload", error) from error
    return Called(fn, (result, *args), kwargs, is_async=False)


def _handler(trial: Trial, handler: Handler | None, first: Callable[[], Any]) -> Called:
    if handler is None:
        raise Unfit("handler_missing", _missing(trial))
    try:
        args, kwargs = handler.bind(first(), *trial.step.parameters.decode(trial.input))
    except _UNREADABLE as error:
        raise Unfit("payload", error) from error
    return Called(handler.fn, args, kwargs, handler.is_async)


def _missing(trial: Trial) -> DefinitionError:
    what = "step" if trial.step is None else f"@{trial.name}.{trial.kind}"
    return DefinitionError(
        f"{trial.told} at position {trial.position} is not in the code at hand, which has no such {what}: deploy it "
        "again, under the name that it had when the step ran"
    )
