"""The steps of the chaos workload and their handlers: each says in the log of effects, or in the bank, what it did.

The rule of this file: an effect is one line of the log, or one row of the bank in the transaction that records it, and
names the key it happened under. How a call comes out follows from its arguments and the log, never from chance.
"""

import os
import random
import time
from pathlib import Path

from sqlalchemy import text

from squidmesh import (
    Applied,
    EffectUnknown,
    Failure,
    NotApplied,
    Retry,
    RetryStep,
    context,
    step,
)
from tests.chaos import skew  # noqa: F401 — first of all the clock
from tests.chaos.effects import LOG, effect, read

BANK = "CREATE TABLE chaos_bank (run TEXT NOT NULL, key TEXT NOT NULL, cents INTEGER NOT NULL)"

OFTEN = Retry(max_attempts=8, initial=0.05, factor=1.5, maximum=0.5)


def _takes_a_while() -> None:
    """As long as asking somebody nearby, at times somebody far away: long enough to be hit in the middle."""
    time.sleep(random.random() * (0.6 if random.random() < 0.1 else 0.04))


@step(name="chaos_put", undo_retry=OFTEN)
def put(n: int) -> int:
    _takes_a_while()
    effect()
    _takes_a_while()
    return n


@put.undo
def take(done: int, n: int) -> None:
    assert done == n
    effect()
    _takes_a_while()


@step(name="chaos_note")
def note(n: int) -> int:
    """Has no undo: no rollback that meets it is clean."""
    effect()
    return n


@step(name="chaos_look", pure=True)
def look(n: int) -> int:
    _takes_a_while()
    return n


@step(name="chaos_is_time", pure=True)
def is_time(at: float) -> bool:
    """By the one clock that all processes of a machine share, and nobody turns."""
    return time.monotonic() >= at


@step(name="chaos_far", queue="chaos-far", undo_retry=OFTEN)
def far(n: int) -> int:
    """On a queue of its own: no holder of a run drives it on its way."""
    effect()
    _takes_a_while()
    return n


@far.undo
def unfar(done: int, n: int) -> None:
    effect()


@step(name="chaos_shaky", retry=OFTEN)
def shaky(n: int, failures: int) -> int:
    effect()
    if context().attempt <= failures:
        raise ValueError("not this time")
    return n


@shaky.undo
def unshaky(done: int, n: int, failures: int) -> None:
    effect()


@step(name="chaos_refuse")
def refuse(why: str) -> int:
    _takes_a_while()
    raise ValueError(why)


@step(name="chaos_once", idempotent=False, undo_retry=OFTEN)
def once(n: int) -> int:
    _takes_a_while()
    effect()
    _takes_a_while()
    return n


@once.undo
def unonce(done: int, n: int) -> None:
    effect()


@step(name="chaos_ship", irreversible=True)
def ship(n: int) -> int:
    _takes_a_while()
    effect()
    return n


@ship.check
def shipped(n: int) -> Applied[int] | NotApplied:
    return Applied(n) if happened(context().forward_key) else NotApplied()


@step(name="chaos_half", retry=Retry(max_attempts=2, initial=0.05))
def half(n: int) -> str:
    """Never gets to its end; its compensate asks for another cycle, and then finishes it."""
    effect()
    raise ValueError("only half of it")


@half.compensate
def rest(failure: Failure, n: int) -> str | RetryStep:
    effect()
    return RetryStep() if context().key.endswith(":1") else f"finished after {failure.message}"


@half.undo
def unhalf(done: str, n: int) -> None:
    effect()


@step(name="chaos_vague", undo_when="attempted")
def vague(n: int) -> int:
    effect()
    raise EffectUnknown("nobody answers")


@vague.check
def probe(n: int) -> Applied[int] | NotApplied:
    return Applied(n) if happened(context().forward_key) else NotApplied()


@vague.undo
def unvague(done: int | None, n: int) -> None:
    effect()


def release(n: int) -> None:
    """Registered by ``add_undo``."""
    effect()


@step(name="chaos_lays_by", undo_retry=OFTEN)
def lays_by(n: int) -> int:
    """Registers an undo while it runs."""
    context().add_undo(release, n)
    effect()
    context().checkpoint(n)
    _takes_a_while()
    return n


# ---------------------------------------------------------------------------------------------------- the bank


def _pays(cents: int) -> None:
    here = context()
    here.connection.execute(
        text("INSERT INTO chaos_bank VALUES (:run, :key, :cents)"),
        {"run": here.run_id, "key": here.key, "cents": cents},
    )
    _takes_a_while()


@step(name="chaos_pay", transactional=True, undo_retry=OFTEN)
def pay(cents: int) -> int:
    _pays(cents)
    return cents


@pay.undo
def unpay(paid: int, cents: int) -> None:
    _pays(-paid)


def happened(key: str) -> bool:
    """Whether the log has an effect under this key."""
    return any(done.key == key for done in read(Path(os.environ[LOG])))
