"""Histories as files: recorded from a run, and replayed against today's code.

A recorded history is JSON, one event a line, so that it reads and compares well in a repository: who the run was, and
its rows as the database has them (the form of a row is core/codec.py's, which every later release reads).

The rule of this file: what is recorded is history, without what was to be left out (redacting.py). A replay calls no
step and writes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from squidmesh.core import events as ev
from squidmesh.core.codec import decode_rows, encode
from squidmesh.core.events import Event
from squidmesh.core.registry import Selection, select
from squidmesh.core.rehearsing import Rehearsal, of_the_body, rehearse
from squidmesh.errors import MeshError, RunBlocked
from squidmesh.testing.redacting import Redact, Redacting, restored

if TYPE_CHECKING:
    from collections.abc import Mapping

    from squidmesh.handle import Handle

FORM = 1
"""The version of a recorded history's form."""


class NotReplayable(MeshError, ValueError):
    """A text that is no recorded history, or one of which the code is not at hand."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """A history that today's code agrees with.

    ``decides`` are the events that the code would record next: the end of the run, where it had ended, or what follows
    upon the last thing recorded. ``patches`` says which branch the run takes at each ``patched(id)`` that it has come
    to: True is the new one.
    """

    run_id: str
    workflow: str
    version: int
    events: int
    ended: bool
    decides: tuple[Event, ...] = ()
    patches: Mapping[str, bool] = field(default_factory=lambda: MappingProxyType({}))


def record(handle: Handle[Any], *, redact: Redact | None = None) -> str:
    """The history of a run as JSON text, to be kept in a file and replayed: ``replay(text, checkout)``.

    Values of ``SecretStr`` and its kin are never written. What else is left out is replaced by a value of the same
    shape (letters by ``a``, digits by ``1``), here and in every text of the history in which it occurs.

    :param redact: names of values: of an argument or a field (``"email"``), or a dotted path from its end
        (``"charge.result"``, ``"charge.input.card"``); or a dict of such names with what stands in for their values,
        where a type wants something else than the same shape; or a function ``(path, value)`` that gives the value, or
        what stands in for it.
    :raises RunNotFound: no such run.
    """
    history = handle.history()
    started = history[0]
    assert isinstance(started, ev.RunStarted)
    leaving_out = Redacting(redact, history)
    rows = json.loads(encode(leaving_out.event(event) for event in history))
    lines = ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in rows)
    head = {
        "squidmesh_history": FORM, "workflow": started.workflow, "version": started.version, "run_id": handle.run_id,
    }  # fmt: skip
    return f'{json.dumps(head, ensure_ascii=False)[:-1]},\n "events": [\n  {lines}\n ]}}\n'


def replay(history: str, *workflows: Any) -> Replayed:
    """Replay a recorded history against today's code; no step is called.

    What the code does behind the last thing recorded is free: a step may be added there.

    :param history: what ``record`` gave.
    :param workflows: workflows, and modules of them, of which one is the run's; without any, all that is imported.
    :raises NonDeterminism: history and code part: at which ``position``, in which ``file`` and ``line``, what the
        history has there (``expected``) and what the code yields now (``got``).
    :raises RunBlocked: the code breaks in another way: an exception of its own, a recorded value that does not decode.
    :raises NotReplayable: no recorded history, or the run's workflow, in its version, is not among these.
    """
    recorded = Recording.read(history)
    code = select(workflows or None)
    seen = recorded.against(code)
    if seen.differs is not None:
        raise seen.differs
    if seen.blocked is not None:
        raise RunBlocked(recorded.run_id, f"{seen.blocked.message}")
    return Replayed(
        run_id=recorded.run_id,
        workflow=recorded.workflow,
        version=recorded.version,
        events=len(recorded.events),
        ended=len(recorded.body) < len(recorded.events),
        decides=seen.decision.events,
        patches=MappingProxyType(dict(seen.patches)),
    )


@dataclass(frozen=True, slots=True)
class Recording:
    """A recorded history, read."""

    run_id: str
    workflow: str
    version: int
    events: Sequence[Event]

    @classmethod
    def read(cls, text: str) -> Recording:
        """:raises NotReplayable: it is none, or of a later form."""
        try:
            told = json.loads(text)
            form = told["squidmesh_history"]
            rows = told["events"]
            made = cls(told["run_id"], told["workflow"], told["version"], ())
        except (ValueError, KeyError, TypeError) as error:
            raise NotReplayable(f"this is no history that squidmesh.testing.record has made: {error!r}") from None
        if form != FORM:
            raise NotReplayable(f"this history is of form {form}, and this version of Squid Mesh reads form {FORM}")
        events = [restored(event) for event in decode_rows([(1, json.dumps(rows))])]
        return cls(made.run_id, made.workflow, made.version, events)

    @property
    def body(self) -> Sequence[Event]:
        """The events that the code has to agree with."""
        return of_the_body(self.events)

    def against(self, code: Selection) -> Rehearsal:
        """Replay it. :raises NotReplayable: its workflow is not at hand."""
        workflow = code.workflows.get((self.workflow, self.version))
        if workflow is None:
            raise NotReplayable(self._missing(code))
        return rehearse(workflow, self.body, self.run_id, code.steps, now=self.events[-1].at)

    def _missing(self, code: Selection) -> str:
        there = sorted(version for name, version in code.workflows if name == self.workflow)
        versions = f"only version {', '.join(map(str, there))}" if there else "none of that name"
        known = ", ".join(sorted({name for name, _ in code.workflows})) or "nothing"
        return (
            f"the history is of workflow {self.workflow!r} version {self.version}, of which there is {versions} at "
            f"hand (there is: {known}): import its module, or give it to replay()"
        )
