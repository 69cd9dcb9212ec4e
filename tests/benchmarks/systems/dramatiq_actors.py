"""The actors of the Dramatiq pipeline; its worker processes and its client import this."""

from __future__ import annotations

import os
from functools import cache

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import GroupCallbacks
from dramatiq.rate_limits.backends import RedisBackend

FINISHED = "finished"
URL = os.environ.get("BENCHMARK_DRAMATIQ_URL", "redis://127.0.0.1:6379/0")


def _broker(url: str) -> RedisBroker:
    broker: RedisBroker = RedisBroker(url=url)  # type: ignore[no-untyped-call]
    broker.add_middleware(GroupCallbacks(RedisBackend(url=url)))
    return broker


dramatiq.set_broker(_broker(URL))


@cache
def _client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url)


@dramatiq.actor(max_retries=0)
def noop(payload: str) -> str:
    return payload


@dramatiq.actor(max_retries=0)
def finish(payload: str) -> None:
    _client(URL).incr(FINISHED)


def use(url: str) -> RedisBroker:
    """Let the client of this process send to another database."""
    broker = _broker(url)
    for actor in (noop, finish):
        broker.declare_actor(actor)
        actor.broker = broker
    dramatiq.set_broker(broker)
    return broker
