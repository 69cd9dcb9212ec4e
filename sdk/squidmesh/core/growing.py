"""How the tree of a run grows: a command gets its place in it, and asks for its event.

The rule of this file: a command is checked against what history has at its position before anything else. What stands
in the tree then is asked.py's.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from squidmesh.core import events as ev
from squidmesh.core.asked import Asked
from squidmesh.core.calls import Call, Command
from squidmesh.core.children import MOST_DEEP, child_id, too_deep
from squidmesh.core.commands import FanOutCommand, Gather, Log, Pending, Publish, Race, Sleep, Spawn
from squidmesh.core.deferring import SUFFIX, Defer, Deferred
from squidmesh.core.effects import Trait
from squidmesh.core.failure import describe
from squidmesh.core.gates import Gate
from squidmesh.core.nodes import (
    Bad,
    ChildNode,
    FanOutNode,
    GateNode,
    GatherNode,
    Gone,
    Node,
    RaceNode,
    SendNode,
    SignalNode,
    StepNode,
    TimerNode,
    given,
)
from squidmesh.core.payloads import size_check
from squidmesh.core.scopes import AddUndo
from squidmesh.core.signals import SignalSend, SignalWait
from squidmesh.errors import Cancelled, ChildFailed, PayloadError, StepFailed


def node(run: Asked, command: Command[Any], position: str) -> Node:
    """Give a command its place in the tree, and ask for its event."""
    command.taken = True
    match command:
        case Call() if command.definition.is_step:
            return _schedule(run, command, position)
        case Call():
            return _child(run, command, position)
        case Sleep():
            return _timer(run, command, position)
        case SignalWait():
            return _wait(run, command, position)
        case SignalSend():
            return _send(run, command, position)
        case Gate():
            return _gate(run, command, position)
        case Gather(members=members, as_list=as_list):
            gather = GatherNode(position, run.stop, as_list)
            for n, member in enumerate(members, 1):
                if not gather.stopped:
                    gather.add(node(run, member, f"{position}.{n}"))
            gather.ready = True
            gather.look()
            return gather
        case FanOutCommand():
            begin = partial(node, run)
            fan = FanOutNode(position, run.stop, command.members, command.limit, command.tolerate, begin)
            fan.ready = True
            fan.look()
            return fan
        case Race(members=members):
            _no_irreversible(run, members)
            race = RaceNode(position, run.stop, run.won)
            for n, member in enumerate(members, 1):
                if race.outcome is None:
                    race.add(node(run, member, f"{position}.{n}"))
            return race
        case Spawn(call=call):
            spawned = node(run, call, position)
            assert isinstance(spawned, (StepNode, ChildNode))
            spawned.spawned = True
            run.spawned[position] = spawned
            return given(position, Pending(position))
        case Pending(position=of):
            spawned = run.spawned[of]
            spawned.observed = True
            return _cancelled(spawned, position) if isinstance(spawned.outcome, Gone) else spawned
        case Defer():
            return _defer(run, command, position)
        case Publish():
            return _publish(run, command, position)
        case Log(message=message, level=level):
            run.ask(ev.MessageLogged(position=position, message=message, level=level))
            return given(position, None)
        case AddUndo(function=function, input=input):
            run.ask(ev.UndoRegistered(position=position, number=1, function=function, input=input))
            return given(position, None)
        case _:
            raise run.refused(f"{command.told()} is not a command of this version")


def _publish(run: Asked, command: Publish, position: str) -> Node:
    try:
        size_check(command.value, run.max_payload, f"the value published as {command.name!r}")
    except PayloadError as refused:
        raise run.refused(str(refused)) from None
    run.published[command.name] = command.value
    run.ask(ev.ValuePublished(position=position, name=command.name, value=command.value))
    return given(position, None)


def _no_irreversible(run: Asked, members: Iterable[Command[Any]]) -> None:
    for member in members:
        match member:
            case Call() if member.definition.is_step and member.definition.irreversible:  # type: ignore[union-attr]
                raise run.refused(
                    f"{member.told()} is irreversible and stands in a race, where it would have to be undone if "
                    "it lost: yield it by itself, after the race"
                )
            case Gather(members=inner) | FanOutCommand(members=inner) | Race(members=inner):
                _no_irreversible(run, inner)
            case _:
                pass


def _schedule(run: Asked, call: Call[Any], position: str) -> StepNode:
    node = StepNode(position, call)
    traits = node.definition.traits
    if run.strict and not any(trait in traits for trait in _SAY_HOW):
        raise run.refused(
            f"{call.told()} has no undo, and the workflow is declared strict_undo=True: give the step an undo "
            f"(@{node.step}.undo), or declare it pure=True or irreversible=True"
        )
    asked = ev.StepScheduled(
        at=run.now(), position=position, step=node.step, input=call.input, options=call.overrides.to_json(),
        traits=traits, undo=getattr(node.definition, "undo_name", None),
    )  # fmt: skip
    found = run.ask(asked)
    node.traits = traits
    if found is None:
        run.steps.append(node)
    else:
        assert isinstance(found, ev.StepScheduled)
        node.elsewhere, node.scheduled_seq, node.traits = found.elsewhere, found.seq, found.traits
    if traits and Trait.GROUP in traits:
        run.groups[position] = node
    return run.opened(node)


def _child(run: Asked, call: Call[Any], position: str) -> ChildNode:
    """A child has its id from here on. One with a key may be there already: its holder looks, and says so."""
    flow: Any = call.definition
    if call.overrides.retry is not None:
        raise run.refused(f"options(retry=) are for steps: {call.told()} is a workflow, whose steps have their own")
    asked = ev.ChildStarted(
        at=run.now(), position=position, run_id=child_id(run.run_id, position, run.now()), workflow=flow.name,
        input=call.input, options=call.overrides.to_json(), version=flow.version,
        queue=call.overrides.queue or flow.queue or run.first.queue,
    )  # fmt: skip
    if run.first.depth >= MOST_DEEP:
        refused = ChildNode(asked, flow.result)
        refused.settle(too_deep(flow.name))
        return refused
    found = run.recorded.claim(asked, run.place)
    node = ChildNode(found if isinstance(found, ev.ChildStarted) else asked, flow.result)
    if found is None and call.overrides.key is not None:
        run.links[position] = node
    elif found is None:
        run.new.append(asked)
    return run.opened(node)


def _defer(run: Asked, command: Defer, position: str) -> Node:
    at = run.now()
    asked = ev.StepDeferred(
        at=at, position=position, run_id=child_id(run.run_id, position, at), input=command.input(at),
        workflow=f"{run.first.workflow}{SUFFIX}", version=run.first.version, queue=run.first.queue,
    )  # fmt: skip
    found = run.ask(asked)
    return given(position, Deferred(found.run_id if isinstance(found, ev.StepDeferred) else asked.run_id))


def _timer(run: Asked, command: Sleep, position: str) -> TimerNode:
    due = run.now() + round(command.duration * 1_000_000) if command.duration is not None else command.until
    assert due is not None
    found = run.ask(ev.TimerSet(position=position, due=due))
    return run.opened(TimerNode(position, found.due if isinstance(found, ev.TimerSet) else due))


def _wait(run: Asked, command: SignalWait, position: str) -> SignalNode:
    due = None if command.timeout is None else run.now() + round(command.timeout * 1_000_000)
    found = run.ask(ev.SignalAwaited(position=position, name=command.signal.name, due=due))
    node = SignalNode(position, command.signal, found.due if isinstance(found, ev.SignalAwaited) else due)
    run.waits[position] = node
    return run.opened(node)


def _send(run: Asked, command: SignalSend, position: str) -> SendNode:
    """A message is sent by the holder of the run, and on record when it was: until then it stays open."""
    try:
        size_check(command.payload, run.max_payload, f"the payload of signal {command.name!r}")
    except PayloadError as refused:
        raise run.refused(str(refused)) from None
    node = SendNode(position, command.run_id, command.name, command.payload)
    sent = ev.SignalSent(position=position, run_id=node.run_id, name=node.name, payload=node.payload)
    if run.recorded.claim(sent, run.place) is None:
        run.sends[position] = node
    return run.opened(node)


def _gate(run: Asked, command: Gate, position: str) -> GateNode:
    due = command.due(run.now())
    asked = ev.GateOpened(
        at=run.now(), position=position, gate=command.kind, name=command.name, needed=command.needed, due=due
    )
    found = run.ask(asked)
    promised = found if isinstance(found, ev.GateOpened) else asked
    node = GateNode(position, command, promised.needed, promised.due)
    run.gates[position] = node
    return run.opened(node)


_SAY_HOW = frozenset({Trait.UNDO, Trait.PURE, Trait.IRREVERSIBLE, Trait.GROUP})


def _cancelled(spawned: StepNode | ChildNode, position: str) -> Node:
    """What the workflow gets that waits for something which was cancelled with the scope that spawned it."""
    name = spawned.step if isinstance(spawned, StepNode) else spawned.workflow
    failure = describe(
        Cancelled(f"{name!r} at position {spawned.position} was cancelled with the scope it belonged to")
    )
    node = Node(position)
    if isinstance(spawned, StepNode):
        node.settle(Bad(StepFailed(name, spawned.position, failure), failure))
    else:
        node.settle(Bad(ChildFailed(spawned.run_id, name, failure), failure))
    return node
