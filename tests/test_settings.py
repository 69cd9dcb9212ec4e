"""What a mesh can be told: arguments first, then the environment, then the defaults; nonsense is refused by name."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from squidmesh.errors import ConfigurationError
from squidmesh.settings import Settings


def test_arguments_come_before_the_environment_and_that_before_the_defaults() -> None:
    environ = {"SQUIDMESH_LEASE": "7", "SQUIDMESH_SWEEP": "0.5"}
    read = Settings.read({"lease": timedelta(seconds=3), "sweep": None}, environ)
    assert (read.lease, read.sweep, read.max_lost) == (3.0, 0.5, 5)


@pytest.mark.parametrize("value", ["soon", [], float("nan"), float("inf"), 0, -1, 10**400])
def test_a_duration_that_cannot_be_is_refused_with_its_source(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"Mesh\(lease=…\)"):
        Settings.read({"lease": value}, {})
    with pytest.raises(ConfigurationError, match="SQUIDMESH_LEASE"):
        Settings.read({}, {"SQUIDMESH_LEASE": str(value)})


@pytest.mark.parametrize("name", ["max_lost", "max_payload"])
@pytest.mark.parametrize("value", ["many", 1.5, "1.5", float("nan"), -1])
def test_a_count_is_a_whole_number(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Settings.read({name: value}, {})


def test_no_attempt_need_ever_be_lost() -> None:
    assert Settings.read({"max_lost": 0}, {}).max_lost == 0
