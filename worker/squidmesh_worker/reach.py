"""Whether a broker answers.

The rule of this file: it asks once, waits a moment, and changes nothing.
"""

from __future__ import annotations

from contextlib import closing
from urllib.parse import urlsplit

import pika
import redis
from pika.exceptions import AMQPError

from squidmesh_worker.doorbell import doorbell_for, without_secrets
from squidmesh_worker.redis import PATIENCE, connect


def reach(url: str) -> str | None:
    """Why the broker of a URL does not answer; None if it does. Without any secret of the URL.

    Raises ``ConfigurationError`` for a URL that is none of a broker.
    """
    doorbell_for(url, name="reach").close()
    try:
        if urlsplit(url).scheme.startswith("amqp"):
            _ask_rabbitmq(url)
        else:
            with closing(connect(url, answer_within=PATIENCE)) as client:
                client.ping()
    except (redis.RedisError, AMQPError, OSError) as error:
        told = " ".join(str(error).split()) or type(error).__name__
        return f"{without_secrets(url)} does not answer: {told}"
    return None


def _ask_rabbitmq(url: str) -> None:
    parameters = pika.URLParameters(url)
    parameters.socket_timeout = parameters.stack_timeout = PATIENCE
    parameters.blocked_connection_timeout = PATIENCE
    parameters.connection_attempts = 1
    pika.BlockingConnection(parameters).close()
