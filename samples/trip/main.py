"""A trip that finds another way: what cannot be had is given back, what stands stays, and the run goes on.

    python samples/trip/main.py Lisbon       # flight, hotel and car
    python samples/trip/main.py Venice       # no cars there: the hotel is given back, a package is booked instead
    python samples/trip/main.py Atlantis     # nor a package: now the flight is given back too

`saga("ground")` is a savepoint: what is booked inside it is undone together, and nothing else with it.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from squidmesh import Flow, Mesh, RunFailed, StepFailed, rollback, saga, step, workflow

BOOKINGS = Path("trip_bookings")  # the partners' books: one file for each booking that stands
CARS = {"Lisbon"}
PACKAGES = {"Venice"}


class SoldOut(Exception):
    pass


@workflow
def plan_trip(who: str, town: str) -> Flow[str]:
    yield from book_flight(who, town)
    ground = saga("ground")
    try:
        with ground:
            yield from book_hotel(who, town)
            yield from book_car(who, town)
        return "flight, hotel and car"
    except StepFailed:
        report = yield from rollback(ground)  # without this line it happens all the same, before the next step
    yield from book_package(who, town)
    return f"flight and package, after {', '.join(entry.step for entry in report.undone)} was undone"


def cancel(booking: str, who: str, town: str) -> None:
    """The undo of all four: the result of the step comes first, then the step's own arguments."""
    (BOOKINGS / booking).unlink(missing_ok=True)


@step(undo=cancel)
def book_flight(who: str, town: str) -> str:
    return book("flight", who, town)


@step(undo=cancel)
def book_hotel(who: str, town: str) -> str:
    return book("hotel", who, town)


@step(undo=cancel)
def book_car(who: str, town: str) -> str:
    if town not in CARS:
        raise SoldOut(f"no car in {town}")
    return book("car", who, town)


@step(undo=cancel)
def book_package(who: str, town: str) -> str:
    if town not in PACKAGES:
        raise SoldOut(f"no car and no package in {town}")
    return book("package", who, town)


def book(what: str, who: str, town: str) -> str:
    BOOKINGS.mkdir(exist_ok=True)
    booking = f"{who}, {what} {town}"
    (BOOKINGS / booking).touch()
    return booking


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("town")
    options.add_argument("--who", default="Ada")
    given = options.parse_args()
    logging.getLogger("squidmesh").setLevel(logging.CRITICAL)  # what fails is told below
    with Mesh() as mesh, mesh.worker():
        run = mesh.start(plan_trip(given.who, given.town))
        try:
            print(f"{given.who} has {run.result()}")
        except RunFailed as failed:
            print(f"{given.who} stays at home: {failed.failure.message}")
        for report in run.inspect().rollbacks:
            print(f"rollback of the {'ground' if report.cause == 'scope' else 'whole'}: {report.outcome}")
            for entry in report.undone:
                print(f"  {entry.step} is undone, which was {entry.result!r}")
    standing = sorted(booking.name for booking in BOOKINGS.glob(f"{given.who}, *"))
    print(f"what is booked now: {'; '.join(standing) or 'nothing'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
