"""A way to a server that a test can cut, make slow, or silence."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator


class Proxy:
    """Passes TCP connections on to ``host:port`` until ``cut``, and again after ``mend``.

    ``delay``: seconds that it keeps whatever it passes on, either way.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.delay = 0.0
        self._open = True
        self._passes = threading.Event()
        self._passes.set()
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break what is connected, and let nobody in."""
        with self._lock:
            self._open = False
            self._break()

    def snap(self) -> None:
        """Break what is connected; who comes again is let in."""
        with self._lock:
            self._break()

    def silence(self) -> None:
        """Keep what is connected, and let nothing through: it all comes late, when this is mended."""
        self._passes.clear()

    def mend(self) -> None:
        self._open = True
        self._passes.set()

    def close(self) -> None:
        self.cut()
        self._passes.set()
        self._listener.close()

    def _break(self) -> None:
        for end in self._sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            if not self._open:
                caller.close()
                continue
            try:
                target = socket.create_connection(self._target)
            except OSError:  # the server is away
                caller.close()
                continue
            with self._lock:
                self._sockets |= {caller, target}
                if not self._open:
                    self._break()
            for source, sink in ((caller, target), (target, caller)):
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self.delay:
                    time.sleep(self.delay)
                self._passes.wait()
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._sockets.discard(source)
        source.close()


@contextlib.contextmanager
def proxy_to(host: str, port: int) -> Iterator[Proxy]:
    proxy = Proxy(host, port)
    try:
        yield proxy
    finally:
        proxy.close()
