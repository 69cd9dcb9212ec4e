"""The servers that the benchmarks start for themselves, and the machine they all share."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.servers import Postgres, Redis

#: A commit waits for the disk (`fsync`, `synchronous_commit`), as in production. The rest keeps what would
#: happen at some moment of a long run (a checkpoint, a vacuum) out of a short one, and lets statements be logged.
SETTINGS = {
    "shared_buffers": "512MB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    "logging_collector": "on",
    "log_destination": "jsonlog",
    "log_rotation_size": "0",
    "log_parameter_max_length": "0",
    "log_checkpoints": "off",
}


@dataclass(frozen=True, slots=True)
class Servers:
    """A PostgreSQL and a Redis, as URLs; ``postgres_pid`` is the parent of all its processes."""

    postgres_url: str
    postgres_pid: int
    redis_url: str


@contextmanager
def own_servers() -> Iterator[Servers]:
    """Start both; they and their data go at the end."""
    with Postgres(fsync=True, settings=SETTINGS) as postgres, Redis() as redis:
        yield Servers(postgres.url, postgres.pid, redis.url)


def describe(servers: Servers) -> dict[str, str]:
    """What the numbers depend on."""
    with psycopg.connect(servers.postgres_url) as connection:
        (version,) = connection.execute("SHOW server_version").fetchone() or ("?",)
    return {
        "cpu": f"{os.cpu_count()} × {_cpu()}",
        "system": platform.platform(),
        "python": platform.python_version(),
        "postgresql": str(version),
        "load": "/".join(f"{load:.1f}" for load in os.getloadavg()),
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
