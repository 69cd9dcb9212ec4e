"""Which run is meant by what somebody typed.

Ids begin with the time at which a run was made, so those of one morning are alike at their beginning, and differ at
their end: both ends will do, if no other run has that.

The rule of this file: never guess. What two runs could be is refused, with both; what none is, with what is near.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from squidmesh.cli.refusal import not_found

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from squidmesh.handle import Handle
    from squidmesh.mesh import Mesh

LEAST = 4
"""Characters that name a run."""
NEWEST = 20_000
"""Runs among which an end of an id is looked for."""
_PAGE = 1_000
_PART = re.compile(r"[0-9a-f-]+")


class RunName(click.ParamType):  # type: ignore[type-arg]  # older releases of click have no argument here
    """A run's id or a part of it, completed from the newest runs."""

    name = "run"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        from squidmesh.cli.session import Session

        session = Session(ctx.params.get("database"), None, False)
        try:
            runs = session.mesh.list(limit=50)
            return [
                CompletionItem(run.run_id, help=f"{run.status} {run.workflow} {run.key or ''}".strip())
                for run in runs
                if run.run_id.startswith(incomplete.lower())
            ]
        except Exception:  # noqa: BLE001 - a completion has nowhere to tell of it
            return []
        finally:
            session.close()


RUN = RunName()


def find(mesh: Mesh, name: str | None, key: str | None) -> Handle[Any]:
    """The handle of the run that is meant."""
    if key is not None:
        found = mesh.find(key)
        if found is None:
            raise not_found(f"no run has the key {key!r}{_keys_near(mesh, key)}")
        return found
    assert name is not None
    return mesh.handle(run_id(mesh, name))


def run_id(mesh: Mesh, name: str) -> str:
    """The id of the run that is meant by an id or a part of one."""
    from squidmesh.engine.ids import known_form

    if (whole := known_form(name)) is not None and mesh.connect_engine().store.run(whole) is not None:
        return whole
    part = name.strip().lower()
    if whole is None and _PART.fullmatch(part) and len(part) >= LEAST:
        found = _alike(mesh, part)
        if len(found) == 1:
            return found[0]
        if found:
            shown = ", ".join(found[:3]) + (" …" if len(found) > 3 else "")
            raise not_found(f"several runs are named {name!r}: {shown}; give more of it (ids differ at their end)")
    raise not_found(f"no run {name!r}{_near(mesh, name)}")


def short(run_id: str) -> str:
    """The end of an id, which names the run too."""
    return run_id[-12:]


def _alike(mesh: Mesh, part: str) -> list[str]:
    return list(dict.fromkeys([*_beginning(mesh, part), *_ending(mesh, part)]))


def _beginning(mesh: Mesh, part: str) -> list[str]:
    from squidmesh.ports import RunFilter

    plain = part.replace("-", "")
    if len(plain) >= 32:
        return []
    behind = min(int(plain.ljust(32, "f"), 16) + 1, 2**128 - 1)
    rows = mesh.connect_engine().store.runs(RunFilter(), 5, str(UUID(int=behind)))
    return [row.run_id for row in rows if row.run_id.replace("-", "").startswith(plain)]


def _ending(mesh: Mesh, part: str) -> list[str]:
    from squidmesh.ports import RunFilter

    store, before, found = mesh.connect_engine().store, None, []
    for _ in range(NEWEST // _PAGE):
        rows = store.runs(RunFilter(), _PAGE, before)
        found += [row.run_id for row in rows if row.run_id.endswith(part)]
        if len(rows) < _PAGE:
            break
        before = rows[-1].run_id
    return found


def _near(mesh: Mesh, name: str) -> str:
    """What may have been meant by it: a key, or an id that is nearly the same."""
    try:
        keyed = mesh.find(name)
    except ValueError:
        keyed = None
    if keyed is not None:
        return f", but a run has that key: --key {name}"
    rows = mesh.list(limit=_PAGE)
    ids = [run.run_id for run in rows]
    wrong = name.strip().lower()
    if len(wrong) >= 8 and _PART.fullmatch(wrong):
        size = len(wrong)
        parts = {part: one for one in ids for part in (one[:size], one[-size:])}
        near = [parts[part] for part in difflib.get_close_matches(wrong, parts, n=3, cutoff=0.75)]
        if near:
            return f": did you mean {' or '.join(dict.fromkeys(near))}?"
    if not ids:
        return ": this database has no runs; is it the right one?"
    return _keys_near(mesh, name) or ": check the id, and that this is the right database (squidmesh runs)"


def _keys_near(mesh: Mesh, key: str) -> str:
    keys = [run.key for run in mesh.list(limit=_PAGE) if run.key is not None]
    near = difflib.get_close_matches(key, keys, n=3, cutoff=0.7)
    return f": did you mean {' or '.join(f'--key {one}' for one in near)}?" if near else ""
