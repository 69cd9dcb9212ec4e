"""Trees of runs, deferred calls and chains, made of the steps of the sagas, which say where their workers die."""

from squidmesh import Flow, context, continue_as_new, defer, gather, race, run_info, sleep, spawn, step, workflow
from tests.processes.effects import effect, folder
from tests.processes.flows import first_time
from tests.processes.saga_flows import Late, held_up, pick

KIDS = "kids"


@workflow(name="family_leaf")
def leaf(doom: str) -> Flow[str]:
    yield from pick(doom)
    return "leaf"


@workflow(name="family_branch")
def branch(doom: str) -> Flow[str]:
    yield from pick(doom)
    yield from leaf(doom)
    return "branch"


@step(name="family_tells", pure=True)
def tells(name: str) -> None:
    (folder() / name).touch()


@step(name="family_hears", pure=True)
def hears(name: str) -> None:
    held_up(name)


@workflow(name="family_slow")
def slow(name: str) -> Flow[None]:
    yield from pick("nowhere")
    yield from tells(name)
    yield from sleep(3_600)


@workflow(name="family_tree")
def tree() -> Flow[None]:
    """Children one after the other and side by side, one for two, one that is cancelled; then all of it is undone."""
    me = run_info().run_id
    yield from pick("nowhere")
    yield from branch("nowhere")
    yield from gather(leaf("nowhere"), *(leaf("nowhere").options(key=f"kid of {me}") for _ in range(2)))
    yield from race(slow(f"slow of {me}"), hears(f"slow of {me}"))
    raise Late("too late for the family")


@workflow(name="family_chain")
def chain(n: int) -> Flow[None]:
    """Links with a child each; the last one fails, and all are undone."""
    yield from pick("nowhere")
    yield from leaf("nowhere")
    if n == 2:
        raise Late("too late for the chain")
    yield from continue_as_new(chain(n + 1))


@step(name="family_ready", pure=True)
def ready(name: str) -> bool:
    return (folder() / name).exists()


@workflow(name="family_later")
def later(name: str) -> Flow[str]:
    """Completes before what it has deferred."""
    yield from pick("nowhere")
    waits = yield from defer(leaf("nowhere"), until=ready(name), every=0.1)
    return waits.run_id


@workflow(name="family_never")
def never() -> Flow[None]:
    yield from pick("nowhere")
    yield from defer(leaf("nowhere"), until=ready("it is never there"), every=0.1)
    raise Late("before it was")


# ----------------------------------------------------------------------------------------- on several machines


@step(name="family_work", queue=KIDS, max_lost=50)
def work(n: int) -> int:
    """One of them does not come to its end before its worker dies."""
    effect()
    if n == 0 and first_time("the first at work"):
        held_up("it is never there")
    return n


@workflow(name="family_worker", queue=KIDS)
def worker(n: int) -> Flow[int]:
    return (yield from work(n))


@workflow(name="family_boss", queue="default")
def boss(children: int) -> Flow[int]:
    yield from pick("nowhere")
    done = yield from gather([worker(n) for n in range(children)])
    yield from pick("nowhere")
    return sum(done)


@step(name="family_held_up", max_lost=50)
def waits(name: str) -> int:
    effect()
    held_up(name)
    return context().attempt


@workflow(name="family_holds")
def holds(name: str) -> Flow[int]:
    """Is held by its worker while its children run."""
    for _ in range(3):
        yield from spawn(leaf("nowhere"))
    return (yield from waits(name))
