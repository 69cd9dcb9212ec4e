"""A Redis of one's own on a loopback port, to use, stop, kill and start again."""

import signal
import socket
from types import TracebackType
from typing import Self

from tests.servers.binaries import redis_binary
from tests.servers.folders import make_folder, remove_folder
from tests.servers.process import Process, free_port


class Redis:
    """A private Redis server; a context manager that starts it and removes it with its data.

    Parameters:
        persistent: whether it comes up again with what it had; without, every start is empty.
    """

    def __init__(self, *, persistent: bool = False) -> None:
        self.port = free_port()
        self._persistent = persistent
        self._folder = make_folder("redis")
        self._process = Process("redis", cwd=self._folder, user=None, death_signal=signal.SIGKILL)

    @property
    def url(self) -> str:
        """The URL of its database 0; it has 16."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.alive

    def start(self) -> Self:
        """Start it; returns when it answers."""
        command = [str(redis_binary()), "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--dir", str(self._folder), "--daemonize", "no"]
        if self._persistent:
            command += ["--appendonly", "yes", "--appendfsync", "always"]
        self._process.spawn(command)
        if not self._process.wait_until(self._answers):
            self._process.fail("it ended while it started")
        return self

    def stop(self) -> None:
        """End it in order."""
        self._process.end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would."""
        self._process.end(signal.SIGKILL)

    def restart(self) -> Self:
        """Stop it, if it runs, and start it on the same port: empty, unless it is persistent."""
        self.stop()
        return self.start()

    def close(self) -> None:
        """End it and remove its data."""
        self._process.end(signal.SIGKILL)
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

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")  # while it loads its data it answers -LOADING
        except OSError:
            return False
