"""samples/rss_digest against a real server, a real RSS 2.0 document and a webhook that is busy at first."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from samples.rss_digest import main as sample
from squidmesh import GiveUp, RunFailed
from squidmesh.testing import VirtualMesh
from squidmesh.tools.http import HttpRefused
from tests.tools.web import Answer, Web

ROOT = Path(__file__).parents[2]

FEED = """<?xml version="1.0" encoding="iso-8859-1"?>
<rss version="2.0" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:atom="http://www.w3.org/2005/Atom"
     xmlns:content="http://purl.org/rss/1.0/modules/content/" xmlns:media="http://search.yahoo.com/mrss/">
  <channel>
    <title>Ships &amp; Squids</title>
    <link>http://ships.example/</link>
    <description>News from below</description>
    <atom:link href="http://ships.example/rss.xml" rel="self" type="application/rss+xml"/>
    <!-- newest first -->
    {more}
    <item>
      <title><![CDATA[<b>Giant</b> squid & the "Nautilus"]]></title>
      <link>http://ships.example/nautilus?a=1&amp;b=2</link>
      <guid isPermaLink="false">urn:ship:1</guid>
      <pubDate>Sun, 01 Mar 2026 12:00:00 +0200</pubDate>
      <content:encoded><![CDATA[<p>It <em>happened</em> ]]]]><![CDATA[> again.</p>]]></content:encoded>
      <media:title>not the title</media:title>
      <dc:creator>J. Verne</dc:creator>
    </item>
    <item>
      <title>Café fish&#8217;s: AT&amp;amp;T &amp;lt; 5</title>
      <guid>http://ships.example/cafe</guid>
      <pubDate>some day last week</pubDate>
    </item>
    <item>
      <title>No guid here</title>
      <link>/no-guid</link>
      <dc:date>2026-02-28T09:30:00Z</dc:date>
    </item>
    <item>
      <description>neither title, link nor guid</description>
    </item>
  </channel>
</rss>
"""

LATER = "<item><title>Later</title><guid isPermaLink='false'>urn:ship:2</guid></item>"


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as web:
        yield web


@pytest.fixture
def mesh() -> Iterator[VirtualMesh]:
    with VirtualMesh() as mesh:
        yield mesh


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    return str(tmp_path / "sent.db")


def feed(more: str = "") -> Answer:
    document = FEED.replace("{more}", more).encode("iso-8859-1")
    return Answer(body=document, headers={"Content-Type": "application/rss+xml"})


def busy(seconds: int) -> Answer:
    return Answer(status=503, headers={"Retry-After": str(seconds)})


def test_a_busy_webhook_is_asked_again_when_it_said_and_gets_the_digest_under_the_same_key(
    web: Web, mesh: VirtualMesh, ledger: str
) -> None:
    source, hook = web.on("/rss.xml", feed()), web.on("/hook", busy(120), Answer(status=200))
    started = mesh.now
    sent = mesh.run(sample.rss_digest(source, hook, ledger))
    assert sent == sample.Sent(feed="Ships & Squids", items=4)
    first, second = web.posts("/hook")
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert timedelta(seconds=120) <= mesh.now - started < timedelta(seconds=125)
    assert (
        first.json()
        == second.json()
        == {
            "feed": "Ships & Squids",
            "text": "Ships & Squids: 4 new\n"
            'Giant squid & the "Nautilus" http://ships.example/nautilus?a=1&b=2\n'
            "Café fish\u2019s: AT&T < 5 http://ships.example/cafe\n"
            f"No guid here {web.url('/no-guid')}\n"
            "(untitled)",
            "items": [
                {
                    "id": "urn:ship:1",
                    "title": 'Giant squid & the "Nautilus"',
                    "link": "http://ships.example/nautilus?a=1&b=2",
                    "published": "2026-03-01T10:00:00Z",
                },
                {
                    "id": "http://ships.example/cafe",
                    "title": "Café fish\u2019s: AT&T < 5",
                    "link": "http://ships.example/cafe",
                    "published": None,
                },
                {
                    "id": web.url("/no-guid"),
                    "title": "No guid here",
                    "link": web.url("/no-guid"),
                    "published": "2026-02-28T09:30:00Z",
                },
                {
                    "id": first.json()["items"][3]["id"],
                    "title": "(untitled)",
                    "link": None,
                    "published": None,
                },
            ],
        }
    )


def test_what_was_sent_is_not_sent_again_and_what_is_new_is(web: Web, mesh: VirtualMesh, ledger: str) -> None:
    source, hook = web.on("/rss.xml", feed(), feed(), feed(LATER)), web.on("/hook", Answer())
    call = sample.rss_digest(source, hook, ledger)
    assert [mesh.run(call).items for _ in range(4)] == [4, 0, 1, 0]
    assert [[item["title"] for item in post.json()["items"]] for post in web.posts("/hook")][1:] == [["Later"]]


def test_a_webhook_that_refuses_fails_the_run_at_once_and_the_next_run_sends_its_items(
    web: Web, mesh: VirtualMesh, ledger: str
) -> None:
    source, hook = web.on("/rss.xml", feed()), web.on("/hook", Answer(status=410, body=b"gone"), Answer())
    call = sample.rss_digest(source, hook, ledger)
    with pytest.raises(RunFailed, match="410 Gone") as failed:
        mesh.run(call)
    assert failed.value.failure.matches(HttpRefused)
    assert failed.value.rollback.outcome == "clean"
    assert [entry.step for entry in failed.value.rollback.undone] == ["take_unsent"]
    assert len(web.posts("/hook")) == 1
    assert mesh.run(call).items == 4


def test_a_restart_while_the_webhook_is_busy_repeats_nothing(web: Web, mesh: VirtualMesh, ledger: str) -> None:
    source, hook = web.on("/rss.xml", feed()), web.on("/hook", busy(60), Answer())
    handle = mesh.start(sample.rss_digest(source, hook, ledger))
    asked_at = mesh.now
    mesh.drain()
    mesh.restart()
    mesh.advance(asked_at + timedelta(seconds=59))
    assert len(web.posts("/hook")) == 1
    mesh.advance(asked_at + timedelta(seconds=60))
    assert handle.result().items == 4
    assert [asked.path for asked in web.asked] == ["/rss.xml", "/hook", "/hook"]


def test_an_answer_that_is_lost_with_its_worker_is_asked_for_again_under_the_same_key(
    web: Web, mesh: VirtualMesh, ledger: str
) -> None:
    source, hook = web.on("/rss.xml", feed()), web.on("/hook", busy(60), Answer())
    handle = mesh.start(sample.rss_digest(source, hook, ledger))
    mesh.drain()
    mesh.restart(lose="outcome")
    assert handle.result().items == 4
    assert len(web.posts("/hook")) == 3
    assert len({post.headers["idempotency-key"] for post in web.posts("/hook")}) == 1


@pytest.mark.parametrize("page", [b"<html><body>Welcome</body></html>", b"", b"/etc/hostname", b"{}"])
def test_a_page_that_is_no_feed_fails_the_run_at_once(web: Web, mesh: VirtualMesh, ledger: str, page: bytes) -> None:
    source, hook = web.on("/rss.xml", Answer(body=page)), web.on("/hook", Answer())
    with pytest.raises(RunFailed, match="is not a feed") as failed:
        mesh.run(sample.rss_digest(source, hook, ledger))
    assert failed.value.failure.matches(GiveUp)
    assert [asked.path for asked in web.asked] == ["/rss.xml"]


def test_from_the_command_line_it_goes_on_after_a_kill(web: Web, tmp_path: Path) -> None:
    source, hook = web.on("/rss.xml", feed()), web.on("/hook", busy(2), Answer())
    command = [sys.executable, str(ROOT / "samples/rss_digest/main.py"), source, hook, "--key", "today"]
    settings = {**os.environ, "SQUIDMESH_LEASE": "2", "SQUIDMESH_SWEEP": "0.2"}
    with subprocess.Popen(command, cwd=tmp_path, env=settings) as killed:
        try:
            web.wait_for_posts("/hook", 1)
        finally:
            killed.kill()
    again = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True, timeout=60)
    assert (again.returncode, again.stdout) == (0, "Ships & Squids: 4 new, sent\n"), again.stderr
    assert len([asked for asked in web.asked if asked.path == "/rss.xml"]) == 1
    assert len({post.headers["idempotency-key"] for post in web.posts("/hook")}) == 1
    once_more = subprocess.run(command[:-2], cwd=tmp_path, env=settings, capture_output=True, text=True, timeout=60)
    assert (once_more.returncode, once_more.stdout) == (0, "Ships & Squids: nothing new\n"), once_more.stderr


def test_from_the_command_line_a_failure_is_told_in_words(web: Web, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "samples/rss_digest/main.py"), web.url("/none"), web.url("/hook")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "404 Not Found" in done.stderr
    assert "Traceback" not in done.stderr
