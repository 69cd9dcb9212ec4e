"""How an HTTP call fails: one tree of errors, and the rules that pick from it.

HttpError
├── HttpTimeout        (TimeoutError)     no answer in time: whether the server acted is unknown
├── HttpTransportError (ConnectionError)  the connection failed or broke: unknown, too
├── HttpStatusError                       429 or 5xx: may succeed later; when is up to the step's Retry
├── HttpRetryAfter     (RetryAfter)       429 or 5xx that says when to come back
├── HttpBodyError                         the answer came, but it is not what it should be
└── HttpRefused        (GiveUp)           no attempt of this request would succeed: the step fails at once

The second parents are what the engine goes by, so that it needs to know nothing of HTTP.
The rule of this file: pure. It decides from a status, headers or a caught error, and calls nobody.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

import httpx

from squidmesh.errors import GiveUp, RetryAfter

Kind = Literal["timeout", "transport", "too_many_requests", "status", "body", "request"]
"""What went wrong: no answer (timeout, transport), an answer that is a refusal (too_many_requests, status),
one that cannot be used (body), or a request that cannot be sent or followed as it was written (request)."""

FURTHEST_RETRY = 366 * 86_400.0
"""Seconds. A server that asks for more waiting than this is taken to have asked for this much."""

_EXCERPT = 300  # characters of an answer's body that an error keeps


class HttpError(Exception):
    """An HTTP call did not give the answer that was expected.

    ``kind``, ``retryable`` (would the same request have a chance later?), ``status`` (None if none came),
    ``retry_after`` (seconds, as the server asked; None if it did not), ``method``, ``url`` (without user,
    password, query and fragment, for it is stored and logged), ``body`` (the beginning of the answer's text).
    """

    def __init__(
        self,
        problem: str,
        *,
        kind: Kind,
        method: str,
        url: str,
        retryable: bool,
        status: int | None = None,
        retry_after: float | None = None,
        body: str = "",
    ) -> None:
        self.kind: Kind = kind
        self.method, self.url, self.status = method, url, status
        self.retryable, self.retry_after = retryable, retry_after
        self.body = " ".join(body.split())[:_EXCERPT]
        told = f"; the answer begins: {self.body}" if self.body else ""
        if isinstance(self, RetryAfter):
            RetryAfter.__init__(self, retry_after or 0.0, problem)
        elif isinstance(self, GiveUp):
            GiveUp.__init__(self, problem)
        Exception.__init__(self, f"{method} {url}: {problem}{told}")


class HttpTimeout(HttpError, TimeoutError):
    """No answer came in time. Whether the server did what it was asked is unknown."""


class HttpTransportError(HttpError, ConnectionError):
    """The connection could not be made, or broke. Whether the server did what it was asked is unknown."""


class HttpStatusError(HttpError):
    """The server could not do it now (429 or 5xx) and did not say when it can."""


class HttpRetryAfter(HttpError, RetryAfter):
    """The server could not do it now (429 or 5xx) and said when to come back. ``delay`` is in seconds."""


class HttpBodyError(HttpError):
    """The status was the expected one, the body was not. What the request was to do has probably happened."""


class HttpRefused(HttpError, GiveUp):
    """The server refused the request, or it could not be sent as written: trying again would not help."""


def error_of_status(
    method: str, url: str, status: int, headers: Mapping[str, str], body: str, now: datetime
) -> HttpError:
    """The error for an answer whose status was not expected.

    ``headers`` have lower-case names; ``now`` (aware) is what a ``Retry-After`` date is measured from if the
    answer has no ``Date`` of its own.
    """
    kind: Kind = "too_many_requests" if status == 429 else "status"
    retry_after = parse_retry_after(headers.get("retry-after"), _date(headers.get("date")) or now)
    again = status == 429 or status >= 500
    problem = f"{status} {httpx.codes.get_reason_phrase(status)}".rstrip()
    if not again:
        error: type[HttpError] = HttpRefused
    elif retry_after:
        error, problem = HttpRetryAfter, f"{problem}, to be tried again after {retry_after:g} s"
    else:  # nothing said, or "at once": the step's own Retry knows better than to hammer at it
        error = HttpStatusError
    return error(
        problem,
        kind=kind,
        method=method,
        url=url,
        retryable=again,
        status=status,
        retry_after=retry_after,
        body=body,
    )


def error_of_silence(method: str, url: str, caught: httpx.HTTPError | httpx.InvalidURL) -> HttpError:
    """The error for a call that gave no answer, with what httpx raised as its cause.

    Where httpx quotes the URL or a header in its message, that message is dropped and so is the cause: a
    malformed header is most often a credential with a line break in it.
    """
    match caught:
        case httpx.InvalidURL() | httpx.UnsupportedProtocol():
            problem = "this is not an http or https URL that can be called"
            return HttpRefused(problem, kind="request", method=method, url=url, retryable=False)
        case httpx.LocalProtocolError():
            problem = "a header or the body of the request is malformed"
            return HttpRefused(problem, kind="request", method=method, url=url, retryable=False)
        case httpx.TooManyRedirects():
            error: HttpError = HttpRefused(
                "it redirects without end", kind="request", method=method, url=url, retryable=False
            )
        case httpx.TimeoutException():
            problem = f"no answer in time ({type(caught).__name__})"
            error = HttpTimeout(problem, kind="timeout", method=method, url=url, retryable=True)
        case _:
            problem = f"no answer: {caught} ({type(caught).__name__})"
            error = HttpTransportError(problem, kind="transport", method=method, url=url, retryable=True)
    error.__cause__ = caught
    return error


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """The seconds that a ``Retry-After`` header asks for; None if it is absent or says nothing sensible.

    It may be a number of seconds or an HTTP date (RFC 9110, 10.2.3), which is measured from ``now`` (aware).
    A date that has passed gives 0; nothing gives more than `FURTHEST_RETRY`.
    """
    if value is None:
        return None
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value.strip()):  # the RFC has no fractions; servers do
        return min(float(value), FURTHEST_RETRY)
    when = _date(value)
    return None if when is None else min(max((when - now).total_seconds(), 0.0), FURTHEST_RETRY)


def public_url(url: str | httpx.URL) -> str:
    """The URL without user, password, query and fragment; a URL that cannot be read is not repeated."""
    try:
        return str(httpx.URL(url).copy_with(userinfo=b"", query=None, fragment=None))
    except (httpx.InvalidURL, ValueError):
        return "(unreadable URL)"


def _date(value: str | None) -> datetime | None:
    """An HTTP date in any of its three forms, aware; None if it is not one."""
    if value is None:
        return None
    try:
        when = parsedate_to_datetime(value)
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
