"""A PostgreSQL of one's own on a loopback port, to use, stop, kill and start again."""

import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import psycopg

from tests.servers.binaries import postgres_folder
from tests.servers.folders import make_folder, remove_folder
from tests.servers.process import Process, free_port, identity


class Postgres:
    """A private PostgreSQL server; a context manager that starts it and removes it with its data.

    Parameters:
        fsync: whether a commit waits for the disk, as in production. Without, commits still survive a kill
            of the server, because `synchronous_commit` stays on; only a crash of the machine loses them.
        settings: more server settings, by name.
    """

    def __init__(self, *, fsync: bool = True, settings: Mapping[str, str] | None = None) -> None:
        self.port = free_port()
        self._settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "200",
            "fsync": "on" if fsync else "off",
            "synchronous_commit": "on",
            **(settings or {}),
        }
        self._folder = make_folder("postgres")
        self._data = self._folder / "data"
        user = "nobody" if os.geteuid() == 0 else None
        os.chown(self._folder, *identity(user))
        # SIGQUIT: leave at once, and take the backends and the shared memory along.
        self._process = Process("postgres", cwd=self._folder, user=user, death_signal=signal.SIGQUIT)

    @property
    def url(self) -> str:
        """The URL of its maintenance database, for SQLAlchemy and psycopg."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self) -> Self:
        """Start it, on the data it has; returns when it answers."""
        if not self._data.exists():
            self._make_data()
        command = [str(postgres_folder() / "postgres"), "-D", str(self._data), "-p", str(self.port)]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        while not self._spawned(command):
            if "still in use" not in self._process.written():  # backends of a killed one go in their own time
                self._process.fail("it ended while it started")
        return self

    def stop(self) -> None:
        """End it in order: connections are cut, what was committed is on disk."""
        self._process.end(signal.SIGINT)

    def quit(self) -> None:
        """End it at once, as ``pg_ctl stop -m immediate`` does: it recovers when it starts again."""
        self._process.end(signal.SIGQUIT)

    def kill(self) -> None:
        """End it as a crash would: no shutdown of any kind."""
        self._process.end(signal.SIGKILL)

    def restart(self) -> Self:
        """Stop it, if it runs, and start it on the same port with the same data."""
        self.stop()
        return self.start()

    def close(self) -> None:
        """End it and remove its data."""
        self._process.end(signal.SIGQUIT)
        remove_folder(self._folder)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _spawned(self, command: Sequence[str]) -> bool:
        self._process.log.unlink(missing_ok=True)
        self._process.spawn(command)
        return self._process.wait_until(self._answers)

    def _make_data(self) -> None:
        initdb = [str(postgres_folder() / "initdb"), "-D", str(self._data), "-U", "postgres"]
        try:
            self._process.run(
                [*initdb, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
            )
        except BaseException:
            shutil.rmtree(self._data, ignore_errors=True)
            raise

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True
