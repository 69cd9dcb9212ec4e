"""What a mesh is made and asked with, as people get it wrong; nothing is connected for that."""

from __future__ import annotations

from typing import Any

import pytest

from squidmesh import DefinitionError, Flow, Mesh, sleep, workflow
from squidmesh.errors import ConfigurationError


@workflow(name="mesh.naps")
def naps() -> Flow[None]:
    yield from sleep(1)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"database": 5}, "database= takes a URL or a SQLAlchemy Engine, not 5"),
        ({"broker": 5}, "broker= takes a URL or a Dramatiq broker, not 5"),
        ({"lease": float("nan")}, "lease"),
    ],
)
def test_a_setting_of_the_wrong_kind_is_refused_by_name(settings: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        Mesh(**settings)


def test_one_workflow_alone_is_told_to_be_put_in_a_list() -> None:
    with pytest.raises(DefinitionError, match=r"takes a list of modules and workflows, .*: write \[naps\]"):
        Mesh(workflows=naps)  # type: ignore[arg-type]


@pytest.mark.parametrize("queues", [[], "default", ()])
def test_a_worker_serves_a_list_of_queues(queues: Any) -> None:
    with (
        Mesh("sqlite://") as mesh,
        pytest.raises(ConfigurationError, match=r"worker\(queues=…\) takes a list of names"),
        mesh.worker(queues=queues),
    ):
        raise AssertionError("it must not serve")


@pytest.mark.parametrize("given", [naps, 5, "naps"])
def test_what_is_no_call_is_refused_with_what_to_write(given: Any) -> None:
    with Mesh("sqlite://") as mesh, pytest.raises(DefinitionError, match=r"write (mesh\.naps|checkout)\("):
        mesh.start(given)
