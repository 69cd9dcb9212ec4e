"""A Dramatiq broker on Redis lists whose consumers wake at once.

Dramatiq's own Redis broker keeps every message until it is acknowledged, and polls. A bell needs neither:
when it gets lost, the sweep finds the work. So a queue is one Redis list named as the queue is, a message is
one element, and a consumer blocks in BLPOP: Redis wakes exactly one of those that wait, and nothing is asked
while nothing happens.

The rule of this file: Redis may be emptied, restarted or away at any time; nobody is kept waiting for it
longer than a moment, and whoever reads comes back by itself. No scripts, no keys but the lists; Redis 5 and
later (``LPOP`` with a count is used from 6.2 on).
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import dramatiq
import redis
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.errors import DecodeError
from redis.backoff import NoBackoff
from redis.retry import Retry

from squidmesh_worker.inprocess import Letterboxes, Readers, is_here
from squidmesh_worker.outage import Outage

log = logging.getLogger("squidmesh.worker")

#: Seconds that a connection attempt or an answer may take.
PATIENCE = 1.0
#: Seconds that one BLPOP waits: what a quiet queue costs is two commands each.
_BLOCK = 2
#: Elements in one RPUSH, and those that a list may have: whoever never reads must not fill Redis.
_CHUNK = 1_000
_LONGEST = 100_000


def connect(url: str, *, answer_within: float = PATIENCE, **options: Any) -> redis.Redis:
    """A client that connects when first used, and tries once more when a kept connection turns out to be
    dead.

    Raises ``ValueError`` for a URL that is none of Redis.
    """
    if not url.startswith("unix:"):
        options["socket_keepalive"] = True
    return redis.Redis.from_url(
        url,
        socket_connect_timeout=PATIENCE,
        socket_timeout=answer_within,
        health_check_interval=30,
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        protocol=2,
        **options,
    )


class RedisBroker(dramatiq.Broker):
    """Bells on Redis lists: at most once, in order, without delays.

    It is made for bells and refuses what it cannot do. ``url``: of the Redis server; ``name``: how log lines
    call it; ``boxes``: where the bells are that stay in this process.
    """

    def __init__(self, url: str, name: str = "redis", boxes: Letterboxes | None = None) -> None:
        super().__init__(middleware=[])
        self._here = Readers(boxes or Letterboxes())
        self.url = url
        self.client = connect(url)
        self.outage = Outage(name)
        self.stopping = threading.Event()
        self._consumers: list[_ListConsumer] = []

    def declare_queue(self, queue_name: str) -> None:
        if queue_name not in self.queues:
            if is_here(queue_name):
                self._here.open(queue_name)
            self.emit_before("declare_queue", queue_name)
            self.queues[queue_name] = None
            self.emit_after("declare_queue", queue_name)

    def enqueue(self, message: dramatiq.Message[None], *, delay: int | None = None) -> dramatiq.Message[None]:
        if delay is not None:
            raise NotImplementedError("this broker does not delay messages; due times are in the database")
        self.enqueue_many([message])
        return message

    def enqueue_many(self, messages: Sequence[dramatiq.Message[None]]) -> None:
        """Send all of them in one round trip. Raises ``redis.RedisError`` when Redis does not answer."""
        by_queue: dict[str, list[bytes]] = {}
        for message in messages:
            by_queue.setdefault(message.queue_name, []).append(message.encode())
        pushes = [
            (queue_name, letters[at : at + _CHUNK])
            for queue_name, letters in by_queue.items()
            for at in range(0, len(letters), _CHUNK)
        ]
        if len(pushes) == 1:
            lengths = [self.client.rpush(pushes[0][0], *pushes[0][1])]
        else:
            pipe = self.client.pipeline(transaction=False)
            for queue_name, letters in pushes:
                pipe.rpush(queue_name, *letters)
            lengths = pipe.execute()
        for (queue_name, _), length in zip(pushes, lengths, strict=True):
            if int(length) > _LONGEST:
                self.client.ltrim(queue_name, -_LONGEST, -1)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 1000) -> Consumer:
        if is_here(queue_name):
            return self._here.consume(queue_name, prefetch, timeout)
        consumer = _ListConsumer(self, queue_name, prefetch)
        self._consumers.append(consumer)
        return self._here.sorting(consumer)

    def flush(self, queue_name: str) -> None:
        self.client.delete(queue_name)

    def stop_consuming(self) -> None:
        """Take nothing more; whoever waits in Redis is called back."""
        self.stopping.set()
        self._here.stop()
        for consumer in self._consumers:
            consumer.wake()

    def close(self) -> None:
        self.stopping.set()
        self._here.close()
        for consumer in self._consumers:
            consumer.close()
        self.client.close()


class _ListConsumer(Consumer):
    """Reads one list on a connection of its own, never more at a time than its worker has threads for."""

    def __init__(self, broker: RedisBroker, queue_name: str, prefetch: int) -> None:
        self._broker = broker
        self._key = queue_name
        self._prefetch = prefetch
        self._taken = 0  # read and not acknowledged yet, those at hand included
        self._slots = threading.Condition()
        self._at_hand: deque[bytes] = deque()
        self._lpop_counts = True
        self._backoff = 0.0
        self._client_id: int | None = None
        self._client = connect(
            broker.url,
            answer_within=_BLOCK + 3,
            max_connections=1,
            redis_connect_func=self._connected,
        )

    def __next__(self) -> MessageProxy | None:
        if self._at_hand:
            return self._proxy(self._at_hand.popleft())
        if self._broker.stopping.is_set():
            self._pause(0.02)
            return None
        with self._slots:
            free = self._prefetch - self._taken
            if free <= 0:
                self._slots.wait(1.0)
                return None
        self._fetch(free)
        return self._proxy(self._at_hand.popleft()) if self._at_hand else None

    def _fetch(self, free: int) -> None:
        """Wait for one element, and take what else is there in the same round trip.

        Redis runs the LPOP when the BLPOP before it, on the same connection, has got its element or given up.
        """
        pipe = self._client.pipeline(transaction=False)
        pipe.blpop([self._key], _BLOCK)
        if free > 1 and self._lpop_counts:
            pipe.lpop(self._key, free - 1)
        try:
            first, *rest = pipe.execute(raise_on_error=False)
            if isinstance(first, Exception):
                raise first
        except redis.RedisError as error:
            self._broker.outage.failed(error)
            self._backoff = min(1.0, self._backoff * 2 or 0.05)
            self._pause(self._backoff)
            return
        self._broker.outage.ended()
        self._backoff = 0.0
        if first is not None:
            self._at_hand.append(first[1])
        if rest and isinstance(rest[0], redis.ResponseError):
            self._lpop_counts = False
        elif rest and rest[0]:
            self._at_hand.extend(rest[0])
        with self._slots:
            self._taken += len(self._at_hand)
        if self._broker.stopping.is_set():
            self._give_back()

    def _proxy(self, letter: bytes) -> MessageProxy | None:
        try:
            return MessageProxy(dramatiq.Message.decode(letter))
        except DecodeError:
            log.warning("queue %s had a message that is not ours; it was dropped", self._key)
            self._free_slot()
            return None

    def ack(self, message: MessageProxy) -> None:
        self._free_slot()

    def nack(self, message: MessageProxy) -> None:
        self._free_slot()

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        self._push_back([proxy._message.encode() for proxy in messages])

    def wake(self) -> None:
        """Call this consumer's connection out of BLPOP; where that is not allowed it comes out by itself."""
        if self._client_id is not None:
            try:
                self._broker.client.client_unblock(self._client_id)
            except redis.RedisError:
                log.debug("queue %s: the waiting connection could not be called back", self._key)
        self._free_slot(0)

    def close(self) -> None:
        self._give_back()
        self._client.close()

    def _give_back(self) -> None:
        letters = list(self._at_hand)
        self._at_hand.clear()
        self._free_slot(len(letters))
        self._push_back(letters)

    def _push_back(self, letters: list[bytes]) -> None:
        if not letters:
            return
        try:
            self._broker.client.lpush(self._key, *reversed(letters))
        except redis.RedisError:
            log.debug("queue %s: %d bells not handed back; the sweep will find the work", self._key, len(letters))

    def _free_slot(self, count: int = 1) -> None:
        with self._slots:
            self._taken -= count
            self._slots.notify_all()

    def _pause(self, seconds: float) -> None:
        with self._slots:
            self._slots.wait(seconds)

    def _connected(self, connection: Any) -> None:
        """Learn the connection's number, by which it can be called out of BLPOP."""
        connection.on_connect()
        connection.send_command("CLIENT", "ID")
        try:
            self._client_id = int(connection.read_response())
        except redis.ResponseError:
            self._client_id = None
