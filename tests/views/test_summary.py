from datetime import UTC, datetime

from squidmesh.core.payloads import MASK
from squidmesh.core.status import RunStatus
from squidmesh.views.summary import Page, RunSummary, summarise
from tests.views.facts import RUN, at, row


def test_a_summary_says_what_a_list_shows_of_a_run() -> None:
    found = summarise(row(status="waiting", reason="sleeping", attributes={"shop": "sofia"}))
    assert found == RunSummary(
        run_id=RUN, workflow="checkout", version=2, key="o-1", status=RunStatus.WAITING, reason="sleeping",
        attributes={"shop": "sofia"}, created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip


def test_the_reason_of_a_run_that_has_ended_is_its_status() -> None:
    found = summarise(row(status="failed", ended_at=at(1)))
    assert (found.reason, found.ended_at) == ("failed", datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC))


def test_attributes_are_masked() -> None:
    assert summarise(row(attributes={"token": {"$secret": "x"}})).attributes == {"token": MASK}


def test_a_page_is_walked_counted_and_dumped() -> None:
    one = summarise(row())
    page = Page[RunSummary](items=(one,), next=RUN)
    assert list(page) == [one]
    assert len(page) == 1
    assert Page[RunSummary].model_validate_json(page.model_dump_json()) == page


def test_an_empty_page_is_empty_and_the_last() -> None:
    page = Page[RunSummary]()
    assert (list(page), len(page), page.next) == ([], 0, None)
