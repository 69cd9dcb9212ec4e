"""The partner of the demo: a bank that takes charges and refunds over HTTP, and is sometimes too busy.

The rule of this file: it knows nothing of workflows. Every fourth request finds it busy (503), whoever asks; what
comes again under the same ``Idempotency-Key`` gets the paper that it got first.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BUSY_AT_EVERY = 4


class Bank:
    """Open while the ``with`` block lasts, on a port of its own. ``url`` is its address."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked = 0
        self._papers: dict[str, dict[str, str]] = {"receipt": {}, "refund": {}}
        bank = self

        class Desk(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                kind = "refund" if self.path == "/refunds" else "receipt"
                paper = bank.paper(kind, self.headers.get("Idempotency-Key", ""))
                body = json.dumps({kind: paper} if paper else {"error": "too busy"}).encode()
                self.send_response(200 if paper else 503)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Keeps the terminal for the demo."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Desk)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def paper(self, kind: str, key: str) -> str | None:
        """The receipt, or the refund, of this key; None: too busy."""
        with self._lock:
            self._asked += 1
            if self._asked % BUSY_AT_EVERY == 0:
                return None
            papers = self._papers[kind]
            return papers.setdefault(key, f"{kind}-{len(papers) + 1:03}")

    def __enter__(self) -> Bank:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="bank", daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
