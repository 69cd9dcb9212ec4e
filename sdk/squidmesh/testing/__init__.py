"""For tests of workflows: a mesh whose clock moves only when told."""

from squidmesh.testing.invariants import InvariantBroken
from squidmesh.testing.stub import Stub
from squidmesh.testing.virtual import DrainLimit, Stuck, VirtualClock, VirtualMesh

__all__ = ["DrainLimit", "InvariantBroken", "Stub", "Stuck", "VirtualClock", "VirtualMesh"]
