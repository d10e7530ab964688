"""Dashboards as files: they say what their descriptions say, and Prometheus understands each question."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

import dashboards

FOLDER = Path(__file__).resolve().parent.parent.parent / "deploy" / "grafana" / "dashboards"


def test_each_dashboard_is_committed_as_it_is_described() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(dashboards.DASHBOARDS)
    for name in dashboards.DASHBOARDS:
        assert (FOLDER / f"{name}.json").read_text() == dashboards.text_of(name), (
            "make dashboards renews them"
        )


@pytest.mark.parametrize("name", sorted(dashboards.DASHBOARDS))
def test_prometheus_understands_each_question(name: str, tmp_path: Path) -> None:
    panels = json.loads((FOLDER / f"{name}.json").read_text())["panels"]
    questions = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    assert len(questions) >= 8
    rules = [{"record": f"question:{number}", "expr": text} for number, text in enumerate(questions)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": name, "rules": rules}]}))
    command = ["promtool", "check", "rules", str(tmp_path / "rules.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", sorted(dashboards.DASHBOARDS))
def test_panels_stand_beside_each_other_not_on_each_other(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboards.dashboard(name)["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= dashboards.WIDTH
        assert not cells & taken, panel["title"]
        taken |= cells
