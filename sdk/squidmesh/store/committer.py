"""Several runs' appends in one commit.

While few threads of this process append, each writes for itself. When more do, one committer thread takes all that
wait and writes them together; who comes while it writes waits for the next batch. Each caller waits until its own
append is durable, so that the promise is that of a commit each. No time is spent waiting for company.

The rule of this file: an append that cannot be written hurts its own caller only. Whatever goes wrong with a batch,
its members are tried again one by one, each by its own thread.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence

from squidmesh.ports import Append, Appended
from squidmesh.store.ending import may_have_more

LARGEST = 256  # appends in a batch

Write = Callable[[Sequence[Append]], list[Appended | None]]


class _Waiting:
    """One append, and the thread that waits for it."""

    __slots__ = ("append", "answer", "done", "failed")

    def __init__(self, append: Append) -> None:
        self.append = append
        self.answer: Appended | None = None
        self.failed = False
        self.done = threading.Lock()
        self.done.acquire()


class Committer:
    """Writes appends alone or together, as many as come at the same time.

    Args:
        write: writes a batch durably, in order; None for an append that is refused. What it raises has written
            nothing, as far as is known.
        direct: how many threads write for themselves.
    """

    def __init__(self, write: Write, direct: int) -> None:
        self._write = write
        self._most_direct = direct
        self._begin()

    def _begin(self) -> None:
        self._guard = threading.Lock()
        self._more = threading.Condition(self._guard)
        self._waiting: deque[_Waiting] = deque()
        self._direct = 0  # threads that write for themselves
        self._busy = False  # somebody waits for the committer, or it writes
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()
        self._closed = False

    def write(self, append: Append) -> tuple[Appended | None, bool]:
        """Write one append, alone or in company.

        Returns:
            What became of it (None: refused), and whether it was tried: False when its batch failed, and it may or
            may not be there.
        """
        if os.getpid() != self._pid:
            self._begin()  # forked: threads and locks stayed with the parent
        with self._guard:
            alone = self._closed or may_have_more(append) or (self._direct < self._most_direct and not self._busy)
            waiting = None if alone else self._line_up(append)
            self._direct += alone
        if waiting is not None:
            waiting.done.acquire()
            return waiting.answer, not waiting.failed
        try:
            return self._write((append,))[0], True
        finally:
            with self._guard:
                self._direct -= 1

    def _line_up(self, append: Append) -> _Waiting:
        waiting = _Waiting(append)
        self._waiting.append(waiting)
        self._busy = True
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="squidmesh-committer", daemon=True)
            self._thread.start()
        self._more.notify()
        return waiting

    def close(self) -> None:
        """Write what waits, and end the thread."""
        with self._guard:
            self._closed = True
            self._more.notify()
            thread = self._thread
        if thread is not None and os.getpid() == self._pid:
            thread.join()

    def _serve(self) -> None:
        while True:
            with self._guard:
                self._busy = bool(self._waiting)
                while not self._waiting and not self._closed:
                    self._more.wait()
                batch = self._next_batch()
            if not batch:
                return
            try:
                answers = self._write([waiting.append for waiting in batch])
                for waiting, answer in zip(batch, answers, strict=True):
                    waiting.answer = answer
            except BaseException:  # noqa: BLE001  # each caller tries its own again, and meets its own error
                for waiting in batch:
                    waiting.failed = True
            for waiting in batch:
                waiting.done.release()

    def _next_batch(self) -> list[_Waiting]:
        """Take what waits; of one run only the first, since a batch has one place for each, written to or told."""
        batch: list[_Waiting] = []
        later: list[_Waiting] = []
        runs: set[str] = set()
        told: set[str] = set()
        while self._waiting and len(batch) < LARGEST:
            waiting = self._waiting.popleft()
            run, tells = waiting.append.run_id, {letter.run_id for letter in waiting.append.letters}
            if run in runs or run in told or not runs.isdisjoint(tells):
                later.append(waiting)
            else:
                runs.add(run)
                told |= tells
                batch.append(waiting)
        self._waiting.extendleft(reversed(later))
        return batch
