"""A stage on each kind of installation: embedded (a SQLite file), and PostgreSQL with Redis."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes.stage import Stage


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes longer than the rest together; run with `-m slow`")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "slow" in str(config.getoption("markexpr")):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


@pytest.fixture(params=["sqlite", "postgres"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """A stage on a SQLite file, and one on PostgreSQL and Redis."""
    database = request.getfixturevalue(f"{request.param}_url")
    broker = request.getfixturevalue("redis_url") if request.param == "postgres" else None
    yield from _play(tmp_path, database, broker)


@pytest.fixture
def many_machines(tmp_path: Path, postgres_url: str, redis_url: str) -> Iterator[Stage]:
    """A stage on PostgreSQL and Redis."""
    yield from _play(tmp_path, postgres_url, redis_url)


def _play(folder: Path, database: str, broker: str | None) -> Iterator[Stage]:
    playing = Stage(folder, database, broker)
    try:
        yield playing
    finally:
        playing.close()
