"""A reminder whose time is moved while it waits: a timer, and a signal that may come before it.

python samples/reminder/main.py remind "the tea" --in 60
python samples/reminder/main.py move RUN --in 5        # from another terminal
python samples/reminder/main.py drop RUN
"""

from __future__ import annotations

import argparse
import logging
import sys
from datetime import UTC, datetime, timedelta

from pydantic import AwareDatetime, BaseModel

from squidmesh import Flow, Mesh, MeshError, RunCancelled, Signal, now, publish, step, workflow


class Moved(BaseModel):
    at: AwareDatetime


MOVED = Signal("reminder.moved", Moved)


@workflow
def reminder(what: str, at: AwareDatetime) -> Flow[int]:
    moves = 0
    while True:
        yield from publish("at", at)
        moved = yield from MOVED.wait(timeout=at - now())  # None: nobody has moved it, and the time has come
        if moved is None:
            break
        at, moves = moved.at, moves + 1
    yield from ring(what)
    return moves


@step
def ring(what: str) -> str:
    return f"It is time for {what}!"


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = options.add_subparsers(dest="command", required=True)
    remind = commands.add_parser("remind", help="wait for the time, and ring")
    remind.add_argument("what")
    move = commands.add_parser("move", help="move one that waits")
    drop = commands.add_parser("drop", help="one that is not needed any more")
    for command in (move, drop):
        command.add_argument("run")
    for command in (remind, move):
        command.add_argument("--in", dest="seconds", type=float, required=True, help="seconds from now")
    given = options.parse_args()
    logging.getLogger("squidmesh").setLevel(logging.CRITICAL)
    with Mesh() as mesh:
        try:
            return act(mesh, given)
        except MeshError as refused:
            print(refused)
            return 1


def act(mesh: Mesh, given: argparse.Namespace) -> int:
    at = datetime.now(UTC) + timedelta(seconds=getattr(given, "seconds", 0))
    match given.command:
        case "remind":
            with mesh.worker():
                run = mesh.start(reminder(given.what, at))
                print(f"run {run.run_id} waits", flush=True)
                try:
                    moves = run.result()
                    print(f"{run.inspect().steps[0].result} (moved {moves} times)")
                except RunCancelled:
                    print("It was dropped.")
        case "move":
            mesh.signal(given.run, MOVED, Moved(at=at))
            print("moved")
        case _:
            mesh.handle(given.run).cancel()
            print("dropped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
