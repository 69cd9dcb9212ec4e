"""An account is opened now, and the customer's identity is checked later: in hours, or in weeks.

    python samples/kyc/main.py open Ada                # opens it, and serves what is pending until it is over
    python samples/kyc/main.py vouch Ada               # from another terminal: the identity is proved
    python samples/kyc/main.py show RUN                # what is pending, what came of it
    python samples/kyc/main.py close RUN --actor Bob --note "she asked for it"
    python samples/kyc/main.py open Bob --deadline 5   # nobody vouches within five seconds

The workflow completes as soon as the account is there. ``defer`` has the limit lifted in a run of its own, once the
identity is known. Closing the account reaches that run too, whether it still waits or is long over.
"""

from __future__ import annotations

import argparse
import logging
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel

from squidmesh import (
    DeadlineExceeded,
    Flow,
    Handle,
    Mesh,
    MeshError,
    RunEnded,
    RunFailed,
    RunUndone,
    defer,
    step,
    workflow,
)

BANK = Path("kyc_bank")  # for each customer the account, with its limit in euros, and the proof of identity
FIRST, FULL = 100, 10_000


class Opened(BaseModel):
    account: str
    check: str  # the run that waits for the identity


@workflow
def onboard(customer: str, every: float = 3600, deadline: float = 30 * 24 * 3600) -> Flow[Opened]:
    account = yield from open_account(customer)
    later = yield from defer(
        lift_limit(account),
        until=identified(customer),
        every=timedelta(seconds=every),
        deadline=timedelta(seconds=deadline),
    )
    return Opened(account=account, check=later.run_id)


@step
def open_account(customer: str) -> str:
    BANK.mkdir(exist_ok=True)
    write_limit(f"account-{customer}", FIRST)
    return f"account-{customer}"


@open_account.undo
def close_account(account: str, customer: str) -> None:
    (BANK / account).unlink(missing_ok=True)


@step(pure=True)
def identified(customer: str) -> bool:
    """Whether the office that checks identities is done; a question that may be asked as often as one likes."""
    return (BANK / f"identity-{customer}").exists()


@step
def lift_limit(account: str) -> int:
    write_limit(account, FULL)
    return FULL


@lift_limit.undo
def restore_limit(limit: int, account: str) -> None:
    write_limit(account, FIRST)


def write_limit(account: str, euros: int) -> None:
    (BANK / account).write_text(f"{euros}\n")


def follow(mesh: Mesh, run: Handle[Opened]) -> None:
    """Tell when the account is open, and then what came of the check."""
    opened = run.result()
    print(f"{opened.account} is open, up to {FIRST}. Its run {run.run_id} is {run.status()}", flush=True)
    try:
        limit = mesh.handle(opened.check, lift_limit).result()
        print(f"{opened.account} is open up to {limit}")
    except RunFailed as failed:
        if not failed.failure.matches(DeadlineExceeded):
            raise
        print(f"{opened.account} stays at {FIRST}: {failed.failure.message}")
    except RunEnded:
        print(f"{opened.account} was closed")


def show(run: Handle[Opened]) -> None:
    view = run.inspect()
    print(f"{view.workflow} is {view.status}")
    for child in view.children:
        print(f"  {child.workflow}: {child.outcome or 'pending'}, {child.result or child.failure or 'no result yet'}")
    for report in view.rollbacks:
        print(f"  {report}")


def close(run: Handle[Opened], actor: str, note: str) -> None:
    run.rollback(actor=actor, note=note)
    with suppress(RunUndone):
        run.result()
    print(run.inspect().rollback)


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = options.add_subparsers(dest="command", required=True)
    opening = commands.add_parser("open", help="open an account, and serve what is pending")
    opening.add_argument("--every", type=float, default=1, help="seconds between two questions for the identity")
    opening.add_argument("--deadline", type=float, default=3600, help="seconds until it is given up")
    for command in (opening, commands.add_parser("vouch", help="the identity of a customer is proved")):
        command.add_argument("customer")
    closing = commands.add_parser("close", help="close an account again")
    closing.add_argument("--actor", required=True, help="who says so")
    closing.add_argument("--note", required=True, help="why")
    for command in (closing, commands.add_parser("show", help="what is pending")):
        command.add_argument("run")
    given = options.parse_args()
    logging.getLogger("squidmesh").setLevel(logging.CRITICAL)
    with Mesh() as mesh:
        try:
            act(mesh, given)
        except MeshError as refused:
            print(refused)
            return 1
        except KeyboardInterrupt:
            return 130
    return 0


def act(mesh: Mesh, given: argparse.Namespace) -> None:
    match given.command:
        case "open":
            with mesh.worker():
                follow(mesh, mesh.start(onboard(given.customer, given.every, given.deadline)))
        case "vouch":
            BANK.mkdir(exist_ok=True)
            (BANK / f"identity-{given.customer}").touch()
            print(f"{given.customer} is known")
        case "show":
            show(mesh.handle(given.run, onboard))
        case _:
            with mesh.worker():
                close(mesh.handle(given.run, onboard), given.actor, given.note)


if __name__ == "__main__":
    sys.exit(main())
