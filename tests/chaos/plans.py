"""What is started, how it has to come out, and what a person does to it on the way.

The rule of this file: a plan is drawn from a random source and nothing else, so a seed draws the same plans again.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from squidmesh import Call
from tests.chaos import workload as flows
from tests.chaos.promise import ANY


@dataclass(frozen=True, slots=True)
class Act:
    """A person does this, so many seconds after the start or as soon as it is possible then."""

    after: float
    what: str
    value: Any = None


@dataclass(frozen=True, slots=True)
class Plan:
    """``ends``: the statuses that the last run of its chain may have; ``result`` goes with ``completed``.

    ``listener``: the plan of a run that is started before, and whose id takes the place of ``WHOM`` in the call.
    """

    call: Callable[[str], Call[Any]]
    ends: frozenset[str]
    result: Any = ANY
    acts: tuple[Act, ...] = ()
    listener: "Plan | None" = None


def _plan(call: Call[Any], *ends: str, result: Any = ANY, acts: tuple[Act, ...] = ()) -> Plan:
    return Plan(lambda _: call, frozenset(ends or ("completed",)), result, acts)


def _either(fails: bool) -> str:
    return "failed" if fails else "completed"


def _sequence(chance: Random) -> Plan:
    steps = chance.randint(2, 15)
    return _plan(flows.sequence(steps, chance.uniform(0, 1)), result=sum(range(steps)))


def _fan(chance: Random) -> Plan:
    width = chance.choice((3, 12, 40))
    limit = chance.choice((None, 4))
    return _plan(flows.fan(width, limit), result=sum(range(width)) + sum(range(width // 4)))


def _tolerant(chance: Random) -> Plan:
    width = chance.randint(3, 12)
    return _plan(flows.tolerant(width), result=(width + 2) // 3)


def _retries(chance: Random) -> Plan:
    return _plan(flows.retries(chance.randint(1, 4)), result=6)


def _saga(chance: Random) -> Plan:
    fails = chance.random() < 0.75
    return _plan(flows.whole_saga(fails, chance.random() < 0.6), _either(fails))


def _account(chance: Random) -> Plan:
    rounds, fails = chance.randint(1, 6), chance.random() < 0.5
    total = rounds * (rounds + 1) // 2 + 303 + 3
    return _plan(flows.account(rounds, fails), _either(fails), result=total)


def _drains(chance: Random) -> Plan:
    return _plan(flows.drains(chance.randint(2, 8)), "failed")


def _doubt(chance: Random) -> Plan:
    """A step in doubt that did not happen fails the run, too."""
    return _plan(flows.doubt(chance.randint(1, 4), chance.random() < 0.5), "completed", "failed")


def _desk(chance: Random) -> Plan:
    needed, rejected = chance.randint(1, 2), chance.random() < 0.4
    if rejected:
        return _plan(flows.desk(needed), "failed", acts=(Act(chance.uniform(0, 2), "reject", "ann"),))
    votes = tuple(Act(chance.uniform(0, 2), "approve", actor) for actor in ("ann", "bob")[:needed])
    return _plan(flows.desk(needed), result="yes", acts=(*votes, Act(2.0, "resume", "yes")))


def _expires(chance: Random) -> Plan:
    return _plan(flows.expires(), result=True)


def _waits(chance: Random) -> Plan:
    return _plan(flows.waits(), result=None)


def _listens(chance: Random) -> Plan:
    count = chance.randint(1, 5)
    told = tuple(Act(n * 0.2, "signal", n) for n in range(count))
    return _plan(flows.listens(count), result=list(range(count)), acts=told)


def _tells(chance: Random) -> Plan:
    """One run tells another one, in order."""
    count = chance.randint(1, 4)
    listener = _plan(flows.listens(count), result=list(range(count)))
    return Plan(lambda whom: flows.tells(whom, count), frozenset({"completed"}), count, listener=listener)


def _heir(chance: Random) -> Plan:
    count = chance.randint(1, 4)
    told = tuple(Act(n * 0.3, "signal", n + 1) for n in range(count))
    return _plan(flows.heir(count, 0), result=sum(range(count + 1)), acts=told)


def _family(chance: Random) -> Plan:
    width, depth = chance.choice(((3, 1), (2, 2), (3, 2), (6, 1)))
    bad = int(chance.random() < 0.4)
    return _plan(flows.family(width, depth, bad), _either(bool(bad)), result=width ** (depth - 1) * sum(range(width)))


def _foster(chance: Random) -> Plan:
    return _plan(flows.foster(3), "completed")


def _puts_off(chance: Random) -> Plan:
    fails = chance.random() < 0.4
    return _plan(flows.puts_off(time.monotonic() + 0.6, fails), _either(fails))


def _links(chance: Random) -> Plan:
    left, fails = chance.randint(0, 4), chance.random() < 0.5
    return _plan(flows.links(left, 0, fails), _either(fails), result=sum(range(left + 1)))


def _raises_heirs(chance: Random) -> Plan:
    left, fails = chance.randint(0, 3), chance.random() < 0.4
    return _plan(flows.raises_heirs(left, fails), _either(fails), result=sum(range(left + 1)))


def _races(chance: Random) -> Plan:
    return _plan(flows.races(chance.uniform(0, 0.2)))


def _spawns(chance: Random) -> Plan:
    width = chance.randint(1, 6)
    return _plan(flows.spawns(width), result=sum(range(width)))


def _grounds(chance: Random) -> Plan:
    fails = chance.random() < 0.5
    return _plan(flows.grounds(fails), _either(fails), result="clean")


def _shares(chance: Random) -> Plan:
    fails = chance.random() < 0.4
    ends = ("failed",) if fails else ("completed", "failed")  # what it joins may be undone with its own parent
    return _plan(flows.shares(f"shared-{chance.randrange(40)}", fails), *ends, result=13)


def _nests(chance: Random) -> Plan:
    fails = chance.random() < 0.6
    return _plan(flows.nests(chance.random() < 0.5, fails), _either(fails), result=1)


def _undone_twice(chance: Random) -> Plan:
    """Somebody cancels it while it fails, or is undone, and wants it rolled back at its end."""
    call = chance.choice((
        flows.family(3, 2, 1), flows.whole_saga(True, True), flows.links(3, 0, True), flows.nests(True, True),
        flows.drains(6), flows.raises_heirs(2, True),
    ))  # fmt: skip
    acts = (Act(chance.uniform(0, 1.5), "cancel"), Act(chance.uniform(1.5, 3), "rollback"))
    return _plan(call, "failed", "cancelled", acts=acts)


def _unwanted(chance: Random) -> Plan:
    """Somebody stops it on the way."""
    after = chance.uniform(0, 2)
    match chance.choice(("cancel", "cancel", "terminate", "hold")):
        case "cancel":
            return _plan(_any_long(chance), "completed", "cancelled", acts=(Act(after, "cancel"),))
        case "terminate":
            return _plan(_any_long(chance), "completed", "terminated", acts=(Act(after, "terminate"),))
        case _:
            held = (Act(after, "hold"), Act(after + chance.uniform(0, 1), "release"))
            return _plan(flows.long(8), "completed", result=8, acts=held)


def _any_long(chance: Random) -> Call[Any]:
    return chance.choice((flows.long(12), flows.family(3, 2, 0), flows.links(6, 0, False), flows.spawns(6)))


def _regretted(chance: Random) -> Plan:
    """It completes, and is rolled back later."""
    call = chance.choice((
        flows.whole_saga(False, True), flows.account(3, False), flows.family(2, 2, 0), flows.links(3, 0, False),
        flows.raises_heirs(2, False), flows.puts_off(time.monotonic() + 0.3, False),
    ))  # fmt: skip
    return _plan(call, "undone", "completed", acts=(Act(chance.uniform(0.5, 3), "rollback"),))


KINDS: tuple[Callable[[Random], Plan], ...] = (
    _sequence, _fan, _tolerant, _retries, _saga, _saga, _account, _drains, _doubt, _desk, _expires, _waits, _listens,
    _tells, _heir, _family, _family, _foster, _puts_off, _links, _links, _raises_heirs, _races, _spawns, _grounds,
    _shares, _nests, _nests, _undone_twice, _undone_twice,
    _unwanted, _unwanted, _regretted, _regretted,
)  # fmt: skip


NAMES = frozenset(kind.__name__.removeprefix("_") for kind in KINDS)


def draw(chance: Random, only: frozenset[str] = NAMES) -> Plan:
    """The next plan, of one of these kinds."""
    return chance.choice([kind for kind in KINDS if kind.__name__.removeprefix("_") in only])(chance)
