"""The doorbells: how a mesh tells workers, through which broker, that work is due.

The rule of this file: ringing never raises and never keeps its caller waiting for more than a moment, and
nothing is connected before the first ring. A doorbell also gives the broker on which ``serve`` reads what
others rang.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import dramatiq
import redis
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.errors import QueueNotFound

from squidmesh.errors import ConfigurationError
from squidmesh.ports import Bell, Doorbell
from squidmesh_worker.actors import declare_actors, message, queue_on_broker
from squidmesh_worker.courier import Courier
from squidmesh_worker.inprocess import InProcessBroker, Letterboxes, queue_here
from squidmesh_worker.listeners import Listeners
from squidmesh_worker.outage import Outage
from squidmesh_worker.rabbitmq import BellRabbitmqBroker, keep_alive
from squidmesh_worker.redis import RedisBroker

if TYPE_CHECKING:
    from squidmesh.mesh import Mesh


class InProcessDoorbell:
    """Rings the threads that serve this mesh in this process; nobody serving, nothing is kept."""

    def __init__(self) -> None:
        self._boxes = Letterboxes()

    def ring(self, bells: Sequence[Bell]) -> None:
        for bell in self._boxes.keep(bells):
            self._boxes.put(message(bell))

    def reading_broker(self) -> dramatiq.Broker:
        return InProcessBroker(self._boxes)

    def read_on(self, queue: str) -> tuple[str, ...]:
        return queue_on_broker(queue), queue_here(queue)

    def close(self) -> None:
        """Nothing to give back: whoever reads closes what it reads."""


class RedisDoorbell:
    """Rings through Redis lists, all bells of a call in one round trip on the caller's thread."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._boxes = Letterboxes()
        self._broker = RedisBroker(url, name=without_secrets(url))

    def ring(self, bells: Sequence[Bell]) -> None:
        away = self._boxes.keep(bells)
        outage = self._broker.outage
        if not away or not outage.worth_trying():
            return
        try:
            self._broker.enqueue_many([message(bell) for bell in away])
            outage.ended()
        except redis.RedisError as error:
            outage.failed(error)

    def reading_broker(self) -> dramatiq.Broker:
        return RedisBroker(self._url, without_secrets(self._url), self._boxes)

    def read_on(self, queue: str) -> tuple[str, ...]:
        return queue_on_broker(queue), queue_here(queue)

    def close(self) -> None:
        self._broker.close()


class RabbitmqDoorbell:
    """Rings through RabbitMQ, from a courier's thread that owns the one connection."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._boxes = Letterboxes()
        self._broker = BellRabbitmqBroker(url)
        self._courier = Courier(self._send, Outage(without_secrets(url)), lambda: keep_alive(self._broker))

    def ring(self, bells: Sequence[Bell]) -> None:
        if away := self._boxes.keep(bells):
            self._courier.ring(away)

    def _send(self, bells: Sequence[Bell]) -> None:
        for bell in bells:
            self._broker.enqueue(message(bell))

    def reading_broker(self) -> dramatiq.Broker:
        return BellRabbitmqBroker(self._url, self._boxes)

    def read_on(self, queue: str) -> tuple[str, ...]:
        return queue_on_broker(queue), queue_here(queue)

    def close(self) -> None:
        self._courier.close()
        self._broker.close()


#: Who hears what a host's broker delivers here: several meshes may share it, and a bell does not say whose it
#: is; a mesh that does not know the run finds nothing to do.
_hosted: WeakKeyDictionary[dramatiq.Broker, list[HostDoorbell]] = WeakKeyDictionary()


class HostDoorbell:
    """Rings through a broker that belongs to the host application, and lets its workers hear.

    The actors are declared on it at once, so that a plain ``dramatiq`` process that imports the host's
    modules knows them. The host's middleware sees our messages as any other; its broker is never closed here.
    """

    def __init__(self, broker: dramatiq.Broker, name: str) -> None:
        self.broker = broker
        self.listeners = Listeners()
        self.serving: set[dramatiq.Worker] = set()  # Dramatiq workers that ``serve`` started on this broker
        look_after = (lambda: keep_alive(broker)) if isinstance(broker, RabbitmqBroker) else None
        outage = Outage(f"{type(broker).__name__} of {name}")
        self._courier = Courier(self._send, outage, look_after, self.listeners.answer)
        self.ring = self._courier.ring
        doorbells = _hosted.setdefault(broker, [])
        doorbells.append(self)
        declare_actors(broker, partial(_heard, doorbells), "default")

    def _send(self, bells: Sequence[Bell]) -> None:
        for bell in bells:
            letter = message(bell)
            try:
                self.broker.enqueue(letter)
            except QueueNotFound:  # only Dramatiq's stub broker wants queues declared by those who send
                self.broker.declare_queue(letter.queue_name)
                self.broker.enqueue(letter)

    def reading_broker(self) -> dramatiq.Broker:
        return self.broker

    def read_on(self, queue: str) -> tuple[str, ...]:
        return (queue_on_broker(queue),)

    def close(self) -> None:
        self._courier.close()
        if self in _hosted[self.broker]:
            _hosted[self.broker].remove(self)
        for middleware in list(self.broker.middleware):
            if getattr(middleware, "doorbell", None) is self:
                self.broker.middleware.remove(middleware)


def _heard(doorbells: list[HostDoorbell], bell: Bell) -> None:
    for doorbell in tuple(doorbells):
        doorbell.listeners.hear(bell)


AnyDoorbell = InProcessDoorbell | RedisDoorbell | RabbitmqDoorbell | HostDoorbell

_BY_SCHEME: dict[str, Callable[[str], RedisDoorbell | RabbitmqDoorbell]] = {
    "redis": RedisDoorbell,
    "rediss": RedisDoorbell,
    "unix": RedisDoorbell,
    "amqp": RabbitmqDoorbell,
    "amqps": RabbitmqDoorbell,
}


def doorbell_for(broker: str | dramatiq.Broker | None, *, name: str, mesh: Mesh | None = None) -> Doorbell:
    """Give the doorbell of a mesh.

    ``broker``: None (threads of this process), a URL (``redis://``, ``rediss://``, ``unix://``, ``amqp://``
    or ``amqps://``), or a Dramatiq broker of the host's; ``name``: how log lines call it; ``mesh``: with a
    host's broker, the mesh that plain ``dramatiq`` processes on it shall serve (without it they serve none).
    Nothing is connected here. Raises ``ConfigurationError`` for any other URL, in one line.
    """
    if broker is None:
        return InProcessDoorbell()
    if isinstance(broker, dramatiq.Broker):
        doorbell = HostDoorbell(broker, name)
        if mesh is not None:
            from squidmesh_worker.middleware import SquidMesh

            broker.add_middleware(SquidMesh(mesh, doorbell))
        return doorbell
    try:
        ring_through = _BY_SCHEME.get(urlsplit(broker).scheme)
        if ring_through is not None:
            return ring_through(broker)
    except ValueError:  # its text may hold a part of the password
        pass
    raise ConfigurationError(
        f"broker URL {without_secrets(broker)!r} cannot be used: it looks like redis://HOST:PORT/DB or "
        "amqp://USER:PASSWORD@HOST:PORT (in Mesh(broker=…), --broker or SQUIDMESH_BROKER_URL)"
    )


def without_secrets(url: str) -> str:
    """The URL as log lines and errors may show it: scheme and host, nothing secret."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.partition(":")[0] + "://…"
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}" if parts.scheme and parts.hostname else url.partition(":")[0] + "://…"
