"""How a model is served with what is on the disk, and what a changed models file changes."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ai_core.catalog.engine_choice import EngineDecision, Machine
from ai_core.catalog.facts import FileFacts
from ai_core.catalog.models import ModelEntry, UpstreamEntry
from ai_core.catalog.models_file import parse_models_file
from ai_core.catalog.models_shape import Model
from ai_core.catalog.plan import ModelPlan, changes_between, plan_of
from ai_core_service import DEMO_MODEL, ROOT

EXAMPLE = ROOT / "config/models.example.json"
README = (ROOT / "services/ai-core/README.md").read_text(encoding="utf-8")
MACHINE = Machine(openvino=True)
DECISION = EngineDecision("llama.cpp", "The test says so.")

plans = st.dictionaries(st.sampled_from("abcde"), st.integers(0, 2)).map(
    lambda sizes: {
        name: ModelPlan(ModelEntry(name, Path(name)), None, FileFacts(size=size), DECISION)
        for name, size in sizes.items()
    }
)


def test_a_file_that_is_here_is_looked_at() -> None:
    plan = plan_of(ModelEntry("m", DEMO_MODEL), MACHINE, 8)
    assert (plan.path, plan.facts.architecture, plan.absent) == (DEMO_MODEL, "qwen3", False)
    assert plan.decision.engine == "openvino"
    assert plan_of(ModelEntry("m", DEMO_MODEL, max_sequences=1), MACHINE, 8).decision.engine == "llama.cpp"


def test_a_file_that_is_not_here_is_absent_and_a_remote_model_never_is(tmp_path: Path) -> None:
    assert plan_of(ModelEntry("m", tmp_path / "none.gguf"), MACHINE, 8).absent
    far = ModelEntry("m", Path(), type="remote", upstream=UpstreamEntry("http://10.0.0.2/v1"))
    assert not plan_of(far, MACHINE, 8).absent


@given(plans, plans)
def test_every_model_is_told_once_and_rightly(
    before: dict[str, ModelPlan], after: dict[str, ModelPlan]
) -> None:
    changes = changes_between(before, after.values())
    assert set(changes.added) == after.keys() - before.keys()
    assert set(changes.removed) == before.keys() - after.keys()
    assert sorted((*changes.changed, *changes.unchanged)) == sorted(before.keys() & after.keys())
    assert all(before[name] != after[name] for name in changes.changed)
    assert all(before[name] == after[name] for name in changes.unchanged)


def test_another_entry_for_the_same_file_is_a_change() -> None:
    plan = ModelPlan(ModelEntry("m", Path("m")), None, FileFacts(), DECISION)
    other = replace(plan, entry=replace(plan.entry, keep_alive=3.0))
    assert changes_between({"m": plan}, [other]).changed == ("m",)


def test_the_example_is_a_models_file_and_each_of_its_models_is_explained() -> None:
    catalog = parse_models_file(EXAMPLE.read_bytes(), Path("var/models"))
    assert {entry.name for entry in catalog.entries} >= {"mistral-7b-instruct", "qwen3-1.7b"}
    section = README.split("\n## The models file\n")[1].split("\n## ")[0]
    assert [entry.name for entry in catalog.entries if f"\n* `{entry.name}`" not in section] == []


def test_every_field_is_explained() -> None:
    section = README.split("\n## The models file\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE)
    explained = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert Model.model_fields.keys() - explained - {"adapter"} == set()
    assert "`adapter`: the path of a single one" in section
