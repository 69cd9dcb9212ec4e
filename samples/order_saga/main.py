"""An order that fails late, and what becomes of what was done for it.

    python samples/order_saga/main.py o-1 Lisbon               # the courier comes
    python samples/order_saga/main.py o-2 Atlantis             # no courier goes there: everything is undone
    python samples/order_saga/main.py o-3 Atlantis --engrave   # … but for the engraving, and the report says so

Each step says beside itself how it is undone. The workflow says nothing of it: it only goes forward.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from squidmesh import Flow, Mesh, Retry, RollbackReport, RunFailed, step, workflow

OUTSIDE = Path("order_saga_outside")  # warehouse, bank and courier: a file for each thing that stands there
COURIER_GOES_TO = {"Lisbon", "Venice"}


class NoCourier(Exception):
    pass


@workflow
def send_order(order: str, item: str, cents: int, town: str, engraved: bool) -> Flow[str]:
    yield from reserve_item(order, item)
    yield from charge_card(order, cents)
    if engraved:
        yield from engrave_item(order, item)
    return (yield from book_courier(order, town))


@step
def reserve_item(order: str, item: str) -> str:
    return happens(f"{order} reserved", item)


@reserve_item.undo
def release_item(reserved: str, order: str, item: str) -> None:
    (OUTSIDE / f"{order} reserved").unlink(missing_ok=True)  # called again after a crash, it does no harm


@step
def charge_card(order: str, cents: int) -> str:
    return happens(f"{order} charged", f"{cents / 100:.2f}")


@charge_card.undo
def refund_card(charged: str, order: str, cents: int) -> None:
    happens(f"{order} refunded", charged)  # a bank forgets nothing: the charge stays, and this stands beside it


@step(irreversible=True)
def engrave_item(order: str, item: str) -> str:
    return happens(f"{order} engraved", item)


@step(retry=Retry(max_attempts=3, initial=0.2))
def book_courier(order: str, town: str) -> str:
    if town not in COURIER_GOES_TO:
        raise NoCourier(f"no courier goes to {town}")
    return happens(f"{order} collected", f"for {town}")


def happens(what: str, how: str) -> str:
    OUTSIDE.mkdir(exist_ok=True)
    (OUTSIDE / what).write_text(how)
    return how


def show(report: RollbackReport) -> None:
    """The report of a rollback: each step that was done is in exactly one of its lists."""
    print(f"the rollback is {report.outcome}:")
    for entry in [*report.undone, *report.irreversible, *report.failed, *report.unaccounted, *report.skipped]:
        print(f"  {entry.step:<14} {entry.state:<13} {entry.reason or ''}".rstrip())
    for action in report.next_actions:
        print(f"  next: {action.python}\n        {action.why}")


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("order", help="what it is called")
    options.add_argument("town", help="where it goes; a courier goes to Lisbon and Venice")
    options.add_argument("--engrave", action="store_true", help="engrave it, which cannot be undone")
    given = options.parse_args()
    logging.getLogger("squidmesh").setLevel(logging.CRITICAL)  # what fails is told below
    with Mesh() as mesh:
        try:
            mesh.run(send_order(given.order, "lantern", 4_200, given.town, given.engrave))
            print(f"{given.order} is on its way to {given.town}")
        except RunFailed as failed:
            print(f"{given.order} failed: {failed.failure.message}")
            show(failed.rollback)
    print("what stands outside:")
    for file in sorted(OUTSIDE.glob(f"{given.order} *")):
        print(f"  {file.name}: {file.read_text()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
