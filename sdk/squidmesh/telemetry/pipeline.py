"""The way from committed events to exporters: a queue, one thread, and the trails of the runs that are followed.

    observe ─▶ queue ─▶ trail of the run ─▶ at the end of a turn: its spans ─▶ the provider's processors

A turn ends with an append that leaves nothing begun; then its spans are handed over, by whoever made that append. What
a worker that died has left of its turn is in history, and is handed over by its successor at the end of *its* turn. So
each span is exported once, by the process that commits the end of its turn.

The rule of this file: whoever commits pays for putting something on a list, and never waits or hears of a failure here.
What is too much is dropped, and counted.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from squidmesh.core.codec import decode
from squidmesh.core.events import Event
from squidmesh.telemetry.tally import NO_TALLY, Tally
from squidmesh.telemetry.trail import Trail

if TYPE_CHECKING:
    from squidmesh.ports import HistoryRow, Store
    from squidmesh.telemetry.metrics import Metrics
    from squidmesh.telemetry.spans import Spans

logger = logging.getLogger("squidmesh.telemetry")

MOST = 50_000
"""Appends that may wait; on a worker at full speed, several seconds of them."""
KEPT = 1_024
"""Runs whose trails are kept; that of another is made anew from its history when it goes on."""
PAUSE = 0.1
"""Seconds that the thread lets things gather."""


class Pipeline:
    """``dropped`` counts appends that came when the queue was full."""

    def __init__(self, spans: Spans | None) -> None:
        self.spans = spans
        self.metrics: Metrics | None = None
        self.dropped = 0
        self._tally: Tally = NO_TALLY
        self._trails: OrderedDict[str, Trail] = OrderedDict()
        self._failed: set[str] = set()
        self._begin()
        _all.add(self)
        atexit.register(_at_exit, weakref.ref(self))

    def measure(self, metrics: Metrics) -> None:
        """Measure, too, from now on."""
        self.metrics, self._tally = metrics, Tally()

    def _begin(self) -> None:
        self._queue: deque[tuple[Any, ...]] = deque()
        self._filled, self._hurry = threading.Event(), threading.Event()
        self._changed = threading.Condition()
        self._busy = False
        self._thread: threading.Thread | None = None

    # ------------------------------------------------------------------------------------- from other threads

    def put(self, store: Store, run_id: str, workflow: str, first: int, what: Sequence[Event]) -> None:
        """These events were committed here, the first of them under this number."""
        self._put((store, run_id, workflow, first, what))

    def taken_up(self, store: Store, run_id: str, workflow: str, rows: Sequence[HistoryRow]) -> None:
        """These rows were committed by others."""
        if rows:
            self._put((store, run_id, workflow, 0, rows))

    def _put(self, item: tuple[Any, ...]) -> None:
        if len(self._queue) >= MOST:
            self.dropped += 1
            return
        self._queue.append(item)
        if not self._filled.is_set():
            self._wake()

    def _wake(self) -> None:
        with self._changed:
            self._filled.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="squidmesh-telemetry", daemon=True)
                self._thread.start()

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until all that was committed so far is with the processors; whether that was within ``timeout`` s."""
        with self._changed:
            if self._thread is None:
                return True
            self._hurry.set()
            self._filled.set()
            return self._changed.wait_for(lambda: not (self._queue or self._busy), timeout)

    # --------------------------------------------------------------------------------------- on its own thread

    def _serve(self) -> None:
        while True:
            self._filled.wait()
            self._hurry.wait(PAUSE)
            self._busy = True
            self._hurry.clear()
            self._filled.clear()
            while self._queue:
                self._safely("a run could not be followed", self._follow, *self._queue.popleft())
            if self.metrics is not None:
                self._safely("metrics could not be recorded", self.metrics.record, self._tally)
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _safely(self, what: str, do: Any, *args: Any) -> None:
        try:
            do(*args)
        except Exception:
            if what not in self._failed:  # said once; whatever it is, it will not get better by being said again
                self._failed.add(what)
                logger.exception("%s; this is said once, and runs go on as ever", what)

    def _follow(self, store: Store, run_id: str, workflow: str, first: int, what: Sequence[Any]) -> None:
        trail = self._trails.get(run_id)
        if trail is None:
            if first == 1:  # it was started here; whoever drives it takes it up
                return
            trail = self._trails[run_id] = Trail(run_id, workflow)
            if len(self._trails) > KEPT:
                self._trails.popitem(last=False)
        else:
            self._trails.move_to_end(run_id)
        try:
            if not first:
                self._known(trail, what)
            elif first + len(what) - 1 > trail.length and self._caught_up(store, trail, first):
                self._new(trail, what)
        except BaseException:
            self._trails.pop(run_id, None)
            raise

    def _known(self, trail: Trail, rows: Sequence[HistoryRow]) -> None:
        """Follow what others have committed; what they left of a turn is still to be handed over."""
        for row in rows:
            if row.seq > trail.length + 1:
                return
            if row.seq == trail.length + 1:
                if trail.row(decode(row.events, row.seq)):
                    trail.spans = []
                self._decide(trail)

    def _caught_up(self, store: Store, trail: Trail, first: int) -> bool:
        if trail.length + 1 < first:
            rows = store.history(trail.run_id, trail.length)
            self._known(trail, [row for row in rows if row.seq < first])
        if trail.length + 1 != first:
            logger.debug("run %s: event %d is not where it was committed", trail.run_id, first)
            self._trails.pop(trail.run_id, None)
        return trail.length + 1 == first

    def _new(self, trail: Trail, events: Sequence[Event]) -> None:
        if not trail.wanted and self.metrics is None:
            trail.length += len(events)
            return
        trail.tally = self._tally
        over = trail.row(events) or trail.ended
        trail.tally = NO_TALLY
        self._decide(trail)
        if over and trail.spans and self.spans is not None:
            spans, trail.spans = trail.spans, []
            self._safely("spans could not be handed over", self.spans.hand_over, trail, spans)
        if trail.ended and not trail.walks.rollbacks:
            self._trails.pop(trail.run_id, None)

    def _decide(self, trail: Trail) -> None:
        if not trail.decided and trail.started is not None:
            trail.decided = True
            trail.wanted = self.spans is not None and self.spans.sampled(trail.run_id, trail.started.trace)


_all: weakref.WeakSet[Pipeline] = weakref.WeakSet()


def _forked() -> None:
    """The thread stayed in the parent, and so does what it was about to do."""
    for pipeline in _all:
        pipeline._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _at_exit(pipeline: weakref.ref[Pipeline]) -> None:
    if (found := pipeline()) is not None:
        found.flush(2.0)
