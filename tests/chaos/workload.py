"""The workflows of the chaos workload: what runs through the storm.

The rule of this file: each is short, does a few things that belong together, and gives what its input says it must; so
whoever started it knows how it has to come out.
"""

from datetime import timedelta

from squidmesh import (
    ChildFailed,
    Flow,
    GatherFailed,
    Signal,
    StepFailed,
    WorkflowError,
    add_undo,
    approval,
    continue_as_new,
    defer,
    fan_out,
    gather,
    pause,
    publish,
    race,
    rollback,
    saga,
    sleep,
    spawn,
    transaction,
    workflow,
)
from tests.chaos.steps import (
    far,
    half,
    is_time,
    lays_by,
    look,
    note,
    once,
    pay,
    put,
    refuse,
    release,
    shaky,
    ship,
    vague,
)

TOLD = Signal("chaos.told", int)


class Late(WorkflowError):
    """The run fails when all is done."""


@workflow(name="chaos_sequence")
def sequence(steps: int, nap: float) -> Flow[int]:
    total = 0
    for n in range(steps):
        total += yield from put(n)
        if n == steps // 2:
            yield from sleep(nap)
            yield from publish("half", total)
    return total


@workflow(name="chaos_fan")
def fan(width: int, limit: int | None) -> Flow[int]:
    done = yield from fan_out(put, range(width), limit=limit)
    away = yield from gather([far(n) for n in range(width // 4)])
    return sum(done.values()) + sum(away)


@workflow(name="chaos_tolerant")
def tolerant(width: int) -> Flow[int]:
    """Some members fail, as many as are allowed to."""
    done = yield from fan_out(lambda n: refuse("odd") if n % 3 == 0 else put(n), range(width), tolerate=width)
    return len(done.failures)


@workflow(name="chaos_retries")
def retries(failures: int) -> Flow[int]:
    first = yield from shaky(1, failures)
    both = yield from gather(shaky(2, failures), look(3))
    return first + sum(both)


@workflow(name="chaos_saga")
def whole_saga(fails: bool, clean: bool) -> Flow[int]:
    """One of everything that has an undo; ``clean``: and nothing that has none."""
    yield from put(1)
    yield from add_undo(release, 7)
    yield from pay(5)
    yield from transaction(parts, 10)
    yield from gather([put(n) for n in range(3)])
    yield from lays_by(4)
    yield from half(5)
    yield from vague(6)
    if not clean:
        yield from note(8)
        yield from ship(9)
    yield from far(10)
    if fails:
        raise Late("too late for all that")
    return 1


def parts(cents: int) -> Flow[int]:
    first = yield from pay(cents)
    return first + (yield from pay(cents * 2))


@workflow(name="chaos_account")
def account(rounds: int, fails: bool) -> Flow[int]:
    """Money only: transactional steps in line, side by side, and in groups."""
    total = 0
    for n in range(rounds):
        total += yield from pay(n + 1)
    total += sum((yield from gather([pay(100 + n) for n in range(3)])))
    total += yield from transaction(parts, 1)
    if fails:
        yield from refuse("bankrupt")
    return total


@workflow(name="chaos_drains")
def drains(width: int) -> Flow[None]:
    """One of several side by side fails while the others are at work."""
    yield from put(0)
    yield from gather(refuse("no"), *[put(n) for n in range(width)], pay(3))


@workflow(name="chaos_doubt")
def doubt(steps: int, fails: bool) -> Flow[int]:
    """Steps that must never be done twice."""
    total = 0
    for n in range(steps):
        total += yield from once(n)
    total += yield from ship(steps)
    if fails:
        raise Late("not after all")
    return total


@workflow(name="chaos_desk")
def desk(needed: int) -> Flow[str]:
    """Asks people; rejected, what it did is undone."""
    yield from put(1)
    decision = yield from approval("desk", needed=needed)
    if not decision.approved:
        raise Late(f"rejected by {decision.actor}")
    word = yield from pause("word", str)
    yield from put(2)
    return word


@workflow(name="chaos_expires")
def expires() -> Flow[bool]:
    """Nobody answers in time."""
    decision = yield from approval("nobody", deadline=timedelta(seconds=0.5))
    yield from put(1)
    return decision.expired


@workflow(name="chaos_listens")
def listens(count: int) -> Flow[list[int]]:
    heard = []
    for n in range(count):
        heard.append((yield from TOLD.wait()))
        yield from put(n)
    return heard


@workflow(name="chaos_tells")
def tells(whom: str, count: int) -> Flow[int]:
    """Sends another run its messages."""
    for n in range(count):
        yield from TOLD.send(whom, n)
        yield from look(n)
    return count


@workflow(name="chaos_waits")
def waits() -> Flow[int | None]:
    """For a message that never comes."""
    return (yield from TOLD.wait(timeout=0.7))


@workflow(name="chaos_leaf")
def leaf(n: int, fails: bool) -> Flow[int]:
    yield from put(n)
    yield from pay(n + 1)
    yield from sleep(0.05)
    if fails:
        yield from refuse("a bad leaf")
    return n


@workflow(name="chaos_family")
def family(width: int, depth: int, bad: int) -> Flow[int]:
    """Children, and theirs; of the leaves at the bottom ``bad`` fail, and nobody catches that."""
    yield from put(0)
    if depth > 1:
        return sum((yield from gather([family(width, depth - 1, bad) for _ in range(width)])))
    return sum((yield from gather([leaf(n, n < bad) for n in range(width)])))


@workflow(name="chaos_foster")
def foster(width: int) -> Flow[int]:
    """Catches what happens to its children, and goes on."""
    try:
        yield from leaf(1, True)
    except ChildFailed:
        yield from put(2)
    try:
        yield from gather(*[leaf(n, n == 1) for n in range(width)])
    except GatherFailed as failed:
        return len(failed.results) + len(failed.failures)
    return 0


@workflow(name="chaos_puts_off")
def puts_off(at: float, fails: bool) -> Flow[str]:
    later = yield from defer(leaf(3, False), until=is_time(at), every=0.2, deadline=60.0)
    yield from put(1)
    if fails:
        raise Late("and what was put off, too")
    return later.run_id


@workflow(name="chaos_links")
def links(left: int, total: int, fails: bool) -> Flow[int]:
    """A chain of runs; failing, the last one undoes them all."""
    total += yield from put(left)
    yield from pay(1)
    if left:
        yield from continue_as_new(links(left - 1, total, fails))
    if fails:
        raise Late("all the way back")
    return total


@workflow(name="chaos_heir")
def heir(count: int, heard: int) -> Flow[int]:
    """Takes one message in each link."""
    heard += yield from TOLD.wait()
    yield from look(count)
    if count > 1:
        yield from continue_as_new(heir(count - 1, heard))
    return heard


@workflow(name="chaos_raises_heirs")
def raises_heirs(left: int, fails: bool) -> Flow[int]:
    """A child that continues as another one, beside a leaf that may fail."""
    yield from put(0)
    first, _ = yield from gather(links(left, 0, False), leaf(1, fails))
    return first


@workflow(name="chaos_races")
def races(seconds: float) -> Flow[int]:
    index, _ = yield from race(put(1), sleep(seconds))
    other, _ = yield from race(put(2), far(3), leaf(4, False))
    yield from put(5)
    return index + other


@workflow(name="chaos_spawns")
def spawns(width: int) -> Flow[int]:
    pending = []
    for n in range(width):
        pending.append((yield from spawn(leaf(n, False) if n % 2 else put(n))))  # noqa: PERF401 — not with a yield in it
    yield from sleep(0.1)
    return sum((yield from gather(pending)))


@workflow(name="chaos_grounds")
def grounds(fails: bool) -> Flow[str | None]:
    """A scope that is rolled back while the run goes on."""
    yield from put(1)
    ground = saga("ground")
    try:
        with ground:
            yield from put(2)
            yield from pay(3)
            yield from leaf(4, False)
            yield from refuse("no car")
    except StepFailed:
        report = yield from rollback(ground)
        yield from put(5)
        if fails:
            raise Late("not even that") from None
        return report.outcome
    return None


@workflow(name="chaos_long")
def long(steps: int) -> Flow[int]:
    """For those who are cancelled, held or terminated on the way."""
    for n in range(steps):
        yield from put(n)
        yield from sleep(0.05)
        if n % 3 == 0:
            yield from pay(n)
        if n % 4 == 1:
            yield from gather(far(n), leaf(n, False))
    return steps


@workflow(name="chaos_shares")
def shares(key: str, fails: bool) -> Flow[int]:
    """Joins a child that others wait for, too, beside one of its own that nobody waits for."""
    yield from leaf(5, False).options(detached=True)
    first, second = yield from gather(leaf(6, False).options(key=key), leaf(7, False))
    if fails:
        raise Late("what is shared stays")
    return first + second


@workflow(name="chaos_nests")
def nests(inner_fails: bool, fails: bool) -> Flow[int]:
    """Scopes in scopes, one of them committed, with children in them."""
    yield from put(1)
    with saga("outer"):
        yield from leaf(2, False)
        try:
            with saga("inner"):
                yield from gather(put(3), family(2, 1, 0))
                if inner_fails:
                    yield from refuse("inside")
        except StepFailed:
            yield from put(4)
        with saga("kept", commit=True):
            yield from pay(5)
    if fails:
        raise Late("outside")
    return 1
