"""What a mesh can be told: arguments first, then the environment, then the defaults; nonsense is refused by name."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from squidmesh.core.status import ENDED
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


def test_retention_is_one_duration_for_all_or_one_for_each_status() -> None:
    everything = Settings.read({"retention": timedelta(days=1)}, {}).retention
    assert set(everything) == set(ENDED)
    assert set(everything.values()) == {86_400.0}
    assert Settings.read({"retention": {"failed": 5}}, {"SQUIDMESH_RETENTION": "7"}).retention == {"failed": 5.0}
    assert Settings.read({}, {"SQUIDMESH_RETENTION": "7"}).retention == dict.fromkeys(ENDED, 7.0)
    environ = {"SQUIDMESH_RETENTION": "completed=7, failed=8.5"}
    assert Settings.read({}, environ).retention == {"completed": 7.0, "failed": 8.5}
    assert Settings.read({}, {}).retention == {}


@pytest.mark.parametrize("value", ["soon", 0, -1, {"running": 5}, {"completed": "x"}, {"completed": 0}])
def test_a_retention_that_cannot_be_is_refused_with_its_source(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"Mesh\(retention=…\)"):
        Settings.read({"retention": value}, {})
    told = ",".join(f"{status}={age}" for status, age in value.items()) if isinstance(value, dict) else str(value)
    with pytest.raises(ConfigurationError, match="SQUIDMESH_RETENTION"):
        Settings.read({}, {"SQUIDMESH_RETENTION": told})
