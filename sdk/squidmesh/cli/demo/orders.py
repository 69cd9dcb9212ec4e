"""Orders of a small shop: reserved, charged at a bank that is not always well, packed, shipped.

    python orders.py                # one more order, run in this process
    squidmesh worker orders         # a worker process for them

Each step is stored before it runs and after. Whatever dies in between, another worker goes on from there. An order
that fails is undone, newest first, by what stands below each of its steps.
"""

from __future__ import annotations

import time
from pathlib import Path

from pydantic import BaseModel

from squidmesh import Flow, Mesh, Retry, context, step, workflow
from squidmesh.tools import http

# A worker that is not heard of for two seconds is taken for dead (by default 15), which is soon enough to watch.
mesh = Mesh(f"sqlite:///{Path(__file__).with_name('squidmesh.db')}", lease=2, sweep=0.2)


class Order(BaseModel):
    id: str
    items: list[str]
    cents: int
    town: str = "Lisbon"


class NoCourier(Exception):
    pass


@workflow
def fulfil(order: Order, bank: str) -> Flow[str]:
    yield from reserve(order.items)
    receipt = yield from charge(order.id, order.cents, bank)
    parcel = yield from pack(order.items)
    return (yield from ship(parcel, receipt, order.town))


@step
def reserve(items: list[str]) -> int:
    time.sleep(0.1)
    return len(items)


@reserve.undo
def release(reserved: int, items: list[str]) -> None:
    time.sleep(0.2)


@step(retry=Retry(max_attempts=5, initial=0.5), undo_retry=Retry(max_attempts=10, initial=0.5))
def charge(order_id: str, cents: int, bank: str) -> str:
    """Every attempt sends the same Idempotency-Key: asked twice, the bank charges once."""
    answer = http.post(f"{bank}/charges", json={"order": order_id, "cents": cents})
    return str(answer.json()["receipt"])


@charge.undo
def refund(receipt: str, order_id: str, cents: int, bank: str) -> None:
    """The bank is as busy as ever: an undo is tried again too, and under a key of its own."""
    http.post(f"{bank}/refunds", json={"receipt": receipt, "cents": cents})


@step
def pack(items: list[str]) -> list[str]:
    """Takes its time, and says after each item how far it is: another attempt goes on from there."""
    packed: list[str] = context().progress or []
    for item in items[len(packed) :]:
        time.sleep(0.6)
        packed = [*packed, item]
        context().checkpoint(packed)
    return packed


@pack.undo
def unpack(packed: list[str], items: list[str]) -> None:
    time.sleep(0.3 * len(packed))


@step(irreversible=True, idempotent=True)  # what is on its way does not come back; asked twice, the courier comes once
def ship(parcel: list[str], receipt: str, town: str) -> str:
    time.sleep(0.1)
    if town == "Atlantis":
        raise NoCourier(f"no courier goes to {town}")
    return f"{len(parcel)} items sent, {receipt}"


def main() -> None:
    from squidmesh.cli.demo.bank import Bank

    order = Order(id="o-more", items=["compass", "sextant", "lantern", "rope", "harpoon", "chart"], cents=8_900)
    with Bank() as bank, mesh:
        print(mesh.run(fulfil(order, bank.url)))


if __name__ == "__main__":
    main()
