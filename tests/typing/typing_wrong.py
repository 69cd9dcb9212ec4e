"""Wrong uses that a user's type checker must refuse. Never run: mypy and pyright read it (test_typing.py).

Each line that is wrong says so for both; a comment that is no longer needed is an error itself.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true, reportUnusedFunction=false

from __future__ import annotations

from squidmesh import (
    Applied,
    Call,
    Cleaned,
    Failure,
    Flow,
    Mesh,
    Retry,
    RetryStep,
    Signal,
    approval,
    context,
    fan_out,
    gather,
    pause,
    race,
    sleep,
    spawn,
    step,
    workflow,
)


@step
def charge(order_id: str, cents: int = 100) -> int:
    return cents


@step
async def ship(order_id: str) -> str:
    return order_id


def helper() -> Flow[str]:
    return (yield from ship("a"))


# calls
charge(1)  # type: ignore[arg-type]
charge()  # type: ignore[call-arg]
charge("o", cents="many")  # type: ignore[arg-type]
charge("o", dollars=1)  # type: ignore[call-arg]
ship("o", "p")  # type: ignore[call-arg]
charge.fn(1)  # type: ignore[arg-type]
wrong_result: Call[str] = charge("o")  # type: ignore[assignment]
charge("o").options(timeout="soon")  # type: ignore[arg-type]
charge("o").options(attempts=3)  # type: ignore[call-arg]


# definitions
@step(retry=3)  # type: ignore[call-overload, untyped-decorator]
def badly_retried() -> None: ...


@step(tries=3)  # type: ignore[call-overload, untyped-decorator]
def badly_named() -> None: ...


@workflow  # type: ignore[arg-type]
def no_flow(order_id: str) -> str:
    return order_id


@workflow(version="2")  # type: ignore[call-overload, untyped-decorator]
def badly_versioned() -> Flow[None]:
    yield from sleep(1)


Retry(attempts=3)  # type: ignore[call-arg]


@step(undo_when="never")  # type: ignore[call-overload, untyped-decorator]
def badly_undone() -> None: ...


@step(pure="yes")  # type: ignore[call-overload, untyped-decorator]
def badly_pure() -> None: ...


@workflow(on_failure="undone")  # type: ignore[call-overload, untyped-decorator]
def badly_kept() -> Flow[None]:
    yield from sleep(1)


# handlers
@charge.undo  # type: ignore[arg-type]
def undo_of_another_result(paid: str, order_id: str, cents: int = 100) -> None: ...


@charge.undo  # type: ignore[arg-type]
def undo_of_other_arguments(paid: int, order_id: int, cents: int = 100) -> None: ...


@charge.undo  # type: ignore[arg-type]
def undo_without_arguments(paid: int) -> None: ...


@charge.undo  # type: ignore[arg-type]
def undo_without_a_result(order_id: str, cents: int = 100) -> None: ...


@charge.undo  # type: ignore[type-var]
def undo_that_answers(paid: int, order_id: str, cents: int = 100) -> int:
    return paid


@ship.undo  # type: ignore[type-var]
async def async_undo_that_answers(label: str, order_id: str) -> str:
    return label


@ship.undo  # type: ignore[arg-type]
async def async_undo_of_another_result(label: int, order_id: str) -> None: ...


@charge.compensate  # type: ignore[arg-type]
def compensate_without_a_failure(order_id: str, cents: int = 100) -> int:
    return cents


@charge.compensate  # type: ignore[arg-type]
def compensate_with_another_result(failure: Failure, order_id: str, cents: int = 100) -> str | Cleaned | RetryStep:
    return order_id


@ship.compensate  # type: ignore[arg-type]
async def async_compensate_with_another_result(failure: Failure, order_id: str) -> int:
    return 1


@charge.check  # type: ignore[arg-type]
def check_without_a_verdict(order_id: str, cents: int = 100) -> int:
    return cents


@charge.check  # type: ignore[arg-type]
def check_with_another_result(order_id: str, cents: int = 100) -> Applied[str]:
    return Applied(order_id)


@charge.check  # type: ignore[arg-type]
def check_with_a_result(paid: int, order_id: str, cents: int = 100) -> Applied[int]:
    return Applied(paid)


def take_back(order_id: str) -> None: ...


def within_a_step() -> None:
    context().add_undo(take_back, 3)  # type: ignore[arg-type]
    context().add_undo(take_back)  # type: ignore[arg-type]
    context().add_undo("take_back")  # type: ignore[arg-type]


# bodies
@workflow
def body(order_id: str) -> Flow[int]:
    paid: str = yield from charge(order_id)  # type: ignore[assignment]
    yield from gather(helper(), ship("a"))  # type: ignore[call-overload]
    yield from gather(ship("a"), 3)  # type: ignore[call-overload]
    yield from fan_out(charge, [1, 2])  # type: ignore[arg-type]
    yield from fan_out(charge, {"a", "b"})  # type: ignore[arg-type]
    yield from race(ship("a"), helper())  # type: ignore[call-overload]
    yield from spawn(helper())  # type: ignore[arg-type]
    yield from spawn(sleep(1))  # type: ignore[arg-type]
    yield from sleep("soon")  # type: ignore[arg-type]
    both: tuple[int, int] = yield from gather(charge("a"), ship("b"))  # type: ignore[assignment]
    return paid, both  # type: ignore[return-value]


@workflow
def returns_a_call(order_id: str) -> Flow[int]:
    yield from sleep(1)
    return charge(order_id)  # type: ignore[return-value]


@workflow
async def async_body(order_id: str) -> int:
    paid: str = await charge(order_id)  # type: ignore[assignment]
    return paid  # type: ignore[return-value]


def client(mesh: Mesh) -> None:
    mesh.run(body(1))  # type: ignore[arg-type]
    text: str = mesh.run(body("o"))  # type: ignore[assignment]
    mesh.start(helper())  # type: ignore[arg-type]
    print(text)


# signals, gates
PAID = Signal("paid", int)
GO = Signal("go")
Signal(3)  # type: ignore[call-overload]


def asks_people(mesh: Mesh) -> Flow[None]:
    text: str = yield from PAID.wait()  # type: ignore[assignment]
    paid: int = yield from PAID.wait(timeout=5)  # type: ignore[assignment]
    yield from PAID.wait(timeout="soon")  # type: ignore[call-overload]
    yield from PAID.send("r", "much")  # type: ignore[arg-type]
    yield from approval("boss", needed="two")  # type: ignore[arg-type]
    fix: int = yield from pause("look", int, deadline=60)  # type: ignore[assignment]
    yield from pause("look", deadline="soon")  # type: ignore[call-overload]
    handle = mesh.start(body("o"))
    handle.signal(PAID, "much")  # type: ignore[misc]
    handle.signal(PAID)  # type: ignore[arg-type]
    handle.signal(GO, 3)  # type: ignore[misc]
    handle.approve()  # type: ignore[call-arg]
    handle.approve("boss", "ann")  # type: ignore[call-arg]
    handle.resume(3)  # type: ignore[call-arg]
    handle.hold("ops")  # type: ignore[call-arg]
    print(text, paid, fix)
