"""Which code is at hand: a fingerprint per workflow, by which a run that broken code blocked knows other code.

The rule of this file: the same sources give the same fingerprint on every machine, whatever the paths. It is that of
the code in memory: read once, when the workflow is first asked for, and again when its module was loaded again.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from squidmesh.core.registry import Selection

_known: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
_sources: dict[str, tuple[int, bytes]] = {}


def fingerprints(code: Selection) -> dict[tuple[str, int], str]:
    """The fingerprint of each workflow at hand."""
    return {place: fingerprint(workflow) for place, workflow in dict(code.workflows).items()}


def fingerprint(workflow: Any) -> str:
    """A hash over the sources of the workflow's module and of the loaded modules of the same package."""
    fn = (workflow.beside or workflow).fn  # what is deferred is code of the workflow that has deferred it
    found = _known.get(fn)
    if found is None:
        found = _known[fn] = _hashed(fn)
    return found


def _hashed(fn: Any) -> str:
    top = fn.__module__.partition(".")[0]
    files = {fn.__code__.co_filename}
    for name, module in list(sys.modules.items()):
        if name == top or name.startswith(f"{top}."):
            files.add(getattr(module, "__file__", None) or "")
    digest = hashlib.blake2b(fn.__code__.co_code, digest_size=8)
    for file in sorted(files, key=lambda file: (Path(file).name, file)):
        if file.endswith(".py"):
            digest.update(Path(file).name.encode() + _source(file))
    return digest.hexdigest()


def _source(file: str) -> bytes:
    """The hash of a file's content; nothing for code that has none (an interactive session)."""
    try:
        changed = Path(file).stat().st_mtime_ns
        if _sources.get(file, (None,))[0] != changed:
            _sources[file] = (changed, hashlib.blake2b(Path(file).read_bytes(), digest_size=16).digest())
    except OSError:
        return b""
    return _sources[file][1]
