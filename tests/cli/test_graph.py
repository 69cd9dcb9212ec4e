"""A run drawn: as text, as Mermaid, as SVG, as JSON."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from tests.cli.conftest import Place


def test_a_graph_is_drawn_as_text(either: Place) -> None:
    lines = either.ask("graph", "--key", "failed").stdout.splitlines()
    assert lines[0] == f"checkout {either.ids['failed']} (failed)"
    assert any("undo of take_card" in line for line in lines)


def test_a_graph_is_printed_as_mermaid(place: Place) -> None:
    assert place.ask("graph", "--key", "failed", "--mermaid").stdout.startswith("flowchart TD\n")


def test_a_graph_is_written_as_svg(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "run.svg"
    assert place.ask("graph", "--key", "failed", "--svg", str(file)).stdout == f"written: {file}\n"
    assert ElementTree.parse(file).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert place.ask("graph", "--key", "failed", "--svg", "-").stdout.strip() == file.read_text().strip()


def test_a_file_that_cannot_be_written_is_a_line(place: Place, tmp_path: Path) -> None:
    said = place.ask("graph", "--key", "failed", "--svg", str(tmp_path / "none" / "run.svg"), code=1)
    assert said.stderr.startswith(f"squidmesh: {tmp_path}")


def test_a_graph_is_json_for_programs(place: Place) -> None:
    graph = place.read("graph", "--key", "failed")["graph"]
    assert {node["kind"] for node in graph["nodes"]} >= {"start", "step", "rollback", "undo", "end"}


def test_one_form_is_asked_for_at_a_time(place: Place) -> None:
    place.ask("graph", "--key", "failed", "--mermaid", "--json", code=2)
