"""Each command of a person at each state of a run: one event, or nothing, or refused and nothing put down.

The table says which. Whatever is refused names what is possible instead, and every name of it is tried.
"""

from __future__ import annotations

from typing import Any

import pytest

from squidmesh import Handle, IllegalState, KeyConflict, MeshError, NothingOpen, NothingToUndo, PastPivot
from squidmesh.core.events import Event
from squidmesh.testing import VirtualMesh
from tests.engine.every_state import COMMANDS, STATES, WHO, brought, probes

GATES = ("approve", "reject", "resume")
ANY = "signal terminate"
LIVE = f"{ANY} hold cancel cancel(force=True) fail"

DOES: dict[str, str] = {
    "pending": LIVE,
    "start_delayed": LIVE,
    "running": LIVE,
    "waiting": LIVE,
    "retrying": LIVE,
    "approval": f"{LIVE} approve reject",
    "pause": f"{LIVE} resume",
    "held": f"{ANY} release cancel cancel(force=True) fail",
    "code_error": f"{LIVE} release",
    "in_doubt": f"{LIVE} resolve_step",
    "past_pivot": f"{ANY} hold cancel(force=True) fail retry_step skip_step",
    "undo_failed": f"{ANY} undo_retry undo_skip undo_mark_done undo_abandon",
    "undo_halted": f"{ANY} undo_skip undo_mark_done undo_abandon",
    "undoing": f"{ANY} undo_mark_done",
    "completed": "rollback",
    "failed": "",
    "cancelled": "rollback",
    "undone": "",
    "terminated": "rollback",
}
"""What puts an event down, by the state that it meets."""

CHANGES_NOTHING: dict[str, str] = {
    "held": "hold",
    "undo_failed": "cancel cancel(force=True) rollback",
    "undo_halted": "cancel cancel(force=True) rollback",
    "undoing": "cancel cancel(force=True) rollback",
}
"""What is there already: it gives what stands, and records nothing."""

REFUSED: dict[tuple[str, str], type[MeshError]] = {
    ("past_pivot", "cancel"): PastPivot,
    ("failed", "rollback"): NothingToUndo,
    ("undone", "rollback"): NothingToUndo,
}
"""How, where it is neither ``NothingOpen`` (of gates) nor ``IllegalState``."""


def facts(handle: Handle[Any]) -> list[Event]:
    """All that is on record of a run, and all that waits to be."""
    return [*handle.history(), *handle._arrived()]


def tried(handle: Handle[Any], state: str, name: str) -> None:
    """One command, at one state."""
    does, before = COMMANDS[name], facts(handle)
    if name in DOES[state].split():
        given = does(handle, "k-1")
        added = facts(handle)[len(before) :]
        assert len(added) == 1, added
        assert added[0].key == "k-1"  # type: ignore[attr-defined]
        if name != "signal":
            assert (added[0].actor, added[0].note) == (WHO["actor"], WHO["note"])  # type: ignore[attr-defined]
        assert type(does(handle, "k-1")) is type(given)
        with pytest.raises(KeyConflict):
            handle.hold(**WHO, key="k-1") if name != "hold" else handle.cancel(key="k-1")
        assert facts(handle) == [*before, *added]
        return
    if name in CHANGES_NOTHING.get(state, "").split():
        does(handle, "k-1")
    else:
        expected = REFUSED.get((state, name), NothingOpen if name in GATES else IllegalState)
        with pytest.raises(expected) as refused:
            does(handle, "k-1")
        assert type(refused.value) is expected
        assert handle.run_id in str(refused.value)
        if isinstance(refused.value, IllegalState) and expected is IllegalState:
            possible = set(refused.value.allowed) - {"rerun"}
            assert possible == set(DOES[state].split()) - {"signal"} - _said_otherwise(state)
    assert facts(handle) == before


def _said_otherwise(state: str) -> set[str]:
    """``cancel`` is named as it would work."""
    return {"cancel(force=True)"} if state != "past_pivot" else set()


@pytest.mark.parametrize("state", [one for one in STATES if one != "running"])
def test_each_command_at(state: str, mesh: VirtualMesh) -> None:
    probes.clear()
    handles = {name: brought(mesh, state) for name in COMMANDS}
    for name, handle in handles.items():
        tried(handle, state, name)
    mesh.drain()
    for handle in handles.values():
        mesh.check(handle)


def test_each_command_at_a_run_with_a_step_in_flight(mesh: VirtualMesh) -> None:
    heard: list[str] = []
    for name in COMMANDS:

        def probe(handle: Handle[Any], name: str = name) -> None:
            assert handle.status() == "running"
            tried(handle, "running", name)
            heard.append(name)

        probes[:] = [probe]
        handle = brought(mesh, "running")
        mesh.drain()
        mesh.check(handle)
    assert heard == list(COMMANDS)


def test_only_a_run_that_has_ended_is_run_again(mesh: VirtualMesh) -> None:
    probes.clear()
    handles = {state: brought(mesh, state) for state in STATES if state not in ("pending", "running")}
    handles["pending"] = brought(mesh, "pending")
    for state, handle in handles.items():
        before = facts(handle)
        for position in (None, "1"):
            if handle.inspect().ended_at is not None:
                again = handle.rerun(from_position=position, **WHO, key=f"{state} {position}")
                assert handle.rerun(from_position=position, key=f"{state} {position}").run_id == again.run_id
                assert len(again.history()) == 1
            else:
                with pytest.raises(IllegalState, match="rerun is not possible; allowed now"):
                    handle.rerun(from_position=position)
        assert facts(handle) == before


def test_who_decides_is_said() -> None:
    with VirtualMesh() as mesh:
        handle = brought(mesh, "waiting")
        before = facts(handle)
        for name in (name for name in COMMANDS if name not in ("signal", "cancel", "cancel(force=True)")):
            for nobody in ({"actor": "", "note": "why"}, {"actor": " ", "note": "why"}, {"actor": None, "note": "why"}):
                with pytest.raises(ValueError, match="actor= says who decides this"):
                    _said(handle, name, nobody)
        assert facts(handle) == before


def _said(handle: Handle[Any], name: str, who: dict[str, Any]) -> None:
    method = getattr(handle, name)
    first: dict[str, tuple[Any, ...]] = {
        "resolve_step": ("every.unsure", None), "retry_step": ("every.fails",), "skip_step": ("every.fails", 1),
        "undo_retry": ("every.book",), "undo_skip": ("every.book",), "undo_mark_done": ("every.book",),
    }  # fmt: skip
    method(*first.get(name, ()), **who)
