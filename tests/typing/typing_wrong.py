"""Wrong uses that a user's type checker must refuse. Never run: mypy and pyright read it (test_typing.py).

Each line that is wrong says so for both; a comment that is no longer needed is an error itself.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true, reportUnusedFunction=false

from __future__ import annotations

from squidmesh import Call, Flow, Mesh, Retry, fan_out, gather, race, sleep, spawn, step, workflow


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
