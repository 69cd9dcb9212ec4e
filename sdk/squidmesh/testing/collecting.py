"""The pytest plugin: recorded histories as tests, and every test's decisions taken again.

The rule of this file: nobody but the plugin's switches imports it: pytest is needed by those who test, and nobody else.
"""

from __future__ import annotations

import importlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from squidmesh.errors import DefinitionError, NonDeterminism
from squidmesh.testing import redriving
from squidmesh.testing.recording import NotReplayable, Recording, replay
from squidmesh.views.checking import source_line


class Histories:
    """Collects the files of the folders that ``squidmesh_histories`` names."""

    def __init__(self, config: pytest.Config) -> None:
        self._folders: list[Path] = [Path(folder) for folder in config.getini("squidmesh_histories")]

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        inside = any(folder in file_path.parents for folder in self._folders)
        return HistoryFile.from_parent(parent, path=file_path) if inside and file_path.suffix == ".json" else None


class HistoryFile(pytest.File):
    def collect(self) -> Iterator[pytest.Item]:
        yield HistoryItem.from_parent(self, name="replay")


class HistoryItem(pytest.Item):
    """One recorded history: today's code must agree with it."""

    def runtest(self) -> None:
        modules = [importlib.import_module(name) for name in self.config.getini("squidmesh_workflows")]
        replay(self.path.read_text(encoding="utf-8"), *modules)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        match excinfo.value:
            case NonDeterminism() as parts:
                return f"{self._told()} and today's code part:\n{parted(parts)}"
            case NotReplayable() | DefinitionError() as error:
                return f"{self.path.name}: {error}"
            case _:
                return super().repr_failure(excinfo)

    def _told(self) -> str:
        recorded = Recording.read(self.path.read_text(encoding="utf-8"))
        return (
            f"{self.path.name}: the history of run {recorded.run_id} of {recorded.workflow!r} "
            f"version {recorded.version}"
        )

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"replay of {self.path.name}"


def parted(parts: NonDeterminism) -> str:
    """Both lines, for people."""
    lines = [
        f"  at position {parts.position}",
        f"  history has  {parts.expected}",
        f"  code now     {parts.got}",
        f"  {parts.file}:{parts.line}",
    ]
    if (source := source_line(parts.file, parts.line)) is not None:
        lines.append(f"    {source}")
    lines.append("  runs that are open would block there: keep the old branch behind patched(), or raise the version")
    return "\n".join(lines)


class Redriving:
    """``--squidmesh-redrive``."""

    def __init__(self) -> None:
        redriving.on()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Generator[None, Any, Any]:
        try:
            result = yield
        except BaseException:
            redriving.forget_all()
            raise
        redriving.check_all()
        return result

    def pytest_unconfigure(self) -> None:
        redriving.off()
