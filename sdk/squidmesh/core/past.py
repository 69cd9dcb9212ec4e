"""What the body of a fork sees before its place: the name, the time and the chance of the run that lived it.

A fork replays what precedes its place, and a replay must give the same inputs as then: so ``now()``, ``new_uuid()``,
``rng()`` and ``run_info()`` are there those of the old run. From its place on the body lives its own life: a number
that it draws for a step that runs anew is a new one. A fork of a fork has several runs behind it, one after another.

The rule of this file: which life a command belongs to follows from its position alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from squidmesh.core import events as ev
from squidmesh.core.deterministic import RunInfo, instant


def order(position: str) -> tuple[int, ...]:
    """The place of a position in the order in which commands are yielded."""
    return tuple(int(part) for part in position.split("."))


@dataclass(frozen=True)
class Life:
    """One run, as the body knows it. ``before``: the position at which it ends for a fork; None: it is the run itself.

    ``seed`` is what its chance comes from, and ``began`` when its time begins (microseconds).
    """

    run_id: str
    started: ev.RunStarted | None = None
    before: tuple[int, ...] | None = None

    @cached_property
    def began(self) -> int:
        return 0 if self.started is None else max(self.started.at, self.started.start_at or 0)

    @cached_property
    def info(self) -> RunInfo:
        first = self.started
        assert first is not None
        return RunInfo(
            run_id=self.run_id, workflow=first.workflow, version=first.version, key=first.key, parent=first.parent,
            attributes=first.attributes or {}, tick=None if first.tick is None else instant(first.tick),
            started_at=instant(first.at),
        )  # fmt: skip


_TOLD = ("at", "start_at", "key", "parent", "tick", "attributes")


def descent(run_id: str, started: ev.RunStarted, before: str) -> list[dict[str, Any]]:
    """What a fork records of the run that it goes on from at a position, and of those which that one has behind it."""
    known = []
    for told in started.ancestors:
        known.append({**told, "before": min(told["before"], before, key=order)})
        if order(told["before"]) >= order(before):
            return known  # the run itself has lived nothing that precedes the position
    told = {name: getattr(started, name) for name in _TOLD if getattr(started, name) is not None}
    return [*known, {"run_id": run_id, "before": before, **told}]


def lives(run_id: str, started: ev.RunStarted) -> tuple[Life, ...]:
    """All that lived what this run has behind it, the oldest first; at last the run itself."""
    found = []
    for told in started.ancestors:
        began = ev.RunStarted(
            workflow=started.workflow, version=started.version, input={}, interpreter_version=0,
            **{name: told[name] for name in _TOLD if name in told},
        )  # fmt: skip
        found.append(Life(told["run_id"], began, order(told["before"])))
    return (*found, Life(run_id, started))


def living(known: Sequence[Life], command: int) -> Life:
    """Whose life a command belongs to, by its number."""
    return next((life for life in known if life.before is None or (command,) < life.before), known[-1])
