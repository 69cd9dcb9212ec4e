"""For tests of workflows: a mesh whose clock moves only when told, faults, and histories that today's code replays."""

from squidmesh.testing.faults import Fault
from squidmesh.testing.invariants import InvariantBroken
from squidmesh.testing.recording import NotReplayable, Replayed, record, replay
from squidmesh.testing.redriving import Redriven
from squidmesh.testing.stub import Stub
from squidmesh.testing.virtual import DrainLimit, Stuck, VirtualClock, VirtualMesh

__all__ = [
    "DrainLimit",
    "Fault",
    "InvariantBroken",
    "NotReplayable",
    "Redriven",
    "Replayed",
    "Stub",
    "Stuck",
    "VirtualClock",
    "VirtualMesh",
    "record",
    "replay",
]
