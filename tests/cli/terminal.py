"""A command on a pseudo-terminal, and what is seen there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Callable
from dataclasses import dataclass

from tests.worker.processes import SQUIDMESH

_STEERING = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@dataclass(frozen=True)
class Seen:
    """What a command wrote to its terminal, with and without colours, and its exit code."""

    raw: str
    code: int

    @property
    def text(self) -> str:
        return _STEERING.sub("", self.raw).replace("\r\n", "\n")

    @property
    def widest(self) -> int:
        return max(len(line.rstrip()) for line in self.text.split("\n"))


def seen(*arguments: str, width: int = 80, meanwhile: Callable[[str], None] | None = None, **environ: str) -> Seen:
    """Run it on a terminal of so many columns; ``meanwhile`` is told all that was written so far, as it comes."""
    screen, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    with subprocess.Popen(
        [*SQUIDMESH, *arguments],
        env=kept | {"TERM": "xterm-256color"} | environ,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    ) as running:
        os.close(terminal)
        written = b""
        try:
            while more := os.read(screen, 65_536):
                written += more
                if meanwhile is not None:
                    meanwhile(written.decode(errors="replace"))
        except OSError:  # closed on the other side
            pass
        os.close(screen)
        return Seen(written.decode(), running.wait(60))
