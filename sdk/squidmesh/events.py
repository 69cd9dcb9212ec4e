"""The events of a run's history, as ``handle.history()`` gives them."""

from squidmesh.core.events import *  # noqa: F403
