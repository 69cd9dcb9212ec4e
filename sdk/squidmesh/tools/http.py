"""HTTP calls for steps: one request, one `Response` or one `HttpError`, and no retries of its own.

    @step(retry=Retry(max_attempts=5))
    def charge(order_id: str, cents: int) -> Receipt:
        answer = http.post("https://pay.example/charges", json={"order": order_id, "cents": cents})
        return Receipt.model_validate(answer.json())

Every error says by its type what the step should do next, so a step needs no ``except``: what may succeed
later is retried by the step's own ``Retry`` (at the time that the server asked for, if it did), what cannot
succeed fails it at once (http_error.py). Inside a step the step's key travels along as ``Idempotency-Key``,
the same at every attempt (a step that makes several calls with effects gives each a key of its own), and the
trace context travels, too. In an ``async def`` step: ``await asyncio.to_thread(http.get, url)``.

The rule of this file: it sends and reads. What an answer means is decided in http_error.py.
"""

from __future__ import annotations

import json as json_text
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from ssl import SSLContext
from typing import Any, ClassVar, TypedDict, Unpack

import httpx
from opentelemetry import propagate
from pydantic import ConfigDict

from squidmesh.core.stepcontext import current_step
from squidmesh.tools.http_error import (
    HttpBodyError,
    HttpError,
    HttpRefused,
    HttpRetryAfter,
    HttpStatusError,
    HttpTimeout,
    HttpTransportError,
    Kind,
    error_of_silence,
    error_of_status,
    parse_retry_after,
    public_url,
)

__all__ = [
    "HttpBodyError",
    "HttpError",
    "HttpRefused",
    "HttpRetryAfter",
    "HttpStatusError",
    "HttpTimeout",
    "HttpTransportError",
    "Kind",
    "Options",
    "Response",
    "delete",
    "get",
    "parse_retry_after",
    "patch",
    "post",
    "put",
    "request",
]

DEFAULT_TIMEOUT = 10.0
"""Seconds to connect, and for each wait for the next piece of the answer."""

MAX_BYTES = 16 * 1024 * 1024
"""The most of a body that is read, decompressed: a success with a larger one is `HttpRefused`."""

_SUCCESS = range(200, 300)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer with an expected status. A step may return it: it has a JSON form.

    ``url`` is that of the last redirect, without credentials and query; ``headers`` have lower-case names;
    ``content`` is decompressed.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    method: str
    url: str
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def text(self) -> str:
        """The body as text, by the charset that the server named (else UTF-8); never an error."""
        typed = {"content-type": self.headers.get("content-type", "")}
        return httpx.Response(self.status, headers=typed, content=self.content).text

    def json(self) -> Any:
        """The body, parsed.

        Raises:
            HttpBodyError: it is not JSON.
        """
        try:
            return json_text.loads(self.content)
        except ValueError as error:
            raise HttpBodyError(
                f"{self.status}, but the body is not JSON ({error})",
                kind="body",
                method=self.method,
                url=self.url,
                retryable=True,
                status=self.status,
                body=self.text,
            ) from None


class Options(TypedDict, total=False):
    """What `request` and its short forms take besides the URL; `request` says what each means."""

    timeout: float | timedelta | None
    headers: Mapping[str, str] | None
    params: Mapping[str, str | int | float | bool | None] | None
    json: Any
    content: str | bytes | None
    expect: Container[int]
    follow_redirects: bool
    client: httpx.Client | None


def request(method: str, url: str, **options: Unpack[Options]) -> Response:
    """Send one request and read its answer.

    Parameters (all by name):
        timeout: a duration to connect, and for each wait for data; the step's ``timeout`` bounds the whole.
            Default: 10 seconds, or what ``client`` has.
        headers: added to what is sent anyway; an ``Idempotency-Key`` or ``traceparent`` given here wins.
        params: added to the query that the URL has.
        json, content: the body, as a JSON value or as it is.
        expect: the statuses that are a success; default 200 to 299. ``(200, 404)`` makes 404 an answer.
        follow_redirects: default False, or what ``client`` has; a redirect not followed is not a success.
        client: an ``httpx.Client`` of the caller's, for a pool, certificates, credentials. It is not closed.
            Without one, each call has a connection of its own: a pooled one that went stale while a run slept
            would cost an attempt, and leave open whether the request arrived.

    Raises:
        HttpError: in one of its forms; see http_error.py for what each makes of the step.
    """
    method = method.upper()
    with _client_of(options) as client:
        try:
            response = _exchange(client, method, url, options)
        except (httpx.HTTPError, httpx.InvalidURL) as caught:
            error = error_of_silence(method, public_url(url), caught)
            raise error from error.__cause__
    if response.status not in options.get("expect", _SUCCESS):
        raise error_of_status(method, response.url, response.status, response.headers, response.text, datetime.now(UTC))
    if len(response.content) > MAX_BYTES:
        raise HttpRefused(
            f"{response.status}, but the body is larger than {MAX_BYTES} bytes",
            kind="body",
            method=method,
            url=response.url,
            retryable=False,
            status=response.status,
        )
    return response


def get(url: str, **options: Unpack[Options]) -> Response:
    """`request` with GET."""
    return request("GET", url, **options)


def post(url: str, **options: Unpack[Options]) -> Response:
    """`request` with POST."""
    return request("POST", url, **options)


def put(url: str, **options: Unpack[Options]) -> Response:
    """`request` with PUT."""
    return request("PUT", url, **options)


def patch(url: str, **options: Unpack[Options]) -> Response:
    """`request` with PATCH."""
    return request("PATCH", url, **options)


def delete(url: str, **options: Unpack[Options]) -> Response:
    """`request` with DELETE."""
    return request("DELETE", url, **options)


def _exchange(client: httpx.Client, method: str, url: str, options: Options) -> Response:
    timeout = options.get("timeout")
    follow = options.get("follow_redirects")
    with client.stream(
        method,
        httpx.URL(url).copy_merge_params(options.get("params") or {}),
        json=options.get("json"),
        content=options.get("content"),
        headers=_headers(options.get("headers")),
        timeout=httpx.USE_CLIENT_DEFAULT if timeout is None else _seconds(timeout),
        follow_redirects=httpx.USE_CLIENT_DEFAULT if follow is None else follow,
    ) as answer:
        content = bytearray()
        for piece in answer.iter_bytes():
            content += piece
            if len(content) > MAX_BYTES:
                break
    return Response(
        method=method,
        url=public_url(answer.url),
        status=answer.status_code,
        headers=dict(answer.headers),
        content=bytes(content),
    )


def _headers(given: Mapping[str, str] | None) -> httpx.Headers:
    """The trace context and the step's key, then what the caller gave, which wins."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    headers = httpx.Headers(carrier)
    step = current_step.get()
    if step is not None:
        headers["Idempotency-Key"] = step.key
    headers.update(given)
    return headers


@contextmanager
def _client_of(options: Options) -> Iterator[httpx.Client]:
    given = options.get("client")
    if given is not None:
        yield given
        return
    with httpx.Client(verify=_certificates(), timeout=DEFAULT_TIMEOUT) as own:
        yield own


@cache
def _certificates() -> SSLContext:
    """Loaded once: it is most of the cost of a client."""
    return httpx.create_ssl_context()


def _seconds(duration: float | timedelta) -> float:
    return duration.total_seconds() if isinstance(duration, timedelta) else duration
