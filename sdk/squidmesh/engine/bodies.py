"""Where bodies of steps run beside the worker's own thread: threads that can be let go, and an event loop.

The rule of this file: a limit is enforced by whoever waits. A sync body that does not come back keeps its thread (a
daemon, replaced by another); an async one is cancelled.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import os
import queue
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any


class Carried(Exception):
    """Takes what would end an event loop, or a wait on it, out of it."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class _Thread(threading.Thread):
    """A thread that runs one body after the other, and goes back on the shelf between them."""

    def __init__(self) -> None:
        super().__init__(name="squidmesh-step", daemon=True)
        self._work: queue.SimpleQueue[tuple[Callable[[], Any], concurrent.futures.Future[Any]]] = queue.SimpleQueue()
        self.start()

    def submit(self, body: Callable[[], Any]) -> concurrent.futures.Future[Any]:
        outcome: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self._work.put((body, outcome))
        return outcome

    def run(self) -> None:
        while True:
            body, outcome = self._work.get()
            try:
                outcome.set_result(contextvars.copy_context().run(body))
            except BaseException as error:  # noqa: BLE001 - it is raised again where the body is waited for
                outcome.set_exception(error)
            del body, outcome


_shelf: list[_Thread] = []
_loop: asyncio.AbstractEventLoop | None = None
_lock = threading.Lock()


def _forked() -> None:
    """The threads stayed in the parent."""
    global _loop, _lock
    _shelf.clear()
    _loop, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def run_limited(
    body: Callable[[], Any],
    what: str,
    timeout: float | None,
    heartbeat: float | None,
    beat: Callable[[], float],
) -> Any:
    """Run a sync body in a thread of its own.

    :raises TimeoutError: it did not come back in ``timeout`` seconds, or did not beat for ``heartbeat`` seconds.
    """
    try:
        thread = _shelf.pop()
    except IndexError:
        thread = _Thread()
    outcome = thread.submit(body)
    began = time.monotonic()
    while True:
        left, why = _left(what, began, timeout, heartbeat, beat())
        if left <= 0 and not outcome.done():
            raise TimeoutError(why)  # the thread is not put back
        concurrent.futures.wait([outcome], timeout=left)
        if outcome.done():
            _shelf.append(thread)
            return outcome.result()


def run_async(
    body: Coroutine[Any, Any, Any],
    what: str,
    timeout: float | None,
    heartbeat: float | None,
    beat: Callable[[], float],
) -> Any:
    """Run an async body on the event loop of this process, and wait for it on this thread."""
    return asyncio.run_coroutine_threadsafe(limited(body, what, timeout, heartbeat, beat), loop()).result()


async def limited(
    body: Coroutine[Any, Any, Any],
    what: str,
    timeout: float | None,
    heartbeat: float | None,
    beat: Callable[[], float],
) -> Any:
    """Await a body as a task of its own, within its limits; past them it is cancelled and has failed."""
    task = asyncio.ensure_future(body)
    began = time.monotonic()
    while True:
        left, why = _left(what, began, timeout, heartbeat, beat())
        if left <= 0 and not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=1)
            raise TimeoutError(why)
        await asyncio.wait([task], timeout=None if left == float("inf") else left)
        if task.done():
            try:
                return task.result()
            except asyncio.CancelledError as error:  # by itself: nobody has cancelled who waits
                raise Carried(error) from None


def loop() -> asyncio.AbstractEventLoop:
    """The event loop that async steps of this process share; made when first needed, on a daemon thread."""
    global _loop  # noqa: PLW0603 - one loop a process
    with _lock:
        if _loop is None or _loop.is_closed():
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="squidmesh-async", daemon=True).start()
        return _loop


def _left(what: str, began: float, timeout: float | None, heartbeat: float | None, beat: float) -> tuple[float, str]:
    """Seconds until the nearest limit, and what it says when it is passed."""
    now, left, why = time.monotonic(), float("inf"), ""
    if timeout is not None:
        left, why = began + timeout - now, f"{what} did not return within {timeout:g} s"
    if heartbeat is not None and beat + heartbeat - now < left:
        left, why = beat + heartbeat - now, f"{what} gave no heartbeat for {heartbeat:g} s"
    return left, why
