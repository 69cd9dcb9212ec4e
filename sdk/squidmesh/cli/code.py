"""The user's code, for commands that cannot do without it.

The rule of this file: it is found as ``squidmesh worker`` finds it, from the current folder too; what does not import
is told in one line, with its file and line.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from squidmesh.cli.refusal import USAGE, Refusal, not_found
from squidmesh.cli.suggesting import meant

if TYPE_CHECKING:
    from squidmesh.core.workflow import Workflow


def load(name: str) -> ModuleType:
    """Import a module of the user's."""
    dotted = name.removesuffix(".py").replace("/", ".").strip(".")
    if dotted != name:
        raise Refusal(f"{name!r} is no module: name it as your code imports it, {dotted}", USAGE)
    here = str(Path.cwd())
    if "" not in sys.path and here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise Refusal(
                f"there is no module {name!r} in {here} or on the Python path; run this where the module is", USAGE
            ) from None
        raise _broken(name, error) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the module may do anything
        raise _broken(name, error) from None


def workflow(name: str) -> Workflow[..., Any]:
    """A workflow by its name, or as ``module:name``; of several versions the highest."""
    from squidmesh.core.registry import REGISTRY

    module, colon, plain = name.rpartition(":")
    if colon:
        found = getattr(load(module), plain, None)
        from squidmesh.core.workflow import Workflow

        if isinstance(found, Workflow):
            return found
    newest = REGISTRY.newest(plain)
    if newest is None:
        names = sorted({known for known, _ in REGISTRY.workflows})
        more = meant(plain, names) or (f"; there are: {', '.join(names)}" if names else "")
        how = "" if names else "; name the module that has it: --module MODULE, or MODULE:NAME"
        raise not_found(f"there is no workflow {plain!r} in the code at hand{more}{how}")
    return newest


def _broken(name: str, error: BaseException) -> Refusal:
    frames = [at for at in traceback.extract_tb(error.__traceback__) if "importlib" not in at.filename]
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if len(frames) > 1 else ""
    return Refusal(f"module {name!r} does not import: {type(error).__name__}: {error}{place}")
