"""A folder with a module of workflows that tests start processes in."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

SHOP = '''
"""Workflows for tests; a step says where it is by files in its folder."""

import os
import time
from pathlib import Path

from squidmesh import Flow, step, workflow

HERE = Path(__file__).parent


@step
def add(a: int, b: int) -> int:
    return a + b


@step
def wait_for_file(name: str) -> int:
    with (HERE / f"{name}.begun").open("a") as begun:
        begun.write(f"{os.getpid()}\\n")
    while not (HERE / name).exists():
        time.sleep(0.01)
    return os.getpid()


@workflow
def total(a: int, b: int) -> Flow[int]:
    once = yield from add(a, b)
    return (yield from add(once, once))


@workflow
def waiting(name: str) -> Flow[int]:
    return (yield from wait_for_file(name))
'''


@pytest.fixture
def shop_folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


@pytest.fixture
def shop(shop_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module of ``shop_folder``, imported here too; other definitions of its names are forgotten."""
    from squidmesh.core.registry import REGISTRY

    steps, workflows = dict(REGISTRY.steps), dict(REGISTRY.workflows)
    REGISTRY.steps.clear()
    REGISTRY.workflows.clear()
    monkeypatch.syspath_prepend(shop_folder)
    sys.modules.pop("shop", None)
    yield importlib.import_module("shop")
    sys.modules.pop("shop", None)
    REGISTRY.steps.clear()
    REGISTRY.workflows.clear()
    REGISTRY.steps.update(steps)
    REGISTRY.workflows.update(workflows)
