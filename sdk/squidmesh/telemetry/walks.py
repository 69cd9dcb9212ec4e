"""Rollbacks of a run, as its trail follows them: which are under way, and the undos that they walk through.

The rule of this file: spans are made by the trail; here stands which of them belong together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from squidmesh.core import events as ev
from squidmesh.core.trace import RUN
from squidmesh.telemetry.span import Open

if TYPE_CHECKING:
    from squidmesh.telemetry.trail import Trail


class Walks:
    __slots__ = ("rollbacks", "undos", "planned", "_trail")

    def __init__(self, trail: Trail) -> None:
        self._trail = trail
        self.rollbacks: dict[int, Open] = {}
        self.undos: dict[str, Open] = {}  # by entry
        self.planned: dict[str, int] = {}  # entries, and the rollback that they are planned in

    def close(self, at: int) -> None:
        """The run is over: so is whatever of it is still open."""
        for entry, undo in self.undos.items():
            if undo.began:
                self._trail.over(undo, f"undo:{entry}", at, "cancelled")
        for node in (*self.undos.values(), *self.rollbacks.values()):
            self._trail.settle(node, at, "cancelled")
        self.undos, self.rollbacks = {}, {}

    def started(self, event: ev.RollbackStarted) -> None:
        if event.number:
            told = {"squidmesh.run_id": self._trail.run_id, "squidmesh.cause": event.cause}
            node = Open(f"Rollback:{self._trail.workflow}", f"rollback:{event.number}", RUN, event.at, told)
            self.rollbacks[event.number] = node

    def made_plan(self, event: ev.RollbackPlanned) -> None:
        self.planned |= dict.fromkeys(event.entries, event.number)
        if (node := self.rollbacks.get(event.number)) is not None:
            node.attributes["squidmesh.entries"] = len(event.entries)

    def undo_started(self, event: ev.UndoStarted) -> None:
        node = self.undos.get(event.entry)
        if node is None:
            number = self.planned.get(event.entry, 0)
            name, place = self._trail.names.get(event.entry, (event.entry, ""))
            node = self.undos[event.entry] = Open(
                f"Undo:{name}", f"undo:{event.entry}:{number}", f"rollback:{number}" if number else RUN, event.at,
                self._trail.of(name, event.entry), name,
            )  # fmt: skip
            if place:
                node.links.append((self._trail.run_id, place, True))
        elif node.last is not None:
            self._trail.one_of_several(node)
        node.began, node.number = event.at, event.number
        self._trail.running.add(f"undo:{event.entry}")

    def undo_over(self, event: ev.UndoFailed | ev.UndoCompleted) -> None:
        if (node := self.undos.get(event.entry)) is None:
            return
        if isinstance(event, ev.UndoCompleted):
            self._trail.over(node, f"undo:{event.entry}", event.at, "completed")
            return
        lost = event.reason == "lost"
        self._trail.over(node, f"undo:{event.entry}", event.at, "lost" if lost else "failed", event.failure)
        if event.retry_at is not None:
            self._trail.one_of_several(node)

    def undo_settled(self, event: ev.EntrySettled) -> None:
        if (node := self.undos.pop(event.entry, None)) is not None:
            self._trail.settle(node, event.at, event.state, wrong=event.state == "failed")

    def halted(self, event: ev.UndoHalted) -> None:
        if (node := self.rollbacks.get(event.number)) is not None:
            node.note("UndoHalted", event.at, **{"squidmesh.reason": event.reason})

    def ended(self, event: ev.RollbackEnded) -> None:
        if (node := self.rollbacks.pop(event.number, None)) is not None:
            told = ("workflow", self._trail.workflow), ("cause", node.attributes["squidmesh.cause"])
            self._trail.tally.count("squidmesh.rollbacks", *told, ("outcome", event.outcome))
            self._trail.settle(node, event.at, event.outcome, wrong=event.outcome != "clean")
