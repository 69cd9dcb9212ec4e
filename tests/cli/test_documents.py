"""What programs read: every answer of `--json` fits the schema that is pinned in `documents.json`.

A field may be added: run `python -m tests.cli.test_documents` to pin the schema anew, and look at what has changed. One
that goes, or means something else, takes another `schema_version`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner

from squidmesh.cli import documents, squidmesh
from squidmesh.cli.catalogue import COMMANDS
from tests.cli.conftest import Place

PINNED = Path(__file__).with_name("documents.json")
BY = ("--actor", "ada", "--note", "as agreed")

ANSWERS: dict[str, tuple[str, ...]] = {
    "approve": ("Steered", "--key", "approval", *BY),
    "bulk": ("Bulk", "cancel", "--status", "waiting"),
    "cancel": ("Steered", "--key", "retrying", *BY),
    "check": ("Checked", "tests.cli.shop"),
    "doctor": ("Diagnosis",),
    "explain": ("Explained", "--key", "in_doubt"),
    "export": ("Exported", "FILE"),
    "fail": ("Steered", "--key", "past_pivot", *BY),
    "graph": ("GraphDocument", "--key", "failed"),
    "history": ("History", "--key", "failed"),
    "hold": ("Steered", "--key", "sleeping", *BY),
    "prune": ("PrunedDocument", "--older-than", "1w", "--dry-run"),
    "reasons": ("Reasons",),
    "reject": ("Steered", "--key", "approval", *BY),
    "release": ("Steered", "--key", "held", *BY),
    "replay": ("ReplayedDocument", "RECORDED", "tests.cli.shop"),
    "rerun": ("Started", "--key", "failed", *BY),
    "resolve-step": ("Steered", "--key", "in_doubt", "cash_out", "--not-applied", *BY),
    "resume": ("Steered", "--key", "pause", "--payload", "1", *BY),
    "retry-step": ("Steered", "--key", "past_pivot", "notify", *BY),
    "rollback": ("Steered", "--key", "completed", "--dry-run"),
    "runs": ("Runs",),
    "schedules": ("Schedules", "list"),
    "show": ("Run", "--key", "undo_failed"),
    "signal": ("Steered", "--key", "signal", "payment.done"),
    "skip-step": ("Steered", "--key", "past_pivot", "notify", "--value", '"mailed"', *BY),
    "start": ("Started", "tests.cli.shop:napping"),
    "status": ("StatusDocument",),
    "terminate": ("Steered", "--key", "sleeping", *BY),
    "timeline": ("Timeline", "--key", "failed"),
    "undo-abandon": ("Steered", "--key", "undo_failed", *BY),
    "undo-mark-done": ("Steered", "--key", "undo_failed", "lend", *BY),
    "undo-retry": ("Steered", "--key", "undo_failed", "lend", *BY),
    "undo-skip": ("Steered", "--key", "undo_failed", *BY),
    "watch": ("Run", "--key", "completed"),
    "workers": ("Workers",),
}
SILENT = {"completion", "demo", "migrate", "worker"}
"""Commands that programs have nothing to read from."""
NO_DATABASE = {"replay"}
UNWELL = {"doctor": 1}


def schemas() -> dict[str, Any]:
    """The JSON schema of each document, without what is only for people."""
    found = {
        name: _bare(value.model_json_schema(mode="serialization"))
        for name, value in vars(documents).items()
        if isinstance(value, type) and issubclass(value, documents.Document) and value is not documents.Document
    }
    return dict(sorted(found.items()))


def _bare(schema: Any) -> Any:
    """A schema without titles and descriptions (a property may be called so)."""
    if isinstance(schema, list):
        return [_bare(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    bare = {}
    for name, part in schema.items():
        if name in ("title", "description") and isinstance(part, str):
            continue
        if name in ("properties", "$defs"):
            bare[name] = {key: _bare(value) for key, value in sorted(part.items())}
        else:
            bare[name] = _bare(part)
    return bare


def test_the_schema_of_every_document_is_the_pinned_one() -> None:
    assert schemas() == json.loads(PINNED.read_text()), "see the docstring of this file"


def test_every_command_that_reads_or_steers_answers_programs() -> None:
    assert set(ANSWERS) | SILENT == set(COMMANDS)


@pytest.mark.parametrize("command", sorted(ANSWERS))
def test_the_answer_of_a_command_fits_its_schema(command: str, place: Place, tmp_path: Path) -> None:
    document, *arguments = ANSWERS[command]
    recorded = tmp_path / "recorded.json"
    if "RECORDED" in arguments:
        place.ask("export", str(recorded), "--run", place.ids["completed"])
    swapped = {"FILE": str(tmp_path / "runs.jsonl"), "RECORDED": str(recorded)}
    typed = [command, *(swapped.get(argument, argument) for argument in arguments)]
    if command in NO_DATABASE:
        answer = json.loads(CliRunner().invoke(squidmesh, [*typed, "--json"]).stdout)
    else:
        answer = place.read(*typed, code=UNWELL.get(command, 0))
    jsonschema.validate(answer, json.loads(PINNED.read_text())[document])
    assert answer["schema_version"] == 1


@pytest.mark.parametrize(
    ("document", "arguments"),
    [
        ("Counted", ("runs", "--counts")),
        ("Schedule", ("schedules", "show", "nightly")),
        ("Schedule", ("schedules", "pause", "nightly")),
        ("Schedule", ("schedules", "trigger", "nightly")),
        ("Schedule", ("schedules", "delete", "nightly")),
    ],
)
def test_the_other_answers_fit_theirs(document: str, arguments: tuple[str, ...], place: Place) -> None:
    jsonschema.validate(place.read(*arguments), json.loads(PINNED.read_text())[document])


if __name__ == "__main__":
    PINNED.write_text(json.dumps(schemas(), indent=1) + "\n")
