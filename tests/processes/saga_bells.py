"""The sagas, for workers whose doorbell is not to be trusted (see bells.py)."""

from tests.processes import (
    bells,  # noqa: F401 — what becomes of messages
    saga_flows,  # noqa: F401 — what the worker serves
)
