"""The table of reasons, and the page that is made of it."""

from pathlib import Path

from squidmesh.core.status import REASONS, UNSERVED, Reason
from squidmesh.views.reasons import MEANINGS, reasons_page

PAGE = Path(__file__).parents[2] / "docs" / "reasons.md"


def test_every_reason_has_a_meaning() -> None:
    assert set(MEANINGS) == set(Reason)


def test_every_reason_belongs_to_a_status_or_to_any() -> None:
    assert frozenset().union(*REASONS.values()) | UNSERVED == set(Reason)


def test_the_page_is_what_the_code_gives() -> None:
    anew = "from squidmesh.views.reasons import *; print(reasons_page(), end='')"
    assert PAGE.read_text() == reasons_page(), f'write it anew: python -c "{anew}" > docs/reasons.md'


def test_the_page_names_each_reason_once() -> None:
    lines = reasons_page().splitlines()
    assert sorted(line.split("`")[1] for line in lines if line.startswith("| `")) == sorted(Reason)
