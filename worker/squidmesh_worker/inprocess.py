"""Bells that never leave this process: those of the embedded default, and those that say that something is due.

The rule of this file: letters exist only while somebody in this process serves their queue. A process that
only starts runs must not pile them up: the workers, wherever they are, find the work at their next sweep.
And letters that all say the same (that this queue has due work) are no more than there are threads to read
them: so a bell for some run never stands in line behind them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence

import dramatiq
from dramatiq.broker import Consumer, MessageProxy

from squidmesh.ports import Bell, BellKind
from squidmesh_worker.actors import is_named, message, queue_on_broker

#: More letters than this on one queue are not kept; the sweep knows what they would have said.
_MOST = 100_000

_HERE = "here."


def queue_here(queue: str) -> str:
    """What a worker calls the queue of bells that stay in its process."""
    return _HERE + queue_on_broker(queue)


def is_here(broker_queue: str) -> bool:
    return broker_queue.startswith(_HERE)


class Letterbox:
    """One queue: what was put down, and how many brokers read it."""

    def __init__(self) -> None:
        self.filled = threading.Condition()
        self.letters: deque[dramatiq.Message[None]] = deque(maxlen=_MOST)
        self.readers = 0
        self.threads = 1  # of all readers; until they are there, of one


class Letterboxes:
    """All queues of one mesh in this process."""

    def __init__(self) -> None:
        self._boxes: dict[str, Letterbox] = {}
        self._lock = threading.Lock()

    def open(self, queue: str) -> Letterbox:
        """From now on this queue is read by one more broker."""
        with self._lock:
            box = self._boxes.setdefault(queue, Letterbox())
            box.readers += 1
            return box

    def close(self, queue: str) -> None:
        """One reader less; with the last one the letters go."""
        with self._lock:
            box = self._boxes[queue]
            box.readers -= 1
            if not box.readers:
                del self._boxes[queue]

    def put(self, letter: dramatiq.Message[None]) -> bool:
        """Hand a letter to whoever reads its queue; False, and it is dropped, when nobody does."""
        box = self._boxes.get(letter.queue_name)
        if box is None:
            return False
        with box.filled:
            box.letters.append(letter)
            box.filled.notify_all()
        return True

    def keep(self, bells: Sequence[Bell]) -> list[Bell]:
        """Keep those that say "this queue has due work" where a worker of this process serves it.

        That needs no broker, so a worker goes on with what its sweep finds while the broker is away. Returns
        the others.
        """
        return [bell for bell in bells if bell.kind is not BellKind.DRAIN or not self.keep_letter(message(bell))]

    def keep_letter(self, letter: dramatiq.Message[None]) -> bool:
        """Keep one of those, unless as many as there are threads wait; False when nobody serves its queue."""
        box = self._boxes.get(here := _HERE + letter.queue_name)
        if box is None:
            return False
        with box.filled:
            if len(box.letters) < box.threads:
                box.letters.append(letter.copy(queue_name=here))
                box.filled.notify_all()
        return True


class Readers:
    """The letterboxes that one broker reads."""

    def __init__(self, boxes: Letterboxes) -> None:
        self.stopping = threading.Event()
        self._boxes = boxes
        self._open: dict[str, Letterbox] = {}

    def open(self, queue: str) -> bool:
        """Read this queue too; False when it is read already."""
        if queue in self._open:
            return False
        self._open[queue] = self._boxes.open(queue)
        return True

    def consume(self, queue: str, prefetch: int, timeout: int) -> Consumer:
        return LetterConsumer(self._open[queue], self.stopping, prefetch, timeout)

    def sorting(self, consumer: Consumer) -> Consumer:
        """The same consumer, less the letters that can stay here."""
        return SortingConsumer(consumer, self)

    def keep(self, letter: dramatiq.Message[None]) -> bool:
        """Have a letter of the broker's read here, if it is for nobody by name and this process serves its queue."""
        return not self.stopping.is_set() and not is_named(letter) and self._boxes.keep_letter(letter)

    def stop(self) -> None:
        """Take nothing more; whoever waits for a letter stops waiting."""
        self.stopping.set()
        for box in self._open.values():
            with box.filled:
                box.filled.notify_all()

    def close(self) -> None:
        self.stop()
        while self._open:
            self._boxes.close(self._open.popitem()[0])


class InProcessBroker(dramatiq.Broker):
    """The reading side of the embedded default, for one Dramatiq worker."""

    def __init__(self, boxes: Letterboxes) -> None:
        super().__init__(middleware=[])
        self._boxes = boxes
        self._readers = Readers(boxes)

    def declare_queue(self, queue_name: str) -> None:
        if self._readers.open(queue_name):
            self.emit_before("declare_queue", queue_name)
            self.queues[queue_name] = None
            self.emit_after("declare_queue", queue_name)

    def enqueue(self, message: dramatiq.Message[None], *, delay: int | None = None) -> dramatiq.Message[None]:
        self._boxes.put(message)
        return message

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 1000) -> Consumer:
        return self._readers.consume(queue_name, prefetch, timeout)

    def stop_consuming(self) -> None:
        self._readers.stop()

    def close(self) -> None:
        self._readers.close()


class LetterConsumer(Consumer):
    """Reads one letterbox, never more at a time than its worker has threads for."""

    def __init__(self, box: Letterbox, stopping: threading.Event, prefetch: int, timeout: int) -> None:
        self._box = box
        self._stopping = stopping
        self._free = prefetch
        self._timeout = timeout / 1000
        with box.filled:
            box.threads = max(box.threads, prefetch)

    def __next__(self) -> MessageProxy | None:
        box = self._box
        with box.filled:
            if self._stopping.is_set():
                box.filled.wait(0.02)
                return None
            if not (box.letters and self._free):
                box.filled.wait(self._timeout)
            if self._stopping.is_set() or not (box.letters and self._free):
                return None
            self._free -= 1
            return MessageProxy(box.letters.popleft())

    def ack(self, message: MessageProxy) -> None:
        with self._box.filled:
            self._free += 1
            self._box.filled.notify_all()

    def nack(self, message: MessageProxy) -> None:
        self.ack(message)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Put back what was taken and not begun: another reader of this queue may be there."""
        with self._box.filled:
            self._box.letters.extendleft(reversed([proxy._message for proxy in messages]))
            self._box.filled.notify_all()


class SortingConsumer(Consumer):
    """Reads what a broker delivers, and puts down here what only says that work is due.

    Otherwise such letters, which are rung by the dozen, would be all that a worker has taken and not served.
    """

    def __init__(self, consumer: Consumer, readers: Readers) -> None:
        self._consumer = consumer
        self._readers = readers

    def __next__(self) -> MessageProxy | None:
        proxy = next(self._consumer)
        if proxy is None or not self._readers.keep(proxy._message):
            return proxy
        self._consumer.ack(proxy)
        return None

    def ack(self, message: MessageProxy) -> None:
        self._consumer.ack(message)

    def nack(self, message: MessageProxy) -> None:
        self._consumer.nack(message)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        self._consumer.requeue(messages)

    def close(self) -> None:
        self._consumer.close()
