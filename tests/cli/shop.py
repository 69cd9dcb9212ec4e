"""Workflows that end up in every state in which an operator may meet a run."""

from __future__ import annotations

from pydantic import BaseModel, SecretStr

from squidmesh import (
    Flow,
    GiveUp,
    Retry,
    Signal,
    WorkflowError,
    approval,
    context,
    pause,
    sleep,
    step,
    workflow,
)

PAID = Signal("payment.done", str)


class Rejected(WorkflowError):
    """The approval was refused."""


class Card(BaseModel):
    number: SecretStr
    holder: str


@step
def reserve(order: str) -> str:
    return f"shelf-{order}"


@reserve.undo
def free(shelf: str, order: str) -> None: ...


@step(retry=Retry(max_attempts=3, initial=60))
def take_card(order: str, cents: int) -> str:
    if cents > 9_000 and context().attempt < 3:
        raise ConnectionError("the bank does not answer")
    return f"receipt-{order}"


@take_card.undo
def refund(receipt: str, order: str, cents: int) -> None: ...


@step
def hand_over(order: str, town: str) -> str:
    if town == "Atlantis":
        raise GiveUp("no courier goes to Atlantis")
    return f"parcel-{order}"


@step
def lend(order: str) -> str:
    return f"loan-{order}"


@lend.undo
def take_back(loan: str, order: str) -> None:
    raise GiveUp("the lender is closed")


@step(irreversible=True)
def cash_out(order: str) -> str:
    raise TimeoutError("no answer within 30 s")


@step(pivot=True)
def commit(order: str) -> str:
    return f"contract-{order}"


@step
def notify(order: str) -> str:
    raise GiveUp("the mail server refuses")


@step
def keep_card(card: Card) -> str:
    return card.number.get_secret_value()[-4:]


@workflow
def checkout(order: str, cents: int = 100, town: str = "Lisbon") -> Flow[str]:
    """Completes; or fails at the courier, and is undone."""
    yield from reserve(order)
    yield from take_card(order, cents)
    return (yield from hand_over(order, town))


@workflow
def reviewed(order: str) -> Flow[str]:
    """Waits for an approval."""
    yield from reserve(order)
    decision = yield from approval("fraud-desk", deadline=3_600)
    if not decision.approved:
        raise Rejected(decision.note or "")
    return "approved"


@workflow
def counted(order: str) -> Flow[int]:
    """Waits at a pause."""
    return (yield from pause("count", int))


@workflow
def paid(order: str) -> Flow[str]:
    """Waits for a signal."""
    return (yield from PAID.wait(timeout=86_400)) or "late"


@workflow
def napping(hours: float = 2) -> Flow[str]:
    """Sleeps."""
    yield from sleep(hours * 3_600)
    return "rested"


@workflow
def broken(order: str) -> Flow[str]:
    """Blocked by its code."""
    shelf = yield from reserve(order)
    return shelf + 1  # type: ignore[operator,return-value]


@workflow
def doubtful(order: str) -> Flow[str]:
    """Blocked by a step in doubt."""
    yield from reserve(order)
    return (yield from cash_out(order))


@workflow
def committed(order: str) -> Flow[str]:
    """Blocked past its pivot."""
    yield from reserve(order)
    yield from commit(order)
    return (yield from notify(order))


@workflow
def halted(order: str) -> Flow[str]:
    """Blocked by an undo that has failed."""
    yield from reserve(order)
    yield from lend(order)
    return (yield from hand_over(order, "Atlantis"))


@workflow
def carded(card: Card) -> Flow[str]:
    """Has a secret in its input."""
    yield from keep_card(card)
    return "kept"


@workflow
def tidy(folder: str = "tmp") -> Flow[str]:
    """What a schedule starts."""
    yield from reserve(folder)
    return folder
