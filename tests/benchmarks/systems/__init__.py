"""The systems that are compared, one a file."""

from tests.benchmarks.systems import dbos, dramatiq, squidmesh
from tests.benchmarks.systems.system import System

SYSTEMS: tuple[System, ...] = (*squidmesh.SYSTEMS, *dbos.SYSTEMS, *dramatiq.SYSTEMS)

__all__ = ["SYSTEMS", "System"]
