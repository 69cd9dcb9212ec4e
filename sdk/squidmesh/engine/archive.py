"""Runs as lines of JSON: what is written away before it is deleted, and what ``export`` gives.

A line is one run: ``{"schema_version": 1, "run": {…}, "history": [{"seq": 1, "at": …, "kind": "RunStarted", …}, …]}``.
Times are ISO 8601 in UTC, to the microsecond; values are as they are stored. Secrets are masked, and lost that way,
unless they are asked for: then they stand as ``{"$secret": …}``, as in the database.

The rule of this file: only whole lines count. A line that was torn when its writer was killed tells of a run that was
not deleted; it is taken away when the file is written to again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from squidmesh.core.codec import decode_rows
from squidmesh.core.deterministic import instant
from squidmesh.core.events import Event
from squidmesh.core.failure import Failure
from squidmesh.core.payloads import dumps
from squidmesh.core.secrecy import mask
from squidmesh.ports import Record, RunRow

SCHEMA_VERSION = 1
_START = f'{{"schema_version":{SCHEMA_VERSION},'
_LOOK = 1 << 16  # bytes that are read at once, from the end


def line(record: Record, *, secrets: bool = False) -> str:
    """One run as one line of JSON, without its end.

    :raises PayloadError: its history has an event that a newer version has written.
    """
    events = decode_rows([(row.seq, row.events) for row in record.history])
    shown = mask if not secrets else _as_it_is
    told = {
        "schema_version": SCHEMA_VERSION,
        "run": shown(_run(record.run)),
        "history": [shown(_event(event)) for event in events],
    }
    return dumps(told)


def _as_it_is(stored: Any) -> Any:
    return stored


def _run(row: RunRow) -> dict[str, Any]:
    return {
        "run_id": row.run_id,
        "workflow": row.workflow,
        "version": row.version,
        "key": row.key,
        "status": row.status,
        "reason": row.reason,
        "queue": row.queue,
        "priority": row.priority,
        "attributes": row.attributes,
        "parent": row.parent,
        "created_at": _time(row.created_at),
        "ended_at": _time(row.ended_at),
        "deadline": _time(row.deadline),
        "rollback": row.rollback,
        "length": row.length,
    }


def _event(event: Event) -> dict[str, Any]:
    told: dict[str, Any] = {"seq": event.seq, "at": _time(event.at), "kind": event.kind}
    for field in fields(event):
        if field.name not in told:
            value = getattr(event, field.name)
            told[field.name] = value.to_json() if isinstance(value, Failure) else value
    return told


def _time(at: int | None) -> str | None:
    return None if at is None else instant(at).isoformat(timespec="microseconds")


class Archive:
    """Where lines are written to. A context manager: a file that it has opened it closes.

    :param to: a path, which is appended to (and made, readable by its owner only); or a file open for writing, of
        text or of bytes.
    :raises ValueError: the file is there, and its last line is neither whole nor a line of an archive.
    """

    def __init__(self, to: str | os.PathLike[str] | IO[Any], *, secrets: bool = False) -> None:
        self.lines = 0
        self._secrets = secrets
        self._own = isinstance(to, (str, os.PathLike))
        self._file: Any = _appending(Path(to)) if isinstance(to, (str, os.PathLike)) else to
        self._text = hasattr(self._file, "encoding")

    def write(self, records: Iterable[Record]) -> None:
        for record in records:
            told = line(record, secrets=self._secrets) + "\n"
            self._file.write(told if self._text else told.encode())
            self.lines += 1

    def sync(self) -> None:
        """See that all of it is on disk (where the file is on one)."""
        self._file.flush()
        with suppress(AttributeError, OSError, ValueError):  # in memory, or a pipe
            os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._own:
            self._file.close()
        else:
            self._file.flush()


def _appending(path: Path) -> IO[bytes]:
    """The file at its end, which is the end of a line; a new one is in its folder for good."""
    made = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    file = os.fdopen(descriptor, "r+b" if not made else "w+b")
    try:
        if made:
            _sync_folder(path)
        elif path.is_file():
            _untear(path, file)
    except BaseException:
        file.close()
        raise
    return file


def _untear(path: Path, file: IO[bytes]) -> None:
    """Take a line away that its writer did not end."""
    size = file.seek(0, os.SEEK_END)
    end, torn = size, b""
    while end and b"\n" not in torn:
        begin = max(0, end - _LOOK)
        file.seek(begin)
        torn = file.read(end - begin) + torn
        end = begin
    torn = torn.rpartition(b"\n")[2]
    if not torn:
        return
    start = _START.encode()
    if not (torn.startswith(start) or start.startswith(torn)):
        raise ValueError(f"{path} is no archive of runs: its last line is not whole, and none of ours")
    file.truncate(size - len(torn))
    file.seek(0, os.SEEK_END)


def _sync_folder(path: Path) -> None:
    with suppress(OSError):  # not on every system can a folder be opened
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
