"""Keeps a broker that is away from costing more than a moment.

The rule of this file: one warning when it goes, one line when it is back, and in between a pause in which
nobody waits for it.
"""

from __future__ import annotations

import logging
import threading
import time

log = logging.getLogger("squidmesh.worker")


class Outage:
    """Remembers whether a broker can be reached.

    ``name``: how log lines call it (never with a password); ``pause``: seconds after a failure in which it is
    not asked again. One thread at a time finds out whether it is back.
    """

    def __init__(self, name: str, pause: float = 2.0) -> None:
        self._name = name
        self._pause = pause
        self._lock = threading.Lock()
        self._since: float | None = None
        self._again_at = 0.0

    def worth_trying(self) -> bool:
        """Whether to ask the broker now; a yes during an outage makes the caller the one who finds out."""
        if self._since is None:
            return True
        with self._lock:
            if time.monotonic() < self._again_at:
                return False
            self._again_at = time.monotonic() + self._pause
            return True

    def failed(self, error: BaseException) -> None:
        """The broker did not answer."""
        with self._lock:
            self._again_at = time.monotonic() + self._pause
            if self._since is not None:
                return
            self._since = time.monotonic()
        log.warning(
            "broker %s is away (%s); nothing is lost: work is picked up at the next sweep until it is back",
            self._name,
            type(error).__name__ if not str(error) else error,
        )

    def ended(self) -> None:
        """The broker answered."""
        if self._since is None:
            return
        with self._lock:
            since, self._since = self._since, None
        if since is not None:
            log.warning("broker %s is back after %.1f s", self._name, time.monotonic() - since)
