"""A database that is filled once, and copied for each test; and the command, run in this process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from squidmesh.cli import squidmesh
from tests.cli.world import fill, virtual


@pytest.fixture(autouse=True)
def _nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SQUIDMESH_DATABASE_URL", "SQUIDMESH_BROKER_URL", "SQUIDMESH_LEASE"):
        monkeypatch.delenv(name, raising=False)


@dataclass
class Place:
    """A filled database: its URL, and the ids of its runs by what they are (which are their keys, too)."""

    url: str
    ids: Mapping[str, str]
    runner: CliRunner = field(default_factory=CliRunner)

    def ask(self, *arguments: str, code: int = 0, input: str | None = None) -> Result:
        """Run a command on this database in this process, and see how it exits."""
        named = [*arguments, "--database", self.url]
        done = self.runner.invoke(squidmesh, named, input=input)
        assert done.exit_code == code, f"{arguments}: {done.exit_code}\n{done.output}\n{done.exception!r}"
        return done

    def read(self, *arguments: str, code: int = 0) -> Any:
        """What a command answers programs with."""
        return json.loads(self.ask(*arguments, "--json", code=code).stdout)


@pytest.fixture(scope="session")
def _filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    file = tmp_path_factory.mktemp("filled") / "squidmesh.db"
    with virtual(f"sqlite:///{file}") as mesh:
        ids = {name: run.run_id for name, run in fill(mesh).items()}
    return file, ids


@pytest.fixture
def place(_filled: tuple[Path, dict[str, str]], tmp_path: Path) -> Place:
    """A filled SQLite file."""
    file, ids = _filled
    copy = tmp_path / "squidmesh.db"
    for part in ("", "-wal"):
        if (there := Path(f"{file}{part}")).exists():
            shutil.copy(there, f"{copy}{part}")
    return Place(f"sqlite:///{copy}", ids)


@pytest.fixture(params=["sqlite", "postgres"])
def either(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A filled database of each kind."""
    if request.param == "sqlite":
        yield request.getfixturevalue("place")
        return
    url: str = request.getfixturevalue("emptied_postgres_url")
    with virtual(url) as mesh:
        yield Place(url, {name: run.run_id for name, run in fill(mesh).items()})


@pytest.fixture
def drain() -> Callable[[Place], None]:
    """Let a worker do all that is due."""

    def drained(place: Place) -> None:
        with virtual(place.url, ago=timedelta(seconds=-1)) as mesh:
            mesh.drain()

    return drained
