"""A run in each state that a command of a person can meet, and each command: see test_every_command.py."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from squidmesh import (
    Applied,
    Flow,
    GiveUp,
    Handle,
    Retry,
    WorkflowError,
    approval,
    context,
    pause,
    sleep,
    step,
    workflow,
)
from squidmesh.testing import VirtualMesh

WHO: dict[str, Any] = {"actor": "ada", "note": "looked at it"}
Probe = Callable[[Handle[Any]], None]

probes: list[Probe] = []  # what a step does while its run is running


@step(name="every.book", undo_retry=Retry(max_attempts=2, initial=60, jitter=0))
def book(undo: str = "") -> str:
    return "booked"


@book.undo
def unbook(made: str, undo: str = "") -> None:
    if undo == "fails":
        raise GiveUp("no")
    if undo == "later":
        raise ValueError("not yet")


@step(name="every.probe", idempotent=False)
def probed() -> None:
    if probes:
        probes.pop()(context().mesh.handle(context().run_id))


@step(name="every.unsure", irreversible=True)
def unsure() -> int:
    raise TimeoutError("no answer")


@step(name="every.mail", irreversible=True)
def mail() -> int:
    return 1


@step(name="every.decide", pivot=True)
def decide() -> None: ...


@step(name="every.breaks", retry=Retry(max_attempts=2, initial=60, jitter=0))
def breaks() -> int:
    raise ValueError("no")


@step(name="every.fails")
def fails() -> int:
    raise ValueError("no")


@workflow(name="every.run", on_irreversible="halt")
def run(how: str) -> Flow[None]:
    yield from book({"undo_failed": "fails", "undoing": "later"}.get(how, ""))
    match how:
        case "waiting":
            yield from sleep(3600)
        case "retrying":
            yield from breaks()
        case "approval":
            yield from approval("desk")
        case "pause":
            yield from pause("desk")
        case "code_error":
            raise TypeError("broken")
        case "in_doubt":
            yield from unsure()
        case "past_pivot":
            yield from decide()
            yield from fails()
        case "running":
            yield from probed()
        case "undo_halted":
            yield from mail()
            raise WorkflowError("no")
        case "undo_failed" | "undoing" | "failed":
            raise WorkflowError("no")
        case _:
            return


STATES = (
    "pending", "start_delayed", "running", "waiting", "retrying", "approval", "pause", "held", "code_error", "in_doubt",
    "past_pivot", "undo_failed", "undo_halted", "undoing", "completed", "failed", "cancelled", "undone", "terminated",
)  # fmt: skip


def brought(mesh: VirtualMesh, state: str) -> Handle[Any]:
    """A run in this state; one that is to run does so with the next drain."""
    how = {"held": "waiting", "cancelled": "waiting", "terminated": "waiting"}.get(state, state)
    if state == "start_delayed":
        return mesh.start(run(how), at=mesh.now + timedelta(hours=1))
    handle = mesh.start(run(how))
    if state in ("pending", "running"):
        return handle
    mesh.drain()
    match state:
        case "held":
            handle.hold(**WHO)
        case "cancelled":
            handle.cancel(undo=False)
        case "terminated":
            handle.terminate(**WHO)
        case "undone":
            handle.rollback(**WHO)
        case _:
            return handle
    mesh.drain()
    return handle


Command = Callable[[Handle[Any], str | None], Any]

COMMANDS: dict[str, Command] = {
    "signal": lambda h, key: h.signal("told", 1, key=key),
    "approve": lambda h, key: h.approve(**WHO, key=key),
    "reject": lambda h, key: h.reject(**WHO, key=key),
    "resume": lambda h, key: h.resume(**WHO, key=key),
    "hold": lambda h, key: h.hold(**WHO, key=key),
    "release": lambda h, key: h.release(**WHO, key=key),
    "cancel": lambda h, key: h.cancel(**WHO, key=key),
    "cancel(force=True)": lambda h, key: h.cancel(force=True, **WHO, key=key),
    "terminate": lambda h, key: h.terminate(**WHO, key=key),
    "fail": lambda h, key: h.fail(**WHO, key=key),
    "resolve_step": lambda h, key: h.resolve_step("every.unsure", Applied(1), **WHO, key=key),
    "retry_step": lambda h, key: h.retry_step("every.fails", **WHO, key=key),
    "skip_step": lambda h, key: h.skip_step("every.fails", 5, **WHO, key=key),
    "rollback": lambda h, key: h.rollback(**WHO, key=key),
    "undo_retry": lambda h, key: h.undo_retry("every.book", **WHO, key=key),
    "undo_skip": lambda h, key: h.undo_skip(None, **WHO, key=key),
    "undo_mark_done": lambda h, key: h.undo_mark_done("every.book", **WHO, key=key),
    "undo_abandon": lambda h, key: h.undo_abandon(**WHO, key=key),
}
"""What puts an event down, by the name that ``allowed`` has for it; the reruns, which start a run, stand apart."""
