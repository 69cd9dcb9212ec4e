"""An expense report that people decide within three days; who does not answer is reminded, and then passed over.

    python samples/approval/main.py file Ada 4200          # asks, and waits
    python samples/approval/main.py approve RUN manager Bob --note "have fun"        # from another terminal
    python samples/approval/main.py reject RUN manager Bob --note "too dear"
    python samples/approval/main.py file Ada 4200 --day 2  # with days of two seconds, to see the reminder

Each deadline gives `decision.expired`. What follows from that, a reminder and an escalation, is plain workflow code.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from squidmesh import Flow, Mesh, MeshError, approval, step, workflow

OUTBOX = Path("approval_outbox")  # one file for each mail that was sent
DAY = 24 * 60 * 60.0

ASKED = (("manager", "please decide"), ("manager", "a reminder"), ("director", "the manager does not answer"))
"""Who is asked on each of the days, and how."""


@workflow
def expense_report(who: str, cents: int, day: float = DAY) -> Flow[str]:
    amount = f"{cents / 100:.2f}"
    for whom, how in ASKED:
        yield from send_mail(whom, f"{who} asks for {amount}, {how}")
        decision = yield from approval(whom, deadline=day)
        if not decision.expired:
            break
    else:
        yield from send_mail(who, f"nobody has decided about {amount}")
        return "expired"
    if not decision.approved:
        yield from send_mail(who, f"{decision.actor} says no to {amount}, {decision.note or 'without a reason'}")
        return "rejected"
    yield from pay_out(who, cents)
    yield from send_mail(who, f"{decision.actor} says yes to {amount}, {decision.note or 'without a word'}")
    return "paid"


@step
def send_mail(to: str, text: str) -> None:
    OUTBOX.mkdir(exist_ok=True)
    (OUTBOX / f"to {to}: {text}").touch()


@step
def pay_out(who: str, cents: int) -> int:
    return cents


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = options.add_subparsers(dest="command", required=True)
    file = commands.add_parser("file", help="file a report, and wait until it is decided")
    file.add_argument("who")
    file.add_argument("cents", type=int)
    file.add_argument("--day", type=float, default=DAY, help="seconds that a day has")
    for name in ("approve", "reject"):
        vote = commands.add_parser(name)
        vote.add_argument("run")
        vote.add_argument("gate", help="manager or director")
        vote.add_argument("actor", help="who says so")
        vote.add_argument("--note")
    given = options.parse_args()
    logging.getLogger("squidmesh").setLevel(logging.CRITICAL)
    with Mesh() as mesh:
        try:
            if given.command == "file":
                with mesh.worker():
                    run = mesh.start(expense_report(given.who, given.cents, given.day))
                    print(f"run {run.run_id} asks", flush=True)
                    print(f"the report of {given.who} is {run.result()}")
            else:
                handle = mesh.handle(given.run)
                vote_of = handle.approve if given.command == "approve" else handle.reject
                vote_of(given.gate, actor=given.actor, note=given.note)
                print(f"{given.actor} has said so")
        except MeshError as refused:
            print(refused)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
