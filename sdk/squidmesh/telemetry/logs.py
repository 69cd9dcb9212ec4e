"""Committed events as log lines, under ``squidmesh.runs``: ends and failures loud, the rest at debug; and labels for
the log lines of steps.

The rule of this file: keys and names, never payloads.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from squidmesh.core import events as ev
from squidmesh.core.events import Event
from squidmesh.core.stepcontext import current_step

logger = logging.getLogger("squidmesh.runs")
_LOUD = {
    "MessageLogged", "RunStarted", "RunCompleted", "RunCancelled", "RunFailed", "RunBlocked",
    "AttemptFailed", "AttemptLost", "StepInDoubt", "RollbackStarted", "UndoFailed", "UndoHalted", "RollbackEnded",
    "RunUndone", "RunTerminated",
}  # fmt: skip
"""Kinds that are above debug."""

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


def log_events(run_id: str, workflow: str, first: int, events: Sequence[Event]) -> None:
    """Write a line for each event whose level is listened to; ``first`` is the number of the first."""
    everything = logger.isEnabledFor(logging.DEBUG)
    for seq, event in enumerate(events, first):
        if not everything and event.kind not in _LOUD:
            continue
        level, told = _told(event)
        if logger.isEnabledFor(level):
            extra = {"run_id": run_id, "workflow": workflow, "event": event.kind, "seq": seq}
            logger.log(level, "run %s (%s): %s", run_id, workflow, told, extra=extra)


class _Labels(logging.Filter):
    """Lets every record pass, with what is known of the step that it was made in."""

    def filter(self, record: logging.LogRecord) -> bool:
        step = current_step.get()
        if step is not None:
            known = record.__dict__  # what the caller has said himself stays
            known.setdefault("run_id", step.run_id)
            known.setdefault("step", step.step)
            known.setdefault("position", step.position)
            known.setdefault("attempt", step.attempt)
        return True


_LABELS = _Labels()


def label_logs(*handlers: logging.Handler) -> None:
    """Give log records that are made inside a step (or a handler of one) ``run_id, step, position, attempt``.

    They are attributes of the record, as ``extra=`` would make them: formatters that write records as JSON have them,
    and so has OpenTelemetry's ``LoggingHandler``. Records made elsewhere do not have them.

    :param handlers: where; by default the handlers that the root logger has now.
    """
    for handler in handlers or logging.getLogger().handlers:
        if _LABELS not in handler.filters:
            handler.addFilter(_LABELS)


def _told(event: Event) -> tuple[int, str]:
    position = getattr(event, "position", None)
    match event:
        case ev.MessageLogged(message=message, level=level):
            return _LEVELS.get(level, 20), message
        case ev.RunFailed(failure=failure):
            return logging.ERROR, f"failed: {failure}"
        case ev.RunBlocked(message=message):
            return logging.ERROR, f"blocked: {message}"
        case ev.AttemptFailed(number=number, failure=failure, retry_at=retry_at):
            then = "it is tried again" if retry_at is not None else "that is final"
            return logging.WARNING, f"attempt {number} at position {position} failed ({failure}); {then}"
        case ev.AttemptLost(number=number, worker=worker):
            how = f"was lost with worker {worker}" if worker else "was not heard of in time"
            return logging.WARNING, f"attempt {number} at position {position} {how}"
        case ev.StepInDoubt(failure=failure):
            return logging.ERROR, f"the step at position {position} is in doubt ({failure}): a person has to say"
        case ev.RollbackStarted(number=number, cause=cause) if number:
            return logging.WARNING, f"rollback {number} begins ({cause})"
        case ev.UndoFailed(entry=entry, number=number, failure=failure, retry_at=retry_at):
            then = "it is tried again" if retry_at is not None else "that is final"
            return logging.WARNING, f"attempt {number} of the undo at {entry} failed ({failure}); {then}"
        case ev.UndoHalted(reason=reason, entry=entry):
            return (
                logging.ERROR,
                f"the rollback stands{f' at {entry}' if entry else ''} ({reason}): a person has to choose",
            )
        case ev.RollbackEnded(number=number, outcome=outcome):
            return logging.INFO if outcome == "clean" else logging.WARNING, f"rollback {number} ended: {outcome}"
        case ev.RunStarted() | ev.RunUndone() | ev.RunTerminated() | ev.RunCompleted() | ev.RunCancelled():
            return logging.INFO, event.kind
        case _:
            return logging.DEBUG, f"{event.kind} at position {position}" if position else event.kind
