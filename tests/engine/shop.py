"""A shop whose steps tell what they did, and break when told; and what people say of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from squidmesh import (
    EffectUnknown,
    Flow,
    GiveUp,
    Handle,
    Retry,
    StepFailed,
    WorkflowError,
    add_undo,
    saga,
    sleep,
    spawn,
    step,
    transaction,
    workflow,
)
from squidmesh.testing import VirtualMesh

WHO: dict[str, Any] = {"actor": "ada", "note": "looked at it"}

did: list[str] = []
broken: set[str] = set()


@contextmanager
def opened(mesh: VirtualMesh) -> Iterator[None]:
    """The shop for the time of a test; after it every history that the test made must be one that can be."""
    did.clear()
    broken.clear()
    yield
    broken.clear()
    for run in mesh.list():
        mesh.check(mesh.handle(run.run_id))


class NotToday(WorkflowError): ...


@step(name="repair.reserve", undo_retry=Retry(max_attempts=2, initial=1, jitter=0))
def reserve(n: int) -> str:
    did.append(f"reserve {n}")
    return f"r-{n}"


@reserve.undo
def release(made: str, n: int) -> None:
    did.append(f"release {made}")
    if "release" in broken:
        raise ValueError("the shop is closed")


@step(name="repair.charge")
def charge(n: int) -> int:
    did.append(f"charge {n}")
    return n


@charge.undo
def refund(made: int, n: int) -> None:
    did.append(f"refund {made}")
    if "refund" in broken:
        raise ValueError("no money")


@step(name="repair.ship", irreversible=True)
def ship(n: int) -> int:
    did.append(f"ship {n}")
    if "ship" in broken:
        raise EffectUnknown("no answer")
    return n


@step(name="repair.decide", pivot=True)
def decide(n: int) -> None:
    did.append("decide")


@step(name="repair.after")
def after(n: int) -> int:
    if "after" in broken:
        raise ValueError("not yet")
    return n


@step(name="repair.look", pure=True)
def look(n: int) -> int:
    return n


@step(name="repair.book", transactional=True)
def book(n: int) -> int:
    return n


@book.undo
def unbook(made: int, n: int) -> None:
    did.append(f"unbook {made}")


def books(n: int) -> Flow[int]:
    yield from book(n)
    return (yield from book(n + 1))


def lock_again(door: str) -> None:
    did.append(f"lock {door}")
    if "lock" in broken:
        raise GiveUp("no key")


@workflow(name="repair.buys")
def buys(n: int, fails: bool = False) -> Flow[int]:
    yield from reserve(n)
    yield from charge(n)
    if fails:
        raise NotToday("sold out")
    return n


@workflow(name="repair.buys_twice")
def buys_twice(n: int) -> Flow[int]:
    yield from charge(n)
    yield from charge(n + 1)
    return n


@workflow(name="repair.goes_on", on_undo_failure="continue")
def goes_on(n: int) -> Flow[int]:
    yield from reserve(n)
    yield from charge(n)
    raise NotToday("sold out")


@workflow(name="repair.ships")
def ships(n: int) -> Flow[int]:
    yield from reserve(n)
    yield from ship(n)
    yield from charge(n)
    return n


@workflow(name="repair.waits")
def waits(n: int) -> Flow[int]:
    yield from reserve(n)
    yield from sleep(3600)
    return n


@workflow(name="repair.past_its_pivot")
def past_its_pivot(n: int) -> Flow[int]:
    yield from reserve(n)
    yield from decide(n)
    made = yield from after(n)
    yield from sleep(60)
    return made


@workflow(name="repair.reads")
def reads(n: int) -> Flow[int]:
    return (yield from look(n))


@workflow(name="repair.keeps", on_failure="keep", undo_retention=3600)
def keeps(n: int) -> Flow[int]:
    yield from reserve(n)
    raise NotToday("sold out")


@step(name="repair.slow", retry=Retry(max_attempts=9, initial=3600, jitter=0))
def slow(n: int) -> int:
    did.append(f"slow {n}")
    if "slow" in broken:
        raise ValueError("not yet")
    return n


@workflow(name="repair.spawns")
def spawns(n: int) -> Flow[int]:
    pending = yield from spawn(slow(n))
    yield from charge(n)
    yield from sleep(60)
    return (yield from pending)


def started(mesh: VirtualMesh, call: Any, **given: Any) -> Handle[Any]:
    handle = mesh.start(call, **given)
    mesh.drain()
    return handle


def spent(mesh: VirtualMesh, handle: Handle[Any]) -> tuple[str, str | None]:
    """Where the run stands when all attempts of its undos are spent."""
    mesh.advance(3600)
    return handle.status(), handle.inspect().reason


@workflow(name="repair.in_a_scope")
def in_a_scope(n: int) -> Flow[int]:
    yield from charge(n)
    try:
        with saga("ground"):
            yield from reserve(n)
            yield from after(n)
    except StepFailed:
        yield from sleep(60)
    return n


@workflow(name="repair.opens")
def opens(n: int) -> Flow[int]:
    yield from add_undo(lock_again, "front")
    yield from transaction(books, n)
    yield from add_undo(lock_again, "back")
    return n
