"""The adversary: a schedule of faults drawn from a seed, and their doing.

The rule of this file: the schedule is drawn before anything happens, from the seed and the seconds alone; what a fault
finds when its time comes decides nothing about the next. Every fault that lasts is mended, at the latest at the end.
"""

import heapq
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any

import redis

from tests.chaos.arena import Arena, Seat
from tests.chaos.bells import steal
from tests.worker.processes import gone

PER_SECOND = 0.8
"""Faults; more than 2,000 an hour."""

WEIGHTS = {
    "kill a worker": 5, "freeze a worker": 4, "stop a worker": 1, "skew a clock": 1,
    "cut from the database": 4, "snap the database": 4, "delay the database": 3, "silence the database": 4,
    "end all sessions": 2,
    "cut from the broker": 2, "delay the broker": 1, "empty Redis": 3, "kill Redis": 1,
    "restart PostgreSQL": 1, "crash PostgreSQL": 1,
    "drop bells": 3, "double bells": 3, "reorder bells": 3,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """``at``: seconds from the beginning; ``who``: which seat, as a number that is taken modulo their count;
    ``lasts``: seconds, where it is something that lasts; ``much``: from 0 to 1, what else there is to choose."""

    at: float
    kind: str
    who: int
    lasts: float
    much: float


def schedule(seed: int, seconds: float) -> list[Fault]:
    """The faults of a storm, in order."""
    chance = Random(seed)
    faults, at = [], 0.0
    while (at := at + chance.expovariate(PER_SECOND)) < seconds:
        kind = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        faults.append(Fault(at, kind, chance.randrange(1_000), chance.uniform(0.1, 4.0), chance.random()))
    return faults


class Adversary:
    """Does the faults of a schedule to an arena, on a thread of its own."""

    def __init__(self, arena: Arena, faults: list[Fault]) -> None:
        self._arena = arena
        self._order = count()
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        for fault in faults:
            self._at(fault.at, lambda fault=fault: self._do(fault))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.done: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self.errors: list[str] = []
        self._begun = 0.0

    def begin(self) -> None:
        self._begun = time.monotonic()
        self._thread.start()

    def end(self) -> None:
        """No more faults; what lasts is mended, and every seat has a worker."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._arena.redis is not None and not self._arena.redis.alive:
            self._arena.redis.start()
        for seat in self._arena.seats:
            seat.thaw()
            seat.mend()
            if seat.process is None or gone(seat.process.pid):
                seat.empty()
        self._arena.fill()

    def _at(self, when: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (when, next(self._order), act))

    def _run(self) -> None:
        while self._agenda:
            due, _, act = heapq.heappop(self._agenda)
            if self._over.wait(max(0.0, self._begun + due - time.monotonic())):
                return
            try:
                act()
            except Exception as error:
                self.errors.append(f"{type(error).__name__}: {error}")

    def _do(self, fault: Fault) -> None:
        seat = self._arena.seats[fault.who % len(self._arena.seats)]
        mend = DOINGS[fault.kind](self, seat, fault)
        if mend is NotImplemented:
            self.missed[fault.kind] += 1
            return
        self.done[fault.kind] += 1
        if mend is not None:
            self._at(time.monotonic() - self._begun + fault.lasts, mend)

    # ------------------------------------------------------------------------------------------------- workers

    def _kill(self, seat: Seat, fault: Fault) -> None:
        seat.empty()
        seat.fill()

    def _skew(self, seat: Seat, fault: Fault) -> None:
        """One whose clock is up to a day off takes its place."""
        seat.empty()
        seat.fill(skew=round((fault.much - 0.5) * 172_800, 3))

    def _stop(self, seat: Seat, fault: Fault) -> Any:
        """Told to stop, it has ``lasts`` seconds for that."""
        if seat.frozen:
            return NotImplemented
        seat.send(signal.SIGTERM)
        process = seat.process

        def replace() -> None:
            if seat.process is process:
                seat.empty()
                seat.fill()

        return replace

    def _freeze(self, seat: Seat, fault: Fault) -> Any:
        if seat.frozen:
            return NotImplemented
        seat.freeze()
        return seat.thaw

    # ---------------------------------------------------------------------------------------------- connections

    def _cut_database(self, seat: Seat, fault: Fault) -> Any:
        seat.to_database.cut()
        return seat.to_database.mend

    def _snap_database(self, seat: Seat, fault: Fault) -> None:
        seat.to_database.snap()

    def _delay_database(self, seat: Seat, fault: Fault) -> Any:
        seat.to_database.delay = fault.much**3  # seldom long, at times near half a lease
        return lambda: setattr(seat.to_database, "delay", 0.0)

    def _silence_database(self, seat: Seat, fault: Fault) -> Any:
        """What its worker says arrives late: perhaps after its lease."""
        seat.to_database.silence()
        return seat.to_database.mend

    def _cut_broker(self, seat: Seat, fault: Fault) -> Any:
        seat.to_broker.cut()
        return seat.to_broker.mend

    def _delay_broker(self, seat: Seat, fault: Fault) -> Any:
        seat.to_broker.delay = fault.much
        return lambda: setattr(seat.to_broker, "delay", 0.0)

    def _end_sessions(self, seat: Seat, fault: Fault) -> None:
        """Of everybody, the crowd's too."""
        with self._arena.connect() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    # -------------------------------------------------------------------------------------------------- servers

    def _restart_postgres(self, seat: Seat, fault: Fault) -> Any:
        if self._arena.postgres is None:
            return NotImplemented
        self._arena.postgres.restart()
        return None

    def _crash_postgres(self, seat: Seat, fault: Fault) -> Any:
        """Killed, or (half of the time) ended at once, as ``pg_ctl stop -m immediate`` does."""
        if self._arena.postgres is None:
            return NotImplemented
        if fault.much < 0.5:
            self._arena.postgres.kill()
        else:
            self._arena.postgres.quit()
        self._arena.postgres.start()
        return None

    def _empty_redis(self, seat: Seat, fault: Fault) -> Any:
        if not self._arena.on_redis:
            return NotImplemented
        try:
            with self._arena.lists() as lists:
                lists.flushall()
        except redis.RedisError:  # away: emptier it cannot be
            return NotImplemented
        return None

    def _kill_redis(self, seat: Seat, fault: Fault) -> Any:
        """It comes up again empty, at once or (half of the time) after a while."""
        server = self._arena.redis
        if server is None or not server.alive:
            return NotImplemented
        server.kill()
        if fault.much < 0.5:
            return server.start
        server.start()
        return None

    # ---------------------------------------------------------------------------------------------------- bells

    def _steal(self, how: str, fault: Fault) -> Any:
        if not self._arena.on_redis:
            return NotImplemented
        steal(self._arena.lists(), how, fault.lasts, fault.much)
        return None

    def _drop(self, seat: Seat, fault: Fault) -> Any:
        return self._steal("drop", fault)

    def _double(self, seat: Seat, fault: Fault) -> Any:
        return self._steal("double", fault)

    def _reorder(self, seat: Seat, fault: Fault) -> Any:
        return self._steal("reorder", fault)


DOINGS: dict[str, Callable[[Adversary, Seat, Fault], Any]] = {
    "kill a worker": Adversary._kill,
    "freeze a worker": Adversary._freeze,
    "stop a worker": Adversary._stop,
    "skew a clock": Adversary._skew,
    "cut from the database": Adversary._cut_database,
    "snap the database": Adversary._snap_database,
    "delay the database": Adversary._delay_database,
    "silence the database": Adversary._silence_database,
    "end all sessions": Adversary._end_sessions,
    "cut from the broker": Adversary._cut_broker,
    "delay the broker": Adversary._delay_broker,
    "empty Redis": Adversary._empty_redis,
    "kill Redis": Adversary._kill_redis,
    "restart PostgreSQL": Adversary._restart_postgres,
    "crash PostgreSQL": Adversary._crash_postgres,
    "drop bells": Adversary._drop,
    "double bells": Adversary._double,
    "reorder bells": Adversary._reorder,
}
