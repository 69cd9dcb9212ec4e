"""The three Dramatiq actors, one for each kind of bell.

The rule of this file: a message carries ids only, and an actor does nothing but hand the bell to a worker. So
a message that is lost, late or doubled changes nothing but latency, and a rolling deploy never meets an actor
that it does not know. Nothing here relies on Dramatiq's delays, retries or redelivery.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import dramatiq

from squidmesh.ports import Bell, BellKind

log = logging.getLogger("squidmesh.worker")

Hear = Callable[[Bell], None]

_PREFIX = "squidmesh."

#: A host's broker may carry Dramatiq's own middleware: no retries, and a time limit that is never reached
#: (ten years, in milliseconds), because both are the engine's.
_OPTIONS = {"max_retries": 0, "time_limit": 10 * 365 * 24 * 3600 * 1000}


def queue_on_broker(queue: str) -> str:
    """What the broker calls one of our queues."""
    return _PREFIX + queue


def queue_of(broker_queue: str) -> str | None:
    """Our name of a queue of the broker; None when it is not ours."""
    return broker_queue.removeprefix(_PREFIX) if broker_queue.startswith(_PREFIX) else None


def message(bell: Bell) -> dramatiq.Message[None]:
    """The message that rings this bell. It needs no declared actor, so a client can send it too.

    Its option ``traceparent``, where runs are traced, is for the host's own middleware: nothing here reads it.
    """
    return dramatiq.Message(
        queue_name=queue_on_broker(bell.queue),
        actor_name=_PREFIX + bell.kind.value,
        args=(bell.queue, bell.run_id),
        kwargs={},
        options={} if bell.trace is None else {"traceparent": bell.trace},
    )


def is_named(message: dramatiq.Message[None] | dramatiq.MessageProxy) -> bool:
    """Whether the bell that this message rings is for some run."""
    return bool(message.args[1:] and message.args[1])


def declare_actors(broker: dramatiq.Broker, hear: Hear, queue: str) -> None:
    """Declare the actors on exactly this broker.

    An actor has a queue of its own, though its messages name theirs: let ``queue`` be one that is served.
    """
    for kind in BellKind:
        name = _PREFIX + kind.value
        if name not in broker.actors:
            dramatiq.Actor(
                _actor(kind, hear),
                broker=broker,
                actor_name=name,
                queue_name=queue_on_broker(queue),
                priority=0,
                options=dict(_OPTIONS),
            )


def _actor(kind: BellKind, hear: Hear) -> Callable[[str, str | None], None]:
    def ring(queue: str, run_id: str | None = None) -> None:
        try:
            hear(Bell(kind, queue, run_id))
        except Exception:
            # A failing step is data; what comes up here is broken infrastructure. The message is done all the
            # same: the work is in the database, and no broker would deliver it again sooner than the sweep
            # finds it.
            log.exception("bell %s of queue %s: not answered; the sweep will find what is due", kind.value, queue)

    return ring
