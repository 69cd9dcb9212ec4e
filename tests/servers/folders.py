"""Temporary folders that go even when the process that made them was killed.

Each folder holds a file that its maker keeps locked; the next maker of a folder removes those whose lock
is free, because the kernel drops a lock with its holder.
"""

import atexit
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import IO

PREFIX = "squidmesh-test-"
LOCK = ".alive"
UNLOCKED_FOR = 10  # seconds a folder may stand without its lock while it is being made

_held: dict[Path, IO[str]] = {}
_owner = os.getpid()


def make_folder(kind: str) -> Path:
    """Make an empty folder, and remove what killed processes left behind."""
    _remove_abandoned()
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{kind}-"))
    lock = (folder / LOCK).open("w")
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    _held[folder] = lock
    return folder


def remove_folder(folder: Path) -> None:
    """Remove a folder of `make_folder`; removing it again does nothing."""
    if (lock := _held.pop(folder, None)) is not None:
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()


def _remove_abandoned() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            if folder in _held or time.time() - folder.stat().st_mtime < UNLOCKED_FOR:
                continue
            with (folder / LOCK).open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # in use, another user's, or just removed by somebody else


@atexit.register
def _remove_held() -> None:
    if os.getpid() == _owner:  # a forked child inherits this hook, not the folders
        for folder in list(_held):
            remove_folder(folder)
