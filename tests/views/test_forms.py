"""The JSON form of each view is on record: a change of one is seen here, and is meant or is none.

To record a change that is meant: ``python -m tests.views.test_forms`` (and raise ``schema_version``, where a field goes
or means something else).
"""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from squidmesh.views.explanation import Explanation
from squidmesh.views.graph import Graph
from squidmesh.views.run import RunView
from squidmesh.views.summary import Counts, Page, RunSummary
from squidmesh.views.timeline import TimelineEntry
from squidmesh.views.workers import WorkerView

RECORDED = Path(__file__).with_name("forms.json")
VIEWS: dict[str, type[BaseModel]] = {
    "RunView": RunView, "Explanation": Explanation, "Graph": Graph, "TimelineEntry": TimelineEntry,
    "RunSummary": RunSummary, "Page": Page[RunSummary], "Counts": Counts, "WorkerView": WorkerView,
}  # fmt: skip


def form(view: type[BaseModel]) -> Any:
    """Its JSON schema, without prose."""
    return _bare(view.model_json_schema(mode="serialization"))


def _bare(schema: Any) -> Any:
    match schema:
        case dict():
            return {name: _bare(value) for name, value in schema.items() if name not in ("description", "title")}
        case list():
            return [_bare(value) for value in schema]
        case _:
            return schema


@pytest.mark.parametrize("name", VIEWS)
def test_the_form_of_a_view_is_the_one_on_record(name: str) -> None:
    assert form(VIEWS[name]) == json.loads(RECORDED.read_text())[name]


@pytest.mark.parametrize("name", VIEWS)
def test_every_view_says_which_form_it_has(name: str) -> None:
    assert VIEWS[name].model_fields["schema_version"].default == 1


if __name__ == "__main__":
    forms = {name: form(view) for name, view in VIEWS.items()}
    RECORDED.write_text(json.dumps(forms, indent=1, sort_keys=True) + "\n")
