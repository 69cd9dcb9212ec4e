"""Two workers on one store, on one thread: between any two calls of the store one may die, freeze, or be overtaken.

The rule of this file: what happens at each call comes from outside, as a list of fates; the same list gives the same
course of events. A worker that died calls the store no more, as by ``kill -9``; its successor has another id.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

from sqlalchemy import text

from squidmesh.core.status import ENDED
from squidmesh.engine.worker import Worker
from squidmesh.ports import Bell, BellKind
from squidmesh.testing import VirtualMesh

LOOKS = {
    "now", "run", "run_by_key", "runs", "history", "last", "inbox", "tasks", "workers", "due", "close", "collided",
    "schedule", "schedules", "ticks", "met", "newest", "trees", "records",
}  # fmt: skip
"""Methods that nothing happens at: they read, and to die before one of them is to die before the next of the others."""

ROUNDS = 80
"""Of heartbeat, sweep and work, until a run must have ended."""
LARGEST_ROUND = 6
"""Bells that are served in one round."""


class Fate(StrEnum):
    GO_ON = "go on"
    OTHER = "the other worker works"
    DIE_BEFORE = "dies before the call"
    DIE_AFTER = "dies after the call, before it hears the answer"
    FREEZE = "stands still until its lease is gone, and goes on"
    BEAT = "its heartbeat comes"
    LEAVE = "is told to leave, and its body goes on for a while"


class Death(BaseException):
    """The worker is gone; carries whose it is."""

    def __init__(self, member: Member) -> None:
        self.member = member


class Member:
    """One of the workers, and the store as it sees it."""

    def __init__(self, cluster: Cluster, queues: tuple[str, ...]) -> None:
        self.cluster, self.dead = cluster, False
        self.alone = False  # it holds what others would wait for, and they have no other thread
        engine = cluster.mesh.connect_engine()
        mine = dataclasses.replace(engine, store=_Store(self, engine.store), observers=[])  # type: ignore[arg-type]
        self.worker = Worker(mine, queues=queues, threads=1)
        engine.store.register(self.worker.id, "here", 1, self.worker.can, engine.settings.lease)

    def call(self, name: str, method: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if self.dead:
            raise Death(self)
        if name in LOOKS or name in ("register", "renew"):
            return method(*args, **kwargs)
        fate = self.cluster.next_fate()
        if fate is Fate.DIE_BEFORE:
            self.die()
        self.cluster.happens(fate, self)
        answer = method(*args, **kwargs)
        if fate is Fate.DIE_AFTER:
            self.die()
        return answer

    def die(self) -> None:
        self.dead = True
        raise Death(self)

    def round(self) -> int:
        """Heartbeat, sweep, and the work that is due, up to a few pieces; how many those were."""
        done = 0
        try:
            self.worker.heartbeat()
            self.worker.sweep()
            for bell in self._due():
                todo = deque([bell])
                while todo and done < LARGEST_ROUND:
                    todo.extend(
                        b for b in self.worker.serve(todo.popleft(), float("inf")) if self.worker.serves(b.queue)
                    )
                    done += 1
        except Death as death:
            if death.member is not self:
                raise
            self.cluster.replace(self)
        return done

    def _due(self) -> list[Bell]:
        """What its sweep would ring, now and here."""
        due = self.cluster.mesh.connect_engine().store.due(self.worker.can, 1)
        return [Bell(BellKind.DRAIN, queue) for queue in {**due.tasks, **due.runs}]


class _Store:
    def __init__(self, member: Member, store: Any) -> None:
        self._member, self._store = member, store

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not callable(found):
            return found
        return lambda *args, **kwargs: self._member.call(name, found, args, kwargs)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[_Transaction]:
        """Its begin and its commit are calls, too; of whoever dies between them nothing is left."""
        member, own_thread = self._member, self._member.cluster.waits
        with contextlib.ExitStack() as stack:
            shared = member.call("begin", stack.enter_context, (self._store.transaction(),), {})
            member.alone = own_thread
            try:
                yield _Transaction(member, shared)
                member.call("commit", stack.close, (), {})
            finally:
                member.alone = False


class _Transaction:
    """What user code shares with the engine: from its first word on, others would wait for it."""

    def __init__(self, member: Member, shared: Any) -> None:
        self._member, self._shared, self.connection = member, shared, shared.connection

    def append(self, *args: Any) -> Any:
        return self._member.call("append", lambda: self._said(self._shared.append(*args)), (), {})

    def report(self, *args: Any) -> Any:
        return self._member.call("report", lambda: self._said(self._shared.report(*args)), (), {})

    def _said(self, answer: Any) -> Any:
        self._member.alone = True
        return answer


class Cluster:
    """Two members on one store. ``fates``: what happens at each call, in order; or at which of the calls what does."""

    def __init__(
        self,
        mesh: VirtualMesh,
        fates: Sequence[Fate] | Mapping[int, Fate],
        queues: tuple[tuple[str, ...], tuple[str, ...]],
    ) -> None:
        if isinstance(fates, Mapping):
            listed = [fates.get(call, Fate.GO_ON) for call in range(max(fates, default=-1) + 1)]
        else:
            listed = list(fates)
        self.mesh, self._fates = mesh, deque(listed)
        self.waits = mesh.engine.dialect.name == "sqlite"
        self._depth = 0
        self.members = [Member(self, served) for served in queues]

    def next_fate(self) -> Fate:
        return self._fates.popleft() if self._fates else Fate.GO_ON

    def happens(self, fate: Fate, member: Member) -> None:
        """What happens to others, or to time, before this member's call."""
        if self._depth or member.alone or fate not in (Fate.OTHER, Fate.FREEZE, Fate.LEAVE, Fate.BEAT):
            return
        self._depth += 1
        try:
            match fate:
                case Fate.BEAT:
                    member.worker.heartbeat()
                case Fate.LEAVE:
                    member.worker.leave()
                    member.worker.enter()
                case Fate.FREEZE:
                    self.let_lease_end(besides=member)
            for other in self.others(member):
                other.round()
        finally:
            self._depth -= 1

    def others(self, member: Member | None) -> list[Member]:
        return [other for other in self.members if other is not member]

    def replace(self, dead: Member) -> None:
        served = dead.worker.queues
        self.members[self.members.index(dead)] = Member(self, served)

    def let_lease_end(self, besides: Member | None = None) -> None:
        """Time passes; whoever lives keeps its lease, but for one."""
        lease = self.mesh.settings.lease
        for _ in range(3):
            self.pass_time(lease / 2)
            for other in self.others(besides):
                other.worker.heartbeat()

    def pass_time(self, seconds: float) -> None:
        clock = self.mesh._clock
        clock.set(clock.now() + round(seconds * 1e6))

    def settle(self, handles: list[Any], person: Callable[[Any], bool] = lambda _: False, rounds: int = ROUNDS) -> None:
        """Let the workers work until all these runs have ended.

        :param person: is asked to do something about a run when there is nothing to do for the workers, and after its
            end; whether it did.
        """
        for _ in range(rounds):
            done = sum(self.members[n].round() for n in range(len(self.members)))
            over = all(self._over(handle) for handle in handles)
            if (done and not over) or sum(person(handle) for handle in handles):
                continue
            if over:
                return
            self.pass_time(self.mesh.settings.lease / 3)
        told = "\n".join(f"{h.status()}: {h.explain().summary}\n" + "\n".join(map(str, h.history())) for h in handles)
        raise AssertionError(f"not ended after {rounds} rounds:\n{told}")

    def _over(self, handle: Any) -> bool:
        """Whether it has ended, and nobody has opened it again."""
        row = self.mesh.connect_engine().store.run(handle.run_id)
        return row is not None and row.status in ENDED and row.ended_at is not None

    def left_over(self) -> list[Any]:
        """What is claimed, due or waiting in any table: nothing, when all runs have ended."""
        found: list[Any] = []
        with self.mesh.engine.connect() as connection:
            for table in ("tasks", "joins", "inbox"):
                found += [(table, *row) for row in connection.execute(text(f"SELECT * FROM squidmesh_{table}"))]
            claimed = (
                "SELECT id, status, worker, due_at FROM squidmesh_runs WHERE worker IS NOT NULL OR due_at IS NOT NULL"
            )
            found += connection.execute(text(claimed)).all()
        return found
