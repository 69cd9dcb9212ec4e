"""The RabbitMQ that tests may use, if there is one: nothing small brings it along."""

import os
from functools import cache

import pika
import pika.exceptions

LOCAL = "amqp://guest:guest@127.0.0.1:5672/%2F"


@cache
def rabbitmq_url() -> str | None:
    """`SQUIDMESH_TEST_RABBITMQ_URL`; else the local default, if it answers; else None.

    One that was named but does not answer is not passed over: the tests that use it fail.
    """
    if named := os.environ.get("SQUIDMESH_TEST_RABBITMQ_URL"):
        return named
    parameters = pika.URLParameters(LOCAL)
    parameters.socket_timeout = parameters.blocked_connection_timeout = 2
    try:
        pika.BlockingConnection(parameters).close()
    except (pika.exceptions.AMQPError, OSError):
        return None
    return LOCAL
