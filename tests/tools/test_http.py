"""The HTTP tool against a real server: each class of answer, and of silence."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import cast

import httpx
import pytest
from opentelemetry import propagate, trace
from pydantic import TypeAdapter

from squidmesh.core.failure import describe
from squidmesh.core.stepcontext import Attempt, StepContext, current_step
from squidmesh.errors import GiveUp, RetryAfter
from squidmesh.tools import http
from tests.tools.web import Answer, Web


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as web:
        yield web


@pytest.fixture
def in_a_step() -> Iterator[StepContext]:
    """As the engine does it around a step's code."""
    step = StepContext("run-1", "charge", "3", 2, "run-1:3", None, None, cast(Attempt, None))
    token = current_step.set(step)
    yield step
    current_step.reset(token)


# ------------------------------------------------------------------------------------------------ answers


def test_a_success_gives_status_headers_text_and_json(web: Web) -> None:
    url = web.on("/a", Answer(body=b'{"n": 1}', headers={"X-Thing": "7", "Content-Type": "application/json"}))
    answer = http.get(url)
    assert (answer.status, answer.json(), answer.text) == (200, {"n": 1}, '{"n": 1}')
    assert answer.headers["x-thing"] == "7"
    assert answer.url == url


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
def test_each_short_form_sends_its_own_method(web: Web, method: str) -> None:
    getattr(http, method)(web.on("/a", Answer(status=204)))
    assert [asked.method for asked in web.asked] == [method.upper()]


def test_a_json_body_a_raw_body_the_query_and_headers_arrive(web: Web) -> None:
    url = web.on("/a", Answer())
    http.post(url + "?token=t", json={"cents": 42}, params={"dry": True}, headers={"X-From": "me"})
    http.put(url, content=b"raw")
    first, second = web.asked
    assert (first.json(), first.headers["content-type"]) == ({"cents": 42}, "application/json")
    assert (first.path, first.headers["x-from"]) == ("/a?token=t&dry=true", "me")
    assert second.body == b"raw"


def test_a_response_survives_storage_as_json_even_with_bytes_that_are_no_text(web: Web) -> None:
    answer = http.get(web.on("/a", Answer(body=b"\xff\x00\xfe")))
    adapter = TypeAdapter(http.Response)
    assert adapter.validate_json(adapter.dump_json(answer)) == answer


def test_text_follows_the_charset_of_the_server_and_never_fails(web: Web) -> None:
    latin = Answer(body="né".encode("latin-1"), headers={"Content-Type": "text/plain; charset=iso-8859-1"})
    assert http.get(web.on("/a", latin)).text == "né"
    assert http.get(web.on("/b", Answer(body=b"n\xe9"))).text == "n\ufffd"


def test_a_compressed_body_is_read_as_what_it_is(web: Web) -> None:
    url = web.on("/a", Answer(body=gzip.compress(b"plain"), headers={"Content-Encoding": "gzip"}))
    answer = http.get(url)
    assert (answer.content, answer.text) == (b"plain", "plain")


def test_expected_statuses_are_answers_and_all_others_are_not(web: Web) -> None:
    url = web.on("/a", Answer(status=404, body=b"none"))
    assert http.get(url, expect=(200, 404)).text == "none"
    with pytest.raises(http.HttpRefused) as refused:
        http.get(web.on("/b", Answer(status=200)), expect=(201,))
    assert refused.value.status == 200


def test_redirects_are_followed_on_request_only(web: Web) -> None:
    there = web.on("/there", Answer(body=b"here"))
    url = web.on("/a", Answer(status=302, headers={"Location": "/there?x=1"}))
    answer = http.get(url, follow_redirects=True)
    assert (answer.text, answer.url) == ("here", there)
    with pytest.raises(http.HttpRefused) as refused:
        http.get(url)
    assert (refused.value.kind, refused.value.status, refused.value.retryable) == ("status", 302, False)


def test_a_client_of_the_callers_is_used_with_its_own_settings_and_stays_open(web: Web) -> None:
    web.on("/there", Answer(body=b"here"))
    web.on("/a", Answer(status=302, headers={"Location": "/there"}))
    with httpx.Client(base_url=web.url("/"), headers={"Authorization": "k"}, follow_redirects=True) as client:
        assert http.get("/a", client=client).text == "here"
        assert http.get("/there", client=client).text == "here"
    assert {asked.headers["authorization"] for asked in web.asked} == {"k"}


# -------------------------------------------------------------------------------------- refusals by status


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 410, 422])
def test_a_4xx_fails_the_step_at_once(web: Web, status: int) -> None:
    with pytest.raises(GiveUp) as gave_up:
        http.post(web.on("/a", Answer(status=status, body=b"no such card")))
    error = gave_up.value
    assert isinstance(error, http.HttpError)
    assert (error.kind, error.status, error.retryable) == ("status", status, False)
    assert error.body == "no such card"


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
def test_a_5xx_may_be_tried_again(web: Web, status: int) -> None:
    with pytest.raises(http.HttpStatusError) as raised:
        http.get(web.on("/a", Answer(status=status)))
    error = raised.value
    assert (error.kind, error.status, error.retryable, error.retry_after) == ("status", status, True, None)
    assert not isinstance(error, GiveUp | RetryAfter)


@pytest.mark.parametrize(("status", "kind"), [(429, "too_many_requests"), (503, "status"), (500, "status")])
def test_retry_after_in_seconds_sets_the_delay_of_the_next_attempt(web: Web, status: int, kind: str) -> None:
    with pytest.raises(RetryAfter) as asked_to_wait:
        http.get(web.on("/a", Answer(status=status, headers={"Retry-After": "17"})))
    error = asked_to_wait.value
    assert isinstance(error, http.HttpError)
    assert (error.delay, error.retry_after, error.kind, error.status) == (17, 17, kind, status)


def test_retry_after_as_a_date_sets_the_delay_of_the_next_attempt(web: Web) -> None:
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    with pytest.raises(RetryAfter) as asked_to_wait:
        http.get(web.on("/a", Answer(status=503, headers={"Retry-After": when})))
    assert 90 < asked_to_wait.value.delay <= 101


def test_429_without_retry_after_is_left_to_the_steps_own_retry(web: Web) -> None:
    with pytest.raises(http.HttpStatusError) as raised:
        http.get(web.on("/a", Answer(status=429)))
    assert (raised.value.kind, raised.value.retryable) == ("too_many_requests", True)


def test_it_never_tries_again_by_itself(web: Web) -> None:
    url = web.on("/a", Answer(status=503))
    with pytest.raises(http.HttpError):
        http.get(url)
    assert len(web.asked) == 1


# ------------------------------------------------------------------------------------------------ silence


def test_no_answer_in_time_is_a_timeout_whose_effect_is_unknown(web: Web) -> None:
    url = web.on("/a", Answer(after=threading.Event()))
    with pytest.raises(TimeoutError) as timed_out:
        http.post(url, timeout=timedelta(milliseconds=50))
    error = timed_out.value
    assert isinstance(error, http.HttpTimeout)
    assert (error.kind, error.retryable, error.status) == ("timeout", True, None)
    assert isinstance(error.__cause__, httpx.ReadTimeout)


def test_a_refused_connection_is_a_transport_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can answer there
        with pytest.raises(ConnectionError) as failed:
            http.get(f"http://127.0.0.1:{taken.getsockname()[1]}/")
    error = failed.value
    assert isinstance(error, http.HttpTransportError)
    assert (error.kind, error.retryable, error.status) == ("transport", True, None)
    assert isinstance(error.__cause__, httpx.ConnectError)


@pytest.mark.parametrize(
    "broken",
    [
        Answer(silent=True),
        Answer(body=b"half", length=100),
        Answer(body=b"no gzip at all", headers={"Content-Encoding": "gzip"}),
    ],
    ids=["hung up", "half a body", "garbled"],
)
def test_an_answer_that_breaks_on_its_way_is_a_transport_error(web: Web, broken: Answer) -> None:
    with pytest.raises(http.HttpTransportError) as failed:
        http.get(web.on("/a", broken))
    assert (failed.value.kind, failed.value.retryable) == ("transport", True)
    assert isinstance(failed.value.__cause__, httpx.HTTPError)


def test_what_is_stored_of_an_error_tells_kind_and_status_and_keeps_the_silence_behind_it(web: Web) -> None:
    with pytest.raises(http.HttpError) as waits:
        http.get(web.on("/a", Answer(status=429, headers={"Retry-After": "3"})))
    stored = describe(waits.value)
    assert stored.type == "squidmesh.tools.http_error.HttpRetryAfter"
    assert isinstance(stored.data, dict)
    assert (stored.data["kind"], stored.data["status"], stored.data["retry_after"]) == (
        "too_many_requests",
        429,
        3,
    )
    with pytest.raises(http.HttpError) as broke:
        http.get(web.on("/b", Answer(silent=True)))
    stored = describe(broke.value)
    assert stored.matches(httpx.TransportError)
    assert stored.matches(ConnectionError)


# ------------------------------------------------------------------- bodies and requests that cannot be used


def test_a_body_that_is_not_json_names_the_call_and_shows_how_it_begins(web: Web) -> None:
    answer = http.get(web.on("/a", Answer(body=b"<html>sign in</html>")))
    with pytest.raises(http.HttpBodyError, match="is not JSON") as failed:
        answer.json()
    assert (failed.value.kind, failed.value.status) == ("body", 200)
    assert failed.value.body == "<html>sign in</html>"


def test_a_body_without_end_is_refused_and_not_kept(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_BYTES", 1000)
    with pytest.raises(http.HttpRefused, match="larger than 1000 bytes"):
        http.get(web.on("/a", Answer(body=b"x" * 1001)))
    with pytest.raises(http.HttpStatusError) as failed:
        http.get(web.on("/b", Answer(status=500, body=b"x" * 1001)))
    assert failed.value.status == 500


@pytest.mark.parametrize("url", ["ftp://example.com/", "example.com/a", "http://ann:s3cr/et@x.example/", "http://"])
def test_a_url_that_cannot_be_called_fails_the_step_at_once(url: str) -> None:
    with pytest.raises(http.HttpRefused) as refused:
        http.get(url)
    assert (refused.value.kind, refused.value.retryable) == ("request", False)


def test_a_redirect_loop_fails_the_step_at_once(web: Web) -> None:
    url = web.on("/a", Answer(status=307, headers={"Location": "/a"}))
    with pytest.raises(http.HttpRefused, match="redirects without end"):
        http.get(url, follow_redirects=True)


def test_no_secret_of_the_request_is_in_an_error(web: Web) -> None:
    web.on("/a", Answer(status=500))
    errors = []
    for url, headers in [
        (f"http://ann:s3cret@127.0.0.1:{web.port}/a?token=s3cret#s3cret", {"Authorization": "s3cret"}),
        ("http://ann:s3/cret@example.com/", {}),
        (web.url("/a"), {"Authorization": "s3cret\n"}),
    ]:
        with pytest.raises(http.HttpError) as failed:
            http.get(url, headers=headers)
        errors.append(failed.value)
    for error in errors:
        assert "s3" not in describe(error).model_dump_json()
    assert errors[0].url == web.url("/a")


# ---------------------------------------------------------------------------------- what travels along


def test_outside_a_step_no_key_is_sent(web: Web) -> None:
    http.post(web.on("/a", Answer()))
    assert "idempotency-key" not in web.asked[0].headers


def test_inside_a_step_its_key_is_sent_unless_the_caller_set_one(web: Web, in_a_step: StepContext) -> None:
    url = web.on("/a", Answer())
    http.post(url)
    http.post(url, headers={"idempotency-key": "mine"})
    assert [asked.headers["idempotency-key"] for asked in web.asked] == [in_a_step.key, "mine"]


def test_an_async_step_sends_its_key_from_a_thread(web: Web, in_a_step: StepContext) -> None:
    url = web.on("/a", Answer())

    async def body() -> http.Response:
        return await asyncio.to_thread(http.post, url, json=1)

    assert asyncio.run(body()).status == 200
    assert web.asked[0].headers["idempotency-key"] == in_a_step.key


def test_the_trace_context_is_passed_on_unless_the_caller_set_one(web: Web) -> None:
    span = trace.NonRecordingSpan(
        trace.SpanContext(trace_id=0xABC, span_id=0xDEF, is_remote=False, trace_flags=trace.TraceFlags(1))
    )
    url = web.on("/a", Answer())
    assert "traceparent" in propagate.get_global_textmap().fields
    with trace.use_span(span):
        http.get(url)
        http.get(url, headers={"Traceparent": "mine"})
    http.get(url)
    sent = [asked.headers.get("traceparent") for asked in web.asked]
    assert sent == [f"00-{0xABC:032x}-{0xDEF:016x}-01", "mine", None]
