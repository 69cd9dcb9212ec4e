"""A storm of 20 seconds, with whatever it brings, violates nothing; and a seed gives the same faults again."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.adversary import DOINGS, PER_SECOND, WEIGHTS, schedule

ROOT = Path(__file__).parents[2]


def test_a_seed_gives_the_same_faults_again_and_another_one_others() -> None:
    assert schedule(7, 60) == schedule(7, 60)
    assert schedule(7, 60) != schedule(8, 60)
    assert schedule(7, 120)[:20] == schedule(7, 60)[:20]


def test_every_fault_that_is_drawn_can_be_done_and_an_hour_has_more_than_2000() -> None:
    assert set(WEIGHTS) == set(DOINGS)
    assert PER_SECOND * 3600 > 2_000
    assert {fault.kind for fault in schedule(1, 3600)} == set(WEIGHTS)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_nothing_is_violated_in_a_storm_of_20_seconds(tmp_path: Path) -> None:
    """In a process of its own: the workload belongs to no other test's registry."""
    command = [sys.executable, "-m", "tests.chaos", "--seconds", "20", "--seed", "5", "--keep", str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=380)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
