"""What has happened since the last look, in sentences: recorded events, told to a newcomer.

The rule of this file: every sentence but those about processes comes from a run's history, read through the
public interface.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from squidmesh.core.failure import Failure
from squidmesh.events import (
    AttemptFailed,
    AttemptLost,
    AttemptStarted,
    CheckpointSaved,
    EntrySettled,
    Event,
    RollbackEnded,
    RollbackStarted,
    RunCompleted,
    RunFailed,
    StepFailed,
    StepScheduled,
    UndoFailed,
)


class News:
    """Reads histories as they grow. ``worker`` turns a worker's id into what it is called here."""

    def __init__(self, worker: Callable[[str], str]) -> None:
        self._worker = worker
        self._told: dict[str, int] = {}
        self._steps: dict[tuple[str, str], str] = {}
        self._progress: dict[tuple[str, str], int] = {}

    def of(self, order: str, history: list[Event]) -> Iterator[tuple[str, str]]:
        """A style and a sentence for each event that is new and worth one."""
        for event in history[self._told.get(order, 0) :]:
            sentence = self._sentence(order, event)
            if sentence is not None:
                yield sentence
        self._told[order] = len(history)

    def _sentence(self, order: str, event: Event) -> tuple[str, str] | None:
        place = (order, getattr(event, "position", ""))
        step = self._steps.get(place, "")
        match event:
            case StepScheduled(step=name):
                self._steps[place] = name
            case CheckpointSaved(value=list() as packed):
                self._progress[place] = len(packed)
            case AttemptFailed(failure=failure, retry_at=int() as retry_at, at=at):
                return "yellow", f"{order}: {step} failed ({_why(failure)}), again in {(retry_at - at) / 1e6:.1f} s"
            case AttemptLost(worker=worker, number=number):
                return "red", f"{order}: attempt {number} of {step} was lost with worker {self._worker(worker)}"
            case AttemptStarted(worker=worker, number=number) if number > 1:
                begins = f"attempt {number} of {step} begins on worker {self._worker(worker)}"
                done = self._progress.get(place)
                return "cyan", f"{order}: {begins}" + (f", with {done} packed already" if done else "")
            case StepFailed(failure=failure):
                return "red", f"{order}: {step} failed for good ({_why(failure)})"
            case RunCompleted():
                return "green", f"{order}: completed"
            case RunFailed():
                return "red", f"{order}: failed"
            case _:
                return self._undoing(order, event)
        return None

    def _undoing(self, order: str, event: Event) -> tuple[str, str] | None:
        step = self._steps.get((order, getattr(event, "entry", "")), "")
        match event:
            case RollbackStarted():
                return "magenta", f"{order}: what was done for it is undone now, newest first"
            case UndoFailed(failure=failure, retry_at=int() as retry_at, at=at):
                pause = (retry_at - at) / 1e6
                return "yellow", f"{order}: the undo of {step} failed ({_why(failure)}), again in {pause:.1f} s"
            case EntrySettled(state=state):
                return "magenta", f"{order}: {step} is {state}"
            case RollbackEnded(outcome=outcome):
                return "magenta", f"{order}: the rollback is {outcome}"
            case _:
                return None


def _why(failure: Failure) -> str:
    """The status of an HTTP answer, else the message as it is."""
    status = failure.data.get("status") if isinstance(failure.data, dict) else None
    return f"HTTP {status}" if status else failure.message
