from squidmesh import events as ev
from squidmesh.views.published import NEVER, published
from tests.views.facts import started

EVENTS = [
    started(),
    ev.ValuePublished(position="1", name="percent", value=10),
    ev.ValuePublished(position="2", name="other", value="x"),
    ev.ValuePublished(position="3", name="percent", value=20),
]


def test_the_latest_value_under_a_name_counts() -> None:
    assert published(EVENTS, "percent") == 20
    assert published(EVENTS[:3], "percent") == 10


def test_none_can_be_published_and_is_not_never() -> None:
    found = published([ev.ValuePublished(position="1", name="n", value=None)], "n")
    assert found is None


def test_what_was_never_published_is_never() -> None:
    assert published(EVENTS, "nothing") is NEVER
    assert not NEVER
