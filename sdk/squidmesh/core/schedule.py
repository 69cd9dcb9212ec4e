"""Schedules as they are declared: a rule of when, the input of each run, and what becomes of ticks in a crowd.

The rule of this file: values, checked where they are made. A definition as JSON is the same text whenever it says the
same, so that a schedule is known to be unchanged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import dropwhile, takewhile
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args
from zoneinfo import ZoneInfo

from squidmesh.core.calls import seconds
from squidmesh.core.cron import checked, fires, zone
from squidmesh.core.guards import choice
from squidmesh.core.payloads import dumps, loads
from squidmesh.errors import DefinitionError, InvalidPayload

if TYPE_CHECKING:
    from squidmesh.core.workflow import Workflow

CatchUp: TypeAlias = Literal["last", "all", "none"]
Overlap: TypeAlias = Literal["allow", "skip", "queue", "cancel"]

SHORTEST = 1_000
"""Microseconds between two ticks, at least."""


@dataclass(frozen=True, slots=True)
class Cron:
    """At the times of a cron expression: ``Cron("0 9 * * 1-5", tz="Europe/Sofia")``.

    Five fields (minute, hour, day of month, month, day of week) or an alias such as ``@daily``. A wall time that
    occurs twice in a day fires once; one that does not occur fires at the next instant that does.

    :param tz: the name of a time zone, whose wall clock the expression reads.
    :param input: the arguments of the workflow by name, in ``@workflow(triggers=[…])``.
    :raises DefinitionError: no such expression or zone, or one that never fires.
    """

    expression: str
    tz: str | ZoneInfo = "UTC"
    input: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "expression", checked(self.expression))
        object.__setattr__(self, "tz", zone(self.tz).key)
        _arguments(self.input)

    def ticks(self, anchor: int, after: int) -> Iterator[int]:
        """Its instants after this one, in order."""
        return fires(self.expression, zone(self.tz), after)

    def __str__(self) -> str:
        return f"Cron({self.expression!r}, tz={str(self.tz)!r})"


@dataclass(frozen=True, slots=True)
class Every:
    """Again and again after so long, counted from the ``start`` of the schedule or else its creation, without drift.

    :param interval: seconds or a timedelta.
    :param input: the arguments of the workflow by name, in ``@workflow(triggers=[…])``.
    :raises DefinitionError: a duration that is none, or below a millisecond.
    """

    interval: float | timedelta
    input: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "interval", seconds("Every: interval", self.interval))
        except (TypeError, ValueError) as error:
            raise DefinitionError(str(error)) from None
        if self.micros < SHORTEST:
            raise DefinitionError(f"Every: interval is at least {SHORTEST / 1e6:g} seconds, not {self.interval!r}")
        _arguments(self.input)

    @property
    def micros(self) -> int:
        return round(seconds("interval", self.interval) * 1e6)

    def ticks(self, anchor: int, after: int) -> Iterator[int]:
        """Its instants after this one, in order; they lie at whole intervals from the anchor, on both sides."""
        every = self.micros
        at = anchor + ((after - anchor) // every + 1) * every
        while True:
            yield at
            at += every

    def __str__(self) -> str:
        return f"Every({self.interval:g})"


@dataclass(frozen=True, slots=True)
class Definition:
    """All that a schedule says but its name and its workflow; durations and instants in microseconds."""

    when: Cron | Every
    input: dict[str, Any]
    catch_up: CatchUp = "last"
    overlap: Overlap = "allow"
    jitter: int = 0
    start: int | None = None
    end: int | None = None
    attributes: dict[str, Any] | None = None
    queue: str = "default"
    priority: int = 0

    def __post_init__(self) -> None:
        choice("schedule: catch_up", self.catch_up, get_args(CatchUp))
        choice("schedule: overlap", self.overlap, get_args(Overlap))
        if self.jitter < 0:
            raise DefinitionError(f"schedule: jitter is zero or more seconds, not {self.jitter / 1e6:g}")
        if self.start is not None and self.end is not None and self.end < self.start:
            raise DefinitionError("schedule: end is before start")

    def ticks(self, anchor: int, after: int) -> Iterator[int]:
        """Its ticks after this instant, in order; none before ``start`` or after ``end``."""
        first = after if self.start is None else max(after, self.start - 1)
        found = dropwhile(lambda at: at <= after, self.when.ticks(anchor, first))
        return found if self.end is None else takewhile(lambda at, end=self.end: at <= end, found)  # type: ignore[misc]

    def first(self, anchor: int, created: int) -> int | None:
        """The first tick of one that begins now; its very ``start`` may be now."""
        begins = created - 1 if self.start == created else created
        return next(self.ticks(anchor, begins), None)

    def anchor(self, created: int) -> int:
        """Where ``Every`` counts from."""
        return created if self.start is None else self.start

    def delay(self, name: str, at: int) -> int:
        """How much later than its nominal time the run of a tick starts: as chance has it, but always the same."""
        luck = int.from_bytes(hashlib.blake2b(f"{name}:{at}".encode(), digest_size=8).digest())
        return luck * self.jitter >> 64

    def to_json(self) -> str:
        match self.when:
            case Cron(expression=expression, tz=tz):
                when: dict[str, Any] = {"cron": expression, "tz": str(tz)}
            case Every():
                when = {"every": self.when.micros}
        said = {name: getattr(self, name) for name in _PLAIN}
        return dumps({"when": when, **said, "input": _sorted(self.input), "attributes": _sorted(self.attributes)})

    @classmethod
    def from_json(cls, text: str) -> Definition:
        """What ``to_json`` gave. :raises DefinitionError: a newer version of Squid Mesh made it."""
        stored = loads(text)
        match stored["when"]:
            case {"cron": expression, "tz": tz}:
                when: Cron | Every = Cron(expression, tz=tz)
            case {"every": every}:
                when = Every(timedelta(microseconds=every))
            case other:
                raise DefinitionError(f"a schedule has the rule {other!r}, which this version does not know")
        return cls(when, **{name: stored[name] for name in (*_PLAIN, "input", "attributes") if name in stored})


_PLAIN = ("catch_up", "overlap", "jitter", "start", "end", "queue", "priority")


@dataclass(frozen=True, slots=True)
class Trigger:
    """One trigger of a workflow; a worker with this code keeps a schedule for it, under a name of its content."""

    workflow: str
    version: int
    definition: Definition

    @property
    def name(self) -> str:
        said = hashlib.blake2b(self.definition.to_json().encode(), digest_size=5).hexdigest()
        return f"{self.workflow}#{said}"


def triggers(workflow: Workflow[..., Any], given: object) -> tuple[Trigger, ...]:
    """The triggers of a workflow, their inputs checked.

    :raises DefinitionError: naming the trigger, and each field of its input that does not fit.
    """
    own = f"workflow {workflow.name!r}: triggers"
    if not isinstance(given, (list, tuple)):
        raise DefinitionError(f"{own} takes a list of Cron(…) and Every(…), not {given!r}")
    made: dict[str, Trigger] = {}
    for n, when in enumerate(given):
        if not isinstance(when, (Cron, Every)):
            raise DefinitionError(f"{own}[{n}] is Cron(…) or Every(…), not {when!r}")
        try:
            bound = workflow.parameters.bind((), when.input or {})
        except InvalidPayload as refused:
            raise DefinitionError(f"{own}[{n}], {when}: input: {refused}") from None
        trigger = Trigger(workflow.name, workflow.version, Definition(when, bound, queue=workflow.queue or "default"))
        if trigger.name in made:
            raise DefinitionError(f"{own}[{n}], {when}: the same trigger stands there twice")
        made[trigger.name] = trigger
    return tuple(made.values())


def triggers_of(workflows: Iterable[Workflow[..., Any]]) -> dict[str, Trigger]:
    """The triggers of workflows by the name of their schedule; of several versions the newest one's."""
    newest: dict[str, Workflow[..., Any]] = {}
    for workflow in sorted(workflows, key=lambda workflow: workflow.version):
        newest[workflow.name] = workflow
    return {trigger.name: trigger for workflow in newest.values() for trigger in workflow.triggers}


def _arguments(given: object) -> None:
    if given is not None and not (isinstance(given, Mapping) and all(isinstance(name, str) for name in given)):
        raise DefinitionError(f"input= takes a dict of the workflow's arguments by name, not {given!r}")


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value
