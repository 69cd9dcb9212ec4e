"""RabbitMQ through Dramatiq's own broker, without what bells do not use.

The rule of this file: a server that is away is found out within seconds, and no connection is spent on
delayed messages, because due times are in the database.
"""

from __future__ import annotations

from typing import Any

import pika.exceptions
from dramatiq.broker import Consumer
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from squidmesh_worker.inprocess import Letterboxes, Readers, is_here

#: Seconds for each part of a connection attempt, and until a blocked connection counts as lost.
_PATIENCE = 2.0


class BellRabbitmqBroker(RabbitmqBroker):
    """Dramatiq's RabbitMQ broker with no middleware, no consumers of delay queues, and bounded waiting.

    ``boxes``: where the bells are that stay in this process. Raises ``ValueError`` for a URL that is none of
    RabbitMQ.
    """

    def __init__(self, url: str, boxes: Letterboxes | None = None) -> None:
        super().__init__(url=url, middleware=[])
        self._here = Readers(boxes or Letterboxes())
        servers: Any = self.parameters  # one, or a list when the URL names several, separated by ";"
        for server in servers if isinstance(servers, list) else [servers]:
            server.connection_attempts = 1
            server.socket_timeout = _PATIENCE
            server.stack_timeout = 2 * _PATIENCE
            server.blocked_connection_timeout = 5 * _PATIENCE

    def get_declared_delay_queues(self) -> set[str]:
        return set()

    def emit_after(self, signal: str, *args: Any, **kwargs: Any) -> None:
        # A Dramatiq worker that does not hear of a delay queue opens no connection for it.
        if signal != "declare_delay_queue":
            super().emit_after(signal, *args, **kwargs)

    def declare_queue(self, queue_name: str, *, ensure: bool = False) -> None:
        if is_here(queue_name):
            self._here.open(queue_name)
        super().declare_queue(queue_name, ensure=ensure)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        if is_here(queue_name):
            return self._here.consume(queue_name, prefetch, timeout)
        return self._here.sorting(super().consume(queue_name, prefetch, timeout))

    def stop_consuming(self) -> None:
        """Take nothing more of this process; RabbitMQ's consumers leave within their idle timeout."""
        self._here.stop()

    def close(self) -> None:
        self._here.close()
        super().close()


def keep_alive(broker: RabbitmqBroker) -> None:
    """Answer the server's heartbeats on this thread's connection, if it has one.

    A connection that only publishes is closed by the server when nobody does.
    """
    connection = getattr(broker.state, "connection", None)
    if connection is None:
        return
    try:
        connection.process_data_events(time_limit=0)
    except pika.exceptions.AMQPError:
        del broker.connection
