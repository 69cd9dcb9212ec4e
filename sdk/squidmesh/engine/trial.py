"""Making a call, on this thread or on the event loop: its body, within its limits; then what it leads to, as events.

    what is called (called.py) ─▶ run in its context, within its limits (running.py) ─▶ events (outcomes.py)

What is committed together with its outcome is run by transacting.py instead.
The rule of this file: whatever the body does, what comes out is events. A body that does not come back in time is let
be: its thread goes on, what it returns is ignored, and its attempt has failed.
"""

from __future__ import annotations

from squidmesh.core.events import Event
from squidmesh.engine import outcomes
from squidmesh.engine.called import called
from squidmesh.engine.calling import CallKind, Trial, gone
from squidmesh.engine.engine import Engine
from squidmesh.engine.running import Running

__all__ = ["CallKind", "Trial", "gone", "run", "run_beside"]


def run(engine: Engine, trial: Trial) -> list[Event]:
    """Make the call on this thread (its body may run on another) until it has an outcome; the events that tell it."""
    trial.begun = engine.clock.now()
    running = Running(engine, trial)
    try:
        value = running.run(called(trial))
    except BaseException as error:  # noqa: BLE001 - whatever a body raises is its attempt's failure
        return outcomes.raised(engine, trial, error, running.wanted)
    finally:
        running.end()
    return outcomes.returned(engine, trial, value)


async def run_beside(engine: Engine, trial: Trial) -> list[Event]:
    """The same for an async body, awaited on the event loop of this process together with others."""
    trial.begun = engine.clock.now()
    running = Running(engine, trial)
    try:
        value = await running.awaited(called(trial))
    except BaseException as error:  # noqa: BLE001 - whatever a body raises is its attempt's failure
        return outcomes.raised(engine, trial, error, running.wanted)
    finally:
        running.end()
    return outcomes.returned(engine, trial, value)
