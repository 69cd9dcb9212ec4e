"""Who starts the runs and does to them what people do: one thread for each, which outlives any outage.

The rule of this file: whatever is said to the mesh has a key, and is said again until it is answered. What was answered
is kept: an answer is a promise, which the checker holds the engine to.
"""

import heapq
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from random import Random
from typing import Any

from sqlalchemy.exc import DBAPIError

from squidmesh import Applied, Handle, IllegalState, Mesh, NotApplied
from squidmesh.errors import MeshError, NothingOpen, NothingToUndo, StoreUnavailable
from tests.chaos.plans import Act, Plan, draw
from tests.chaos.promise import Promise
from tests.chaos.workload import TOLD

AGAIN = 0.4  # seconds until something is said again
AWAY = (StoreUnavailable, DBAPIError, OSError)
"""The database did not answer; whether it has heard, nobody knows."""


class Crowd:
    """Starts ``rate`` plans a second, of the kinds ``only``, until ``rest``; then only does what is still to be done.

    ``happened``: whether an effect is there, by key: what a person finds out who looks after a step in doubt.
    """

    def __init__(
        self, mesh: Mesh, seed: int, rate: float, only: frozenset[str], happened: Callable[[str], bool]
    ) -> None:  # fmt: skip
        self._mesh = mesh
        self._chance = Random(seed)
        self._rate, self._only = rate, only
        self._happened = happened
        self._errands: list[tuple[float, int, Callable[[], bool]]] = []
        self._order = count()
        self._lock = threading.Condition()
        self._resting = self._closed = self._doing = False
        self.promises: list[Promise] = []
        self.outages: Counter[str] = Counter()
        self.errors: list[str] = []
        self._threads = [threading.Thread(target=self._start_all), threading.Thread(target=self._do_all)]

    def begin(self) -> None:
        for thread in self._threads:
            thread.start()

    def rest(self) -> None:
        """Start nothing more."""
        self._resting = True
        self._threads[0].join()

    @property
    def busy(self) -> bool:
        """Whether somebody still has to say something."""
        return self._doing or bool(self._errands)

    def close(self) -> None:
        self._resting = self._closed = True
        with self._lock:
            self._lock.notify()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    # ------------------------------------------------------------------------------------------------- starting

    def _start_all(self) -> None:
        begun = time.monotonic()
        for n in count(1):
            while not self._resting and time.monotonic() < begun + n / self._rate:
                time.sleep(0.02)
            if self._resting:
                return
            plan = draw(self._chance, self._only)
            whom = ""
            if plan.listener is not None and (listener := self._start(plan.listener, f"listener-{n}", "")) is not None:
                whom = listener.run_id
            self._start(plan, f"run-{n}", whom)

    def _start(self, plan: Plan, key: str, whom: str) -> Promise | None:
        call = plan.call(whom)
        while not self._closed:
            try:
                handle = self._mesh.start(call, key=key)
            except AWAY as error:
                self.outages[type(error).__name__] += 1
                time.sleep(AGAIN / 2)
                continue
            except Exception as error:
                self.errors.append(f"start of {key}: {type(error).__name__}: {error}")
                return None
            promise = Promise(handle.run_id, plan.ends, plan.result)
            self.promises.append(promise)
            self._act_later(promise, plan.acts)
            return promise
        return None

    # --------------------------------------------------------------------------------------------------- people

    def _later(self, seconds: float, errand: Callable[[], bool]) -> None:
        with self._lock:
            heapq.heappush(self._errands, (time.monotonic() + seconds, next(self._order), errand))
            self._lock.notify()

    def _do_all(self) -> None:
        while not self._closed:
            with self._lock:
                wait = self._errands[0][0] - time.monotonic() if self._errands else 0.5
                if wait > 0:
                    self._lock.wait(wait)
                    continue
                self._doing = True
                _, _, errand = heapq.heappop(self._errands)
            if not self._tried(errand):
                self._later(AGAIN, errand)
            self._doing = False

    def _tried(self, errand: Callable[[], bool]) -> bool:
        try:
            return errand()
        except AWAY as error:
            self.outages[type(error).__name__] += 1
            return False
        except Exception as error:
            self.errors.append(f"{type(error).__name__}: {error}")
            return True

    def _act_later(self, promise: Promise, acts: Sequence[Act], n: int = 0) -> None:
        """What people do to one run they do in order."""

        def act() -> bool:
            done = self._act(promise, acts[n], f"act-{n}")
            if done:
                self._act_later(promise, acts, n + 1)
            return done

        if n < len(acts):
            self._later(max(0.0, acts[n].after - (acts[n - 1].after if n else 0.0)), act)

    def _act(self, promise: Promise, act: Act, key: str) -> bool:
        """Do it; False: it is too early."""
        handle = self._mesh.handle(promise.run_id)
        try:
            self._say(handle, act, key)
        except NothingOpen:
            return self._over(handle)  # the gate is not there yet
        except (IllegalState, NothingToUndo):
            # `rollback`: not over yet. All else: over already.
            return act.what != "rollback" or self._over(handle)
        promise.words[key] = act.what
        return True

    @staticmethod
    def _say(handle: Handle[Any], act: Act, key: str) -> None:
        by: dict[str, Any] = {"actor": "ann", "note": "chaos", "key": key}
        match act.what:
            case "approve":
                handle.approve("desk", actor=act.value, key=key)
            case "reject":
                handle.reject("desk", actor=act.value, key=key)
            case "resume":
                handle.resume(act.value, gate="word", actor="ann", key=key)
            case "signal":
                handle.signal(TOLD, act.value, key=key)
            case "cancel":
                handle.cancel(actor="ann", key=key)
            case what:
                getattr(handle, what)(**by)

    # --------------------------------------------------------------------------------------------------- repair

    def look_after(self, run_ids: list[str]) -> None:
        """See to runs that are blocked: say of a step in doubt what is true of it, have undos called again."""
        for run_id in run_ids:
            self._later(0, lambda run_id=run_id: self._repair(self._mesh.handle(run_id)))

    def _repair(self, handle: Handle[Any]) -> bool:
        by: dict[str, Any] = {"actor": "eve", "note": "looked after"}
        with suppress(MeshError):  # it has gone on meanwhile; where not, it is found blocked again
            for step in handle.inspect().steps:
                if step.status == "in_doubt":
                    there = self._happened(f"{handle.run_id}:{step.position}")
                    value = (step.input or {}).get("n")
                    handle.resolve_step(step.position, Applied(value) if there else NotApplied(), **by)
                    return True
            report = handle.inspect().rollback
            for entry in report.failed if report is not None else ():
                handle.undo_retry(entry.position, **by)
        return True

    def _over(self, handle: Handle[Any]) -> bool:
        """Whether the last run of a chain has ended."""
        seen = handle.inspect()
        while seen.continued_as is not None:
            seen = self._mesh.handle(seen.continued_as).inspect()
        return seen.ended_at is not None
