"""Retry-After and what becomes of a status, without a network."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squidmesh.errors import GiveUp, RetryAfter
from squidmesh.tools.http_error import (
    FURTHEST_RETRY,
    HttpRefused,
    HttpRetryAfter,
    HttpStatusError,
    error_of_status,
    parse_retry_after,
    public_url,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@given(st.one_of(st.text(), st.text("0123456789.,:- GMTJanSunday", max_size=40)))
def test_no_header_whatever_it_says_breaks_the_parser_or_gives_an_unusable_delay(value: str) -> None:
    seconds = parse_retry_after(value, NOW)
    assert seconds is None or 0 <= seconds <= FURTHEST_RETRY
    if seconds is not None:
        RetryAfter(seconds)


@given(st.integers(0, 10**400))
def test_whole_seconds_are_taken_as_they_are_up_to_a_year(seconds: int) -> None:
    assert parse_retry_after(str(seconds), NOW) == min(seconds, FURTHEST_RETRY)


@given(st.integers(0, int(FURTHEST_RETRY)))
def test_an_http_date_and_the_seconds_until_it_are_the_same(seconds: int) -> None:
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert parse_retry_after(date, NOW) == seconds


@given(st.integers(1, 10**9))
def test_a_date_that_has_passed_asks_for_no_waiting(seconds: int) -> None:
    assert parse_retry_after(format_datetime(NOW - timedelta(seconds=seconds), usegmt=True), NOW) == 0


@pytest.mark.parametrize(
    "date",
    ["Sun, 01 Mar 2026 12:01:30 GMT", "Sunday, 01-Mar-26 12:01:30 GMT", "Sun Mar  1 12:01:30 2026"],
)
def test_all_three_forms_of_http_dates_are_read(date: str) -> None:
    assert parse_retry_after(date, NOW) == 90


@pytest.mark.parametrize("value", [None, "", "-5", "soon", "1e3", "١٢", "Sun, 99 Mar 2026 12:00:00 GMT", "inf"])
def test_what_is_neither_seconds_nor_a_date_says_nothing(value: str | None) -> None:
    assert parse_retry_after(value, NOW) is None


def test_a_date_is_measured_from_the_servers_own_clock_when_it_tells_it() -> None:
    headers = {"date": "Sun, 01 Mar 2026 06:00:00 GMT", "retry-after": "Sun, 01 Mar 2026 06:00:07 GMT"}
    error = error_of_status("GET", "http://x/", 503, headers, "", NOW)
    assert isinstance(error, HttpRetryAfter)
    assert error.delay == 7
    without = error_of_status("GET", "http://x/", 503, {"retry-after": headers["retry-after"]}, "", NOW)
    assert isinstance(without, HttpStatusError)
    assert without.retry_after == 0


@given(st.integers(100, 599), st.one_of(st.none(), st.integers(0, 10_000)))
def test_every_status_is_either_final_or_retried_and_says_so_in_its_type(status: int, seconds: int | None) -> None:
    headers = {} if seconds is None else {"retry-after": str(seconds)}
    error = error_of_status("GET", "http://x/", status, headers, "body", NOW)
    assert error.status == status
    assert error.retry_after == seconds
    assert error.retryable == (status == 429 or status >= 500)
    assert isinstance(error, GiveUp) == (not error.retryable) == isinstance(error, HttpRefused)
    assert isinstance(error, RetryAfter) == (error.retryable and bool(seconds))
    assert error.kind == ("too_many_requests" if status == 429 else "status")


def test_the_message_tells_the_call_the_status_the_wait_and_how_the_answer_begins() -> None:
    error = error_of_status("POST", "http://x/pay", 503, {"retry-after": "20"}, "down for\n  a while" * 99, NOW)
    assert str(error).startswith(
        "POST http://x/pay: 503 Service Unavailable, to be tried again after 20 s; the answer begins: down for a while"
    )
    assert len(error.body) == 300


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://ann:secret@example.com:8443/hook/1?token=secret#secret", "https://example.com:8443/hook/1"),
        ("https://example.com?secret", "https://example.com"),
        ("https://ann:se/cret@example.com/", "(unreadable URL)"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert public_url(url) == shown
