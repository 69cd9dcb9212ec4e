"""The workers of this process that a host's broker reaches, and who answers while it reaches nobody.

The rule of this file: an outage of the broker costs latency, never service. What a worker's own sweep finds
is rung like anything else; when that bell cannot be sent, a thread of this process answers it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from squidmesh.ports import Bell

if TYPE_CHECKING:
    from squidmesh.engine.worker import Worker

log = logging.getLogger("squidmesh.worker")


@dataclass(slots=True)
class _Listener:
    worker: Worker
    most: int
    threads: set[threading.Thread] = field(default_factory=set)

    def serves(self, bell: Bell) -> bool:
        return bell.queue in self.worker.queues


class Listeners:
    """The workers that hear one doorbell in this process."""

    def __init__(self) -> None:
        self._listeners: tuple[_Listener, ...] = ()
        self._lock = threading.Lock()

    def add(self, worker: Worker, threads: int) -> None:
        """From now on this worker hears; of its own accord on at most so many threads at a time."""
        with self._lock:
            self._listeners += (_Listener(worker, threads),)

    def remove(self, worker: Worker, timeout: float) -> bool:
        """This worker hears no more. Waits for its answers in flight; whether all of them came."""
        with self._lock:
            gone = [listener for listener in self._listeners if listener.worker is worker]
            self._listeners = tuple(one for one in self._listeners if one.worker is not worker)
            threads = [thread for listener in gone for thread in listener.threads]
        until = time.monotonic() + timeout
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def hear(self, bell: Bell) -> bool:
        """Answer a bell on this thread; whether anybody here serves its queue."""
        for listener in self._listeners:
            if listener.serves(bell):
                listener.worker.hear(bell)
                return True
        return False

    def answer(self, bells: Sequence[Bell]) -> None:
        """Have bells answered that could not be sent, as far as somebody here has a thread for them."""
        with self._lock:
            for bell in bells:
                for listener in self._listeners:
                    if listener.serves(bell) and len(listener.threads) < listener.most:
                        thread = threading.Thread(
                            target=self._hear, args=(listener, bell), name="squidmesh-answer", daemon=True
                        )
                        listener.threads.add(thread)
                        thread.start()
                        break

    def _hear(self, listener: _Listener, bell: Bell) -> None:
        try:
            listener.worker.hear(bell)
        except Exception:
            log.exception("a bell of queue %s was not answered; the sweep will find what is due", bell.queue)
        finally:
            with self._lock:
                listener.threads.discard(threading.current_thread())
