"""One name and version is one function: reloads replace, others are refused, versions stand side by side."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from squidmesh.core.registry import REGISTRY, select
from squidmesh.core.step import step
from squidmesh.core.workflow import Flow, workflow
from squidmesh.errors import DefinitionError
from tests.core.shop import charge

MODULE = """
from squidmesh.core.step import step
from squidmesh.core.workflow import Flow, workflow

@step
def pack(n: int) -> int:
    return n + {added}

@workflow{settings}
def send(n: int) -> Flow[int]:
    return (yield from pack(n))
"""


class Modules:
    """Modules written to a folder and imported from there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: list[str] = []

    def load(self, name: str, added: int = 1, settings: str = "") -> ModuleType:
        file = self.folder / f"{name}.py"
        file.write_text(MODULE.format(added=added, settings=settings), encoding="utf-8")
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        self.names.append(name)
        exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), vars(module))  # noqa: S102 - no stale bytecode
        return module


@pytest.fixture
def modules(tmp_path: Path) -> Iterator[Modules]:
    made = Modules(tmp_path)
    yield made
    for name in made.names:
        sys.modules.pop(name, None)


def test_a_module_that_is_loaded_again_replaces_its_definitions(modules: Modules) -> None:
    modules.load("shipping", added=1)
    again = modules.load("shipping", added=2)
    assert REGISTRY.steps["pack"] is again.pack
    assert REGISTRY.steps["pack"].fn(1) == 3
    assert REGISTRY.workflows["send", 1] is again.send


def test_two_definitions_of_one_name_are_refused_and_both_places_named(modules: Modules) -> None:
    modules.load("shipping")
    with pytest.raises(DefinitionError, match="two steps are called 'pack'") as raised:
        modules.load("copied")
    told = str(raised.value)
    assert f"{modules.folder / 'shipping.py'}:5" in told
    assert f"{modules.folder / 'copied.py'}:5" in told
    assert "@step(name=…)" in told


def test_the_first_definition_stands_when_the_second_is_refused(modules: Modules) -> None:
    first = modules.load("shipping")
    with pytest.raises(DefinitionError):
        modules.load("copied")
    assert REGISTRY.steps["pack"] is first.pack


def test_two_workflows_of_one_name_and_version_are_refused() -> None:
    @workflow(name="twice")
    def one() -> Flow[None]:
        yield from charge(1)

    with pytest.raises(DefinitionError, match="two workflows are called 'twice version 1'") as raised:

        @workflow(name="twice")
        def other() -> Flow[None]:
            yield from charge(1)

    told = str(raised.value)
    assert f"{__file__}:{one.fn.__code__.co_firstlineno}" in told
    assert "<locals>.one" in told
    assert "<locals>.other" in told


def test_versions_stand_side_by_side_and_the_highest_is_the_newest() -> None:
    made: dict[int, Any] = {}
    for version in (2, 10, 1):

        def body() -> Flow[None]:
            yield from charge(1)

        body.__qualname__ = f"body_{version}"
        made[version] = workflow(name="versioned", version=version)(body)
    assert REGISTRY.workflows["versioned", 2] is made[2]
    assert REGISTRY.newest("versioned") is made[10]
    assert REGISTRY.newest("unknown") is None


def test_a_mesh_uses_all_that_is_imported_now_or_later() -> None:
    chosen = select(None)

    @step(name="came-later")
    def came_later() -> None: ...

    assert chosen.steps["came-later"] is came_later
    assert chosen.workflows is REGISTRY.workflows


def test_a_mesh_may_be_restricted_to_modules_and_definitions(modules: Modules) -> None:
    module = modules.load("shipping")

    @workflow(name="besides")
    def besides() -> Flow[None]:
        yield from charge(1)

    sends, others = {("send", 1), ("send:deferred", 1)}, {("besides", 1), ("besides:deferred", 1)}
    assert set(select([module]).workflows) == sends  # with the companion in which its deferred calls wait
    assert set(select([besides]).workflows) == others
    assert set(select([module, besides]).workflows) == sends | others
    assert select([]).workflows == {}


@pytest.mark.parametrize("given", ["shipping", 3, charge])
def test_a_mesh_cannot_be_restricted_to_anything_else(given: Any) -> None:
    with pytest.raises(DefinitionError, match="takes modules and workflows"):
        select([given])


def test_a_module_without_workflows_is_refused() -> None:
    with pytest.raises(DefinitionError, match="has no @workflow"):
        select([ModuleType("empty")])
