"""The workflows that the worker processes of these tests run.

A step that waits does so for a file of its stage to appear; one that kills does it to its own process.
"""

import asyncio
import os
import signal
import time
from typing import Annotated, Any

from pydantic import AfterValidator, PlainSerializer

from squidmesh import Flow, Retry, context, fan_out, gather, race, sleep, spawn, step, workflow
from tests.processes.effects import effect, folder

LOOK = 0.005  # seconds between two looks for a file


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def first_time(name: str) -> bool:
    """Whether nobody asked this before, in any process."""
    try:
        os.close(os.open(folder() / name, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


# ------------------------------------------------------------------------------------------------- quick ones


@step(name="chaos_quick")
def quick(n: int) -> int:
    effect()
    return n


@step(name="chaos_brief")
def brief(n: int) -> int:
    """Takes as long as asking somebody nearby."""
    effect()
    time.sleep(0.01)
    return n


@step(name="chaos_shaky", retry=Retry(max_attempts=5, initial=0.05, factor=1))
def shaky(n: int) -> int:
    """Fails at the first attempt that gets that far."""
    effect()
    if first_time(f"shaky-{n}"):
        raise ConnectionError("not this time")
    return n


@workflow(name="chaos_in_line")
def in_line(steps: int) -> Flow[int]:
    total = 0
    for n in range(steps):
        total += yield from brief(n)
    return total


@workflow(name="chaos_spread")
def spread(width: int) -> Flow[int]:
    done = yield from fan_out(brief, range(width))
    return sum(done.values())


@workflow(name="chaos_mixed")
def mixed(seed: int) -> Flow[int]:
    """A little of everything: steps in line, side by side, and one that is tried again."""
    total = yield from brief(1)
    total += sum((yield from gather([brief(n) for n in range(4)])))
    total += yield from shaky(seed)
    total += yield from brief(2)
    return total


# ------------------------------------------------------------------------------------------------ ones that wait


@step(name="chaos_held_up")
def held_up(name: str) -> int:
    effect()
    while not (folder() / name).exists():
        time.sleep(LOOK)
    return os.getpid()


@step(name="chaos_held_up_async")
async def held_up_async(name: str) -> int:
    effect()
    while not (folder() / name).exists():
        await asyncio.sleep(LOOK)
    return os.getpid()


@workflow(name="chaos_waits")
def waits(*names: str) -> Flow[list[int]]:
    """Waits for one file after the other, with a quick step after each; which process did it."""
    pids = []
    for n, name in enumerate(names):
        pids.append((yield from held_up(name)))
        yield from quick(n)
    return pids


@workflow(name="chaos_wait_together")
def wait_together(width: int, name: str, asynchronous: bool = False) -> Flow[list[int]]:
    wait = held_up_async if asynchronous else held_up
    pids = yield from gather([wait(name) for _ in range(width)])
    yield from quick(0)
    return pids


@step(name="chaos_counted")
def counted(upto: int) -> int:
    """Says after each part how far it is, and goes on from there."""
    effect()
    done = int(context().progress or 0)
    while done < upto:
        time.sleep(LOOK)
        done += 1
        context().checkpoint(done)
    return done


@step(name="chaos_wanted")
def wanted(name: str) -> str:
    """Waits for a file as long as the run wants it to."""
    effect()
    while not (folder() / name).exists():
        context().heartbeat()
        time.sleep(LOOK)
    return name


@workflow(name="chaos_various")
def various(name: str) -> Flow[str]:
    """Timers, checkpoints, a race and a step that is cancelled with its run."""
    yield from sleep(0.2)
    assert (yield from counted(5)) == 5
    first, _ = yield from race(brief(1), sleep(30))
    assert first == 0
    pending = yield from spawn(wanted(name))
    yield from brief(2)
    return (yield from pending)


# ------------------------------------------------------------------------------------------------- ones that kill


@step(name="chaos_deadly", max_lost=1)
def deadly() -> int:
    effect()
    die()
    return 0


@workflow(name="chaos_doomed")
def doomed(together: bool) -> Flow[int]:
    yield from quick(0)
    if together:
        return sum((yield from gather(quick(1), deadly())))
    return (yield from deadly())


def _die_while_encoding(value: int) -> int:
    if first_time("died-before-the-result-was-told"):
        die()
    return value


def _die_while_decoding(value: Any) -> Any:
    if (folder() / "armed").exists() and first_time("died-before-the-body"):
        die()
    return value


Untold = Annotated[int, PlainSerializer(_die_while_encoding)]
Fuse = Annotated[int, AfterValidator(_die_while_decoding)]


@step(name="chaos_untold")
def untold() -> Untold:
    """Its worker dies after the body has returned, the first time."""
    effect()
    return 2


@step(name="chaos_unbegun")
def unbegun(fuse: Fuse) -> int:
    """Its worker dies when the attempt is recorded and the body has not begun, the first time."""
    effect()
    return fuse


@workflow(name="chaos_dies_between")
def dies_between(place: str) -> Flow[int]:
    """Kills its worker once, between two steps, at the place named."""
    first = yield from quick(1)
    match place:
        case "result not told":
            second = yield from untold()
        case "result not recorded":
            second = yield from quick(2)
            if first_time("died-in-the-workflow"):
                die()
        case _:
            call = unbegun(2)
            (folder() / "armed").touch()
            second = yield from call
    third = yield from quick(3)
    return first * 100 + second * 10 + third


# ------------------------------------------------------------------------------------------------- other queues


@step(name="chaos_pid_here")
def pid_here() -> int:
    effect()
    return os.getpid()


@step(name="chaos_pid_there", queue="chaos-there")
def pid_there() -> int:
    effect()
    return os.getpid()


@workflow(name="chaos_there_and_back")
def there_and_back() -> Flow[list[int]]:
    return [(yield from pid_here()), (yield from pid_there()), (yield from pid_here())]
