"""A thief at the doorbell: for a while he takes messages off the lists before workers do, and drops, doubles or
shuffles them.

The rule of this file: he knows Redis lists and nothing of what is in them; when his time is over he takes nothing more.
"""

import threading
import time
from contextlib import suppress
from random import Random
from typing import Any

import redis

QUEUES = ("squidmesh.default", "squidmesh.chaos-far")
HOLDS = 12
"""Messages that he holds until he gives them back in another order."""


def steal(lists: redis.Redis, how: str, seconds: float, seed: float) -> None:
    """Begin to ``drop`` (most of them), ``double`` or ``reorder``, on a thread of its own. Closes the client."""
    threading.Thread(target=_steal, args=(lists, how, seconds, Random(seed)), daemon=True).start()


def _steal(lists: redis.Redis, how: str, seconds: float, chance: Random) -> None:
    until = time.monotonic() + seconds
    held: list[tuple[bytes, bytes]] = []
    while time.monotonic() < until:
        with suppress(redis.RedisError):
            found: Any = lists.blpop(list(QUEUES), 1)
            if found is None:
                continue
            queue, bell = found
            match how:
                case "double":
                    lists.rpush(queue, bell, bell)
                    time.sleep(0.005)  # they are for others
                case "reorder":
                    held.append((queue, bell))
                    if len(held) >= HOLDS:
                        _give_back(lists, held, chance)
                case _ if chance.random() < 0.2:
                    lists.rpush(queue, bell)
                    time.sleep(0.005)
                case _:
                    pass
    with suppress(redis.RedisError):
        _give_back(lists, held, chance)
    lists.close()


def _give_back(lists: redis.Redis, held: list[tuple[bytes, bytes]], chance: Random) -> None:
    chance.shuffle(held)
    for queue, bell in held:
        lists.rpush(queue, bell)
    held.clear()
    time.sleep(0.02)
