"""Sagas whose worker dies at a place that is said when they are started: ``"unpick before"``, ``"bill after"``.

``before``: the call has begun and nothing else. ``after``: its effect is there, and nothing is recorded of it. Each run
kills once. What is written to the table ``chaos_bank`` is written in the transactions that record it.
"""

import time
from pathlib import Path

from sqlalchemy import text

from squidmesh import (
    Applied,
    EffectUnknown,
    Failure,
    Flow,
    GiveUp,
    NotApplied,
    Retry,
    RetryStep,
    WorkflowError,
    add_undo,
    context,
    gather,
    run_info,
    step,
    transaction,
    workflow,
)
from tests.processes.effects import effect, effects, folder
from tests.processes.flows import LOOK, die, first_time

BANK = "CREATE TABLE chaos_bank (run TEXT, key TEXT, cents INTEGER)"

OFTEN = Retry(max_attempts=5, initial=0.05, factor=1)


def at(doom: str, place: str) -> None:
    """The place may be where this run kills its worker."""
    if doom == place and first_time(f"doom-{context().run_id}"):
        die()


def does(doom: str, call: str) -> None:
    at(doom, f"{call} before")
    effect()
    at(doom, f"{call} after")


def pays(doom: str, call: str, cents: int) -> None:
    """Writes to the bank, in the transaction of the call."""
    here = context()
    at(doom, f"{call} before")
    here.connection.execute(
        text("INSERT INTO chaos_bank VALUES (:run, :key, :cents)"),
        {"run": here.run_id, "key": here.key, "cents": cents},
    )
    at(doom, f"{call} after")


@step(name="chaos_pick", undo_retry=OFTEN)
def pick(doom: str) -> str:
    does(doom, "pick")
    return context().key


@pick.undo
def unpick(picked: str, doom: str) -> None:
    assert picked == context().forward_key
    does(doom, "unpick")


def release(doom: str) -> None:
    does(doom, "release")


@step(name="chaos_bill", transactional=True)
def bill(doom: str, cents: int) -> int:
    pays(doom, "bill", cents)
    return cents


@bill.undo
def unbill(billed: int, doom: str, cents: int) -> None:
    pays(doom, "unbill", -billed)


@step(name="chaos_part", transactional=True)
def part(doom: str, cents: int) -> int:
    pays(doom, f"part {cents}", cents)
    return cents


@part.undo
def unpart(paid: int, doom: str, cents: int) -> None:
    pays(doom, f"unpart {cents}", -paid)


def parts(doom: str) -> Flow[int]:
    first = yield from part(doom, 10)
    return first + (yield from part(doom, 20))


@step(name="chaos_side", queue="default")
def side(doom: str, n: int) -> str:
    does(doom, f"side {n}")
    return context().key


@side.undo
def unside(done: str, doom: str, n: int) -> None:
    does(doom, f"unside {n}")


@step(name="chaos_half", retry=Retry(max_attempts=2, initial=0.05))
def half(doom: str) -> str:
    """Never gets to its end; its compensate asks for another cycle, and then finishes it."""
    does(doom, "half")
    raise ValueError("only half of it")


@half.compensate
def rest(failure: Failure, doom: str) -> str | RetryStep:
    cycle = int(context().key.rpartition(":")[2])
    does(doom, f"rest {cycle}")
    return RetryStep() if cycle == 1 else f"finished after {failure.message}"


@half.undo
def unhalf(done: str, doom: str) -> None:
    does(doom, "unhalf")


@step(name="chaos_vague", undo_when="attempted")
def vague(doom: str) -> str:
    does(doom, "vague")
    raise EffectUnknown("nobody answers")


@vague.check
def probe(doom: str) -> Applied[str] | NotApplied:
    does(doom, "probe")
    return Applied("it is there") if happened(context().forward_key) else NotApplied()


@vague.undo
def unvague(done: str | None, doom: str) -> None:
    assert done == "it is there"
    does(doom, "unvague")


def happened(key: str) -> bool:
    return any(done.key == key for done in effects(folder()))


class Late(WorkflowError):
    """The saga fails when all is done."""


CALLS = (
    "pick", "unpick", "release", "bill", "unbill", "part 10", "part 20", "unpart 10", "unpart 20", "side 0", "side 1",
    "unside 1", "half", "rest 1", "rest 2", "unhalf", "vague", "probe", "unvague",
)  # fmt: skip
"""Where a run can be told to kill its worker, before and after."""


@workflow(name="chaos_saga")
def whole_saga(doom: str) -> Flow[None]:
    yield from pick(doom)
    yield from add_undo(release, doom)
    yield from bill(doom, 5)
    yield from transaction(parts, doom)
    yield from gather([side(doom, n) for n in range(3)])
    yield from half(doom)
    yield from vague(doom)
    if doom == "decided" and first_time(f"doom-{run_info().run_id}"):
        die()  # before any of the rollback is claimed
    raise Late("too late for all that")


# ------------------------------------------------------------------------------------------------- ones that wait


def held_up(name: str) -> None:
    here = folder() / name
    while not here.exists():
        time.sleep(LOOK)


@step(name="chaos_once", idempotent=False)
def once(name: str) -> str:
    """Its effect, then it waits."""
    effect()
    held_up(name)
    return "it returned"


@once.undo
def unonce(done: str, name: str) -> None:
    effect()


@step(name="chaos_post", irreversible=True)
def post(name: str) -> str:
    """It waits, then its effect."""
    (folder() / f"{name} waits").touch()
    held_up(name)
    effect()
    return "posted"


@step(name="chaos_refuses")
def refuses(name: str) -> str:
    held_up(name)
    raise ValueError("it cannot be")


@step(name="chaos_slow")
def slow(name: str) -> str:
    effect()
    held_up(name)
    return context().key


@slow.undo
def unslow(done: str, name: str) -> None:
    effect()
    held_up(f"{name} undone")


@workflow(name="chaos_doubtful")
def doubtful(kind: str, name: str) -> Flow[str]:
    yield from pick("")
    done = yield from (once(name) if kind == "once" else post(name))
    yield from pick("")
    return done


@workflow(name="chaos_drains")
def drains(name: str, again: bool) -> Flow[None]:
    """One of two side by side fails, while the other is at work."""
    yield from pick("")
    other = slow(name) if again else once(name)
    yield from gather(refuses(f"{name} fails"), other)


@step(name="chaos_stubborn", undo_retry=OFTEN)
def stubborn(name: str) -> str:
    effect()
    return name


@stubborn.undo
def unstubborn(done: str, name: str) -> None:
    effect()
    if not (folder() / f"{name} is well").exists():
        raise GiveUp("nobody is there")


@workflow(name="chaos_halts")
def halts(name: str) -> Flow[None]:
    yield from pick("")
    yield from stubborn(name)
    yield from pick("")
    raise Late("too late")


@workflow(name="chaos_undone_slowly")
def undone_slowly(name: str) -> Flow[None]:
    for n in range(3):
        yield from slow(f"{name} {n}")
    raise Late("too late")


@workflow(name="chaos_many")
def many(width: int) -> Flow[None]:
    """Steps that end at the same moment, and are undone one after the other."""
    yield from gather([side("", n) for n in range(width)])
    raise Late("too late")


# ------------------------------------------------------------------------------------------------ money that waits


@step(name="chaos_slow_bill", transactional=True, timeout=60)
def slow_bill(name: str, cents: int) -> int:
    pays("", "", cents)
    (folder() / f"{name} has paid").touch()
    held_up(name)
    return cents


@slow_bill.undo
def unslow_bill(billed: int, name: str, cents: int) -> None:
    pays("", "", -billed)


def slow_parts(name: str) -> Flow[int]:
    first = yield from part("", 10)
    return first + (yield from slow_bill(name, 20))


@workflow(name="chaos_zombie")
def zombie(how: str, name: str) -> Flow[int]:
    match how:
        case "in line":
            return (yield from slow_bill(name, 30))
        case "a task":
            return sum((yield from gather([slow_bill(name, 30)])))
        case _:
            return (yield from transaction(slow_parts, name))


def paid(stage: Path) -> list[str]:
    """Names of those that have written, and wait."""
    return sorted(file.name for file in stage.glob("* has paid"))
