"""What is new in a feed goes to a webhook, every item once: fetch, take what nobody has sent, post.

    python samples/rss_digest/main.py FEED_URL WEBHOOK_URL

Each step is stored before and after it runs. Kill this program while the webhook is down, start it again with
the same ``--key``, and it goes on where it was: the feed is not fetched again, and none is forgotten. Killed
between the webhook's answer and its record, it posts once more, under the same ``Idempotency-Key``.
"""

from __future__ import annotations

import argparse
import io
import sqlite3
import sys
from calendar import timegm
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import feedparser
from pydantic import BaseModel

from squidmesh import Flow, GiveUp, Mesh, MeshError, Retry, context, step, workflow
from squidmesh.tools import http


class Item(BaseModel):
    id: str
    title: str
    link: str | None = None
    published: datetime | None = None


class Feed(BaseModel):
    title: str
    items: list[Item]


class Sent(BaseModel):
    feed: str
    items: int


@workflow
def rss_digest(feed_url: str, webhook_url: str, ledger: str) -> Flow[Sent]:
    feed = yield from fetch_feed(feed_url)
    fresh = yield from take_unsent(feed_url, feed.items, ledger)
    if fresh:
        yield from post_digest(webhook_url, feed.title, fresh)  # should it fail, what was taken is given back
    return Sent(feed=feed.title, items=len(fresh))


@step(pure=True, retry=Retry(max_attempts=5, initial=2, maximum=60), timeout=60)
def fetch_feed(url: str) -> Feed:
    """The feed as it is now."""
    answer = http.get(url, follow_redirects=True)
    # A stream, never the bytes themselves: those feedparser would open as a file, if they name one.
    parsed = feedparser.parse(
        io.BytesIO(answer.content),
        response_headers={
            "content-type": answer.headers.get("content-type", "application/xml"),
            "content-location": answer.url,  # what relative links are relative to
        },
    )
    if not parsed.get("version"):
        raise GiveUp(f"{answer.url} is not a feed (it begins: {answer.text[:60]!r})")
    return Feed(title=_plain(parsed.feed, answer.url), items=[_item(entry) for entry in parsed.entries])


@step(retry=Retry(max_attempts=5))
def take_unsent(feed_url: str, items: list[Item], ledger: str) -> list[Item]:
    """Those of the items that no other run has taken. Asked again by this run, it gives the same ones."""
    run = context().run_id
    with _open(ledger) as db:
        rows = [(feed_url, item.id, run) for item in items]
        db.executemany("INSERT INTO taken (feed, item, run) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", rows)
        mine = {item for (item,) in db.execute("SELECT item FROM taken WHERE run = ?", (run,))}
    return list({item.id: item for item in items if item.id in mine}.values())


@take_unsent.undo
def give_back(taken: list[Item], feed_url: str, items: list[Item], ledger: str) -> None:
    """Undelivered: leaves what this run took to later ones."""
    with _open(ledger) as db:
        db.execute("DELETE FROM taken WHERE run = ?", (context().run_id,))


@step(retry=Retry(max_attempts=8, initial=2, maximum=300), timeout=60)
def post_digest(webhook_url: str, title: str, items: list[Item]) -> None:
    """One message with all the items. A webhook that is busy says when to come back, and is obeyed."""
    lines = [f"{item.title} {item.link or ''}".rstrip() for item in items]
    digest = {
        "feed": title,
        "text": "\n".join([f"{title}: {len(items)} new", *lines]),
        "items": [item.model_dump(mode="json") for item in items],
    }
    http.post(webhook_url, json=digest)


@contextmanager
def _open(ledger: str) -> Iterator[sqlite3.Connection]:
    """The application's own table, in one transaction."""
    with closing(sqlite3.connect(ledger, timeout=30)) as db, db:
        columns = "feed TEXT, item TEXT, run TEXT, PRIMARY KEY (feed, item)"
        db.execute(f"CREATE TABLE IF NOT EXISTS taken ({columns})")
        yield db


def _item(entry: Any) -> Item:
    link = entry.get("link")
    title = _plain(entry, "(untitled)")
    dates = (entry[name] for name in ("published_parsed", "updated_parsed") if name in entry)
    date = next((date for date in dates if date is not None), None)
    unnamed = sha256(f"{title}\n{entry.get('summary', '')}".encode()).hexdigest()
    return Item(
        id=entry.get("id") or link or unnamed,
        title=title,
        link=link,
        published=None if date is None else datetime.fromtimestamp(timegm(date), UTC),
    )


def _plain(titled: Any, default: str) -> str:
    """The title as one line of plain text, at most 200 characters: in a feed it may be HTML."""
    title = titled.get("title", "")
    if title and titled.title_detail.type != "text/plain":
        text = _Text()
        text.feed(title)
        text.close()
        title = "".join(text.pieces)
    return " ".join(title.split())[:200] or default


class _Text(HTMLParser):
    """Keeps what stands between the tags."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("feed", help="URL of an RSS or Atom feed")
    options.add_argument("webhook", help="URL that takes the digest as a JSON POST")
    options.add_argument("--key", help="runs with the same key are one run, such as the day's")
    options.add_argument("--database", default="sqlite:///rss_digest.db", help="where runs are stored")
    options.add_argument("--ledger", default="rss_digest_sent.db", help="SQLite file of what was sent")
    given = options.parse_args()
    with Mesh(given.database) as mesh:
        try:
            call = rss_digest(given.feed, given.webhook, str(Path(given.ledger).resolve()))
            sent = mesh.run(call, key=given.key)
        except MeshError as error:
            print(error, file=sys.stderr)
            return 1
    print(f"{sent.feed}: {sent.items} new, sent" if sent.items else f"{sent.feed}: nothing new")
    return 0


if __name__ == "__main__":
    sys.exit(main())
