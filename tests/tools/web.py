"""A real HTTP server on a free loopback port: it answers as told, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True)
class Asked:
    """One request as it arrived; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """What to answer. ``length`` promises a body of another length; ``silent`` hangs up without an answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None
    silent: bool = False
    after: threading.Event | None = None


class Web:
    """``web.on(path, answer, …)``: these answers in turn, the last one from then on."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._answers: dict[str, deque[Answer]] = {}
        self._held: list[threading.Event] = []
        self._arrived = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self._answer_to))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for event in self._held:
            event.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def on(self, path: str, *answers: Answer) -> str:
        """Sets the answers of a path and gives its URL."""
        self._answers[path] = deque(answers)
        self._held += [answer.after for answer in answers if answer.after is not None]
        return self.url(path)

    def posts(self, path: str) -> list[Asked]:
        return [asked for asked in self.asked if asked.method == "POST" and asked.path == path]

    def wait_for_posts(self, path: str, count: int) -> None:
        """Returns when this many posts have arrived there; 30 seconds are a failure."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.posts(path)) >= count, timeout=30), self.asked

    def _answer_to(self, asked: Asked) -> Answer:
        with self._arrived:
            self.asked.append(asked)
            self._arrived.notify_all()
            answers = self._answers.get(asked.path.partition("?")[0])
            if not answers:
                return Answer(status=404, body=b"nothing here")
            return answers.popleft() if len(answers) > 1 else answers[0]


def _handler(answer_to: Callable[[Asked], Answer]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = answer_to(Asked(self.command, self.path, headers, body))
            if answer.after is not None:
                answer.after.wait(30)
            if answer.silent:
                self.close_connection = True
                return
            try:
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                length = len(answer.body) if answer.length is None else answer.length
                self.send_header("Content-Length", str(length))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(answer.body)
            except OSError:
                pass  # the client did not wait for it, which is what some tests are about

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _respond  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
