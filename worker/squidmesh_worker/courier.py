"""Sends bells from a thread of its own, for brokers that may keep their callers waiting.

The rule of this file: ``ring`` takes no longer than putting bells on a list, whatever state the broker is in;
what cannot be sent is dropped, because the sweep finds what was not rung.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence

from squidmesh.ports import Bell
from squidmesh_worker.outage import Outage

log = logging.getLogger("squidmesh.worker")

#: Bells that may wait to be sent; older ones make room.
_MOST = 10_000
#: Seconds between two looks after an idle connection.
_LOOK_AFTER = 5.0


class Courier:
    """One daemon thread that sends what is rung, started by the first ring.

    ``send``: sends some bells, may block and raise; ``look_after``: called now and then in between;
    ``undelivered``: gets those that could not be sent.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Bell]], None],
        outage: Outage,
        look_after: Callable[[], None] | None = None,
        undelivered: Callable[[Sequence[Bell]], None] | None = None,
    ) -> None:
        self._undelivered = undelivered
        self._send = send
        self._outage = outage
        self._look_after = look_after
        self._forget()

    def _forget(self) -> None:
        self._bells: deque[Bell] = deque(maxlen=_MOST)
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()
        self._closing = False
        self._idle = True

    def ring(self, bells: Sequence[Bell]) -> None:
        """Have these sent soon."""
        if self._pid != os.getpid():  # forked: the thread stayed in the parent, and so do its bells
            self._forget()
        with self._changed:
            if self._closing:
                return
            self._bells.extend(bells)
            self._idle = False
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="squidmesh-courier", daemon=True)
                self._thread.start()
                atexit.register(self.close)
            self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait until everything rung so far has been sent or dropped, at most ``timeout`` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._idle, timeout)

    def close(self, timeout: float = 1.0) -> None:
        """Send what is left, for at most ``timeout`` seconds; afterwards nothing is sent any more."""
        if self._pid != os.getpid() or self._thread is None:
            self._closing = True
            return
        atexit.unregister(self.close)
        self.flush(timeout)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._bells:
                    self._idle = True
                    self._changed.notify_all()
                    if self._closing:
                        return
                    self._changed.wait(_LOOK_AFTER if self._look_after else None)
                bells = list(self._bells)
                self._bells.clear()
            if bells:
                self._deliver(bells)
            elif self._look_after is not None:
                self._look_after()

    def _deliver(self, bells: Sequence[Bell]) -> None:
        try:
            if self._outage.worth_trying():
                self._send(bells)
                self._outage.ended()
                return
        except Exception as error:  # noqa: BLE001 — a host's broker may raise whatever its driver does
            self._outage.failed(error)
        if self._undelivered is not None:
            self._undelivered(bells)
