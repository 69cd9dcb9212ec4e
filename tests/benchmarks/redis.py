"""Gives databases of the Redis, and counts what is sent to it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import redis
from sqlalchemy.engine import make_url

from tests.benchmarks.machine import Servers

_turn = count()


@contextmanager
def redis_database(servers: Servers) -> Iterator[str]:
    """The URL of a Redis database that is empty."""
    url = make_url(servers.redis_url).set(database=str(next(_turn) % 15)).render_as_string(hide_password=False)
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    yield url


@contextmanager
def commands(servers: Servers) -> Iterator[Counter[str]]:
    """Count the commands that Redis gets meanwhile, by name, and as ``messages`` what was put on its lists.

    Dramatiq's own broker puts a message there by a script whose first argument says so.
    """
    counted: Counter[str] = Counter()
    with redis.Redis.from_url(servers.redis_url, socket_timeout=None) as client, client.monitor() as monitor:
        end = "ECHO end-of-benchmark"

        def listen() -> None:
            for told in monitor.listen():
                command = str(told["command"] if told is not None else "")
                if command.upper().startswith(end.upper()):
                    return
                _count(command.split(" "), counted)

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        yield counted
        client.echo("end-of-benchmark")
        listener.join(10)


def _count(parts: list[str], counted: Counter[str]) -> None:
    name = parts[0].upper()
    counted[name] += 1
    if name in {"RPUSH", "LPUSH"}:
        counted["messages"] += sum(1 for part in parts[2:] if part.startswith(("{", '"{')))
    elif name == "EVALSHA" and "enqueue" in parts[1:6]:
        counted["messages"] += 1
