"""The partner of the demo: a bank that takes charges over HTTP, and is sometimes too busy.

The rule of this file: it knows nothing of workflows. Every fourth request finds it busy (503), whoever asks; a
charge that comes again under the same ``Idempotency-Key`` gets its first receipt.
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
        self._receipts: dict[str, str] = {}
        bank = self

        class Desk(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                receipt = bank.charge(self.headers.get("Idempotency-Key", ""))
                body = json.dumps({"receipt": receipt} if receipt else {"error": "too busy"}).encode()
                self.send_response(200 if receipt else 503)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Keeps the terminal for the demo."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Desk)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def charge(self, key: str) -> str | None:
        """The receipt; None: too busy."""
        with self._lock:
            self._asked += 1
            if self._asked % BUSY_AT_EVERY == 0:
                return None
            return self._receipts.setdefault(key, f"receipt-{len(self._receipts) + 1:03}")

    def __enter__(self) -> Bank:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="bank", daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
