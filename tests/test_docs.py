"""What the guides in docs/ tell people to type works, top to bottom, and their table of errors is true."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

import ai_core.app  # noqa: F401 - whatever can be raised is known from here on
from ai_core.api.errors import STATUS
from ai_core.api.pull_answers import _ERRORS as PULL_ERRORS
from ai_core.engine.messages import RefusalCode
from ai_core.errors import NeoError
from ai_core_service import DEMO_MODEL, ROOT, Server, running
from telegram_house import open_house

DOCS = ROOT / "docs"
GUIDES = sorted(path.name for path in DOCS.glob("*.md"))
AI_CORE, TELEGRAM = "://127.0.0.1:8000", "http://127.0.0.1:8001"
NEXT = "--- the next block ---"


def text(guide: str) -> str:
    """A guide as it is written."""
    return (DOCS / guide).read_text(encoding="utf-8")


def blocks(guide: str) -> list[tuple[str, str]]:
    """Language and content of all blocks, in their order."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", text(guide), flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder where somebody types, as the guides leave it: with a models file, and the model in place."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "models").mkdir()
    (folder / "models" / "neo-demo.gguf").symlink_to(DEMO_MODEL)
    (models_file,) = (content for language, content in blocks("installing.md") if language == "json")
    (folder / "models.json").write_text(models_file, encoding="utf-8")
    (folder / ".venv").symlink_to(Path(sys.executable).parent.parent)
    return folder


@pytest.fixture(scope="module")
def server(desk: Path) -> Iterator[Server]:
    settings = {
        "MODEL_PATH": "",
        "MODEL_NAME": "",
        "MODEL_CONFIG_PATH": str(desk / "models.json"),
        "MODEL_CACHE_DIR": str(desk / "models"),
        "LOCAL_KEY_PATH": str(desk / "var" / "local.key"),
        "DATABASE_URL": f"sqlite:///{desk}/ai-core.db",
    }
    with running(**settings) as server:
        yield server


def typed(guide: str) -> str:
    """The guide as one script: its shell, and its programs where they stand."""
    script = ["set -euo pipefail"]
    for language, content in blocks(guide):
        if language == "sh":
            script.append(content)
        elif language == "python":
            script.append(f"{sys.executable} - <<'THE_END'\n{content}THE_END")
        else:
            continue
        script.append(f"echo; echo '{NEXT}'")
    return "\n".join(script)


async def run(guide: str, server: Server, desk: Path, **more: str) -> list[str]:
    """What each of a guide's blocks prints, in their order."""
    environ = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": f"sqlite:///{desk}/ai-core.db",
        "NO_PROXY": "127.0.0.1",
    }
    script = typed(guide).replace(AI_CORE, server.url.removeprefix("http"))
    script = script.replace(TELEGRAM, more.get("TELEGRAM_URL", TELEGRAM))
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        script,
        cwd=desk,
        env=environ | more,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complaints = await process.communicate()
    assert process.returncode == 0, f"{said.decode()}\n{complaints.decode()}"
    return said.decode().split(NEXT)[:-1]


def shape(value: Any) -> Any:
    """The names in an answer, without what they hold."""
    return {name: shape(inner) for name, inner in value.items()} if isinstance(value, dict) else None


async def test_the_guide_to_installing(server: Server, desk: Path) -> None:
    answer, reloaded = await run("installing.md", server, desk)
    assert "35 heures" in json.loads(answer)["response"]
    assert '"unchanged":["droit-du-travail"]' in reloaded
    assert '"aliases":["gpt-4o-mini"]' in reloaded


async def test_the_guide_to_keys_and_limits(server: Server, desk: Path) -> None:
    _, answer, left, refused, usage, ended = await run("keys-and-limits.md", server, desk)
    assert json.loads(answer)["model"] == "droit-du-travail"
    (shown,) = (content for language, content in blocks("keys-and-limits.md") if language == "text")
    names = [re.findall(r"(?m)^(x-[a-z-]+):", said.lower()) for said in (left, shown)]
    assert names[0][:3] == names[1]
    seconds = re.search(r"(?i)retry-after: (\d+)", refused)
    assert seconds is not None
    assert 1 <= int(seconds[1]) <= 60
    assert '"rate_limit_exceeded"' in refused
    assert "droit-du-travail" in usage
    assert '"key":"neo_' in ended
    assert '"state":"revoked"' in ended


async def test_the_guide_to_programs(server: Server, desk: Path) -> None:
    _, whole, conversation, sdk, streamed, form, socket, letter = await run("programs.md", server, desk)
    (shown,) = (content for language, content in blocks("programs.md") if language == "json")
    assert shape(json.loads(whole)) == shape(json.loads(shown))
    assert conversation.count('"finish_reason"') == 2
    assert "préavis" in sdk
    assert streamed.strip()
    assert form.strip() in {"contrat", "congés", "salaire", "rupture", "autre"}
    assert {line[0] for line in socket.strip().splitlines() if line[:2] in {"0 ", "1 "}} == {"0", "1"}
    assert json.loads(letter)["suggested_subject"] == "Re: Fin de contrat"


async def test_the_guide_to_webhooks(server: Server, desk: Path, tmp_path: Path) -> None:
    async with open_house(server, tmp_path) as house:
        claire = house.guest()
        assert claire.person.id == 1000
        refused, taken, _, batch = await run(
            "webhooks.md",
            server,
            desk,
            TELEGRAM_URL=house.url,
            WEBHOOK_SECRET=house.settings["WEBHOOK_SECRET"],
        )
        assert refused.split()[0] == "403"
        assert taken.count('{"status":"stored"}') == 2
        (answer,) = await claire.hears()
        assert "CDI" in answer
    assert batch.count('"status_code":200') + batch.count('"status_code": 200') == 2


async def test_the_guide_to_errors(server: Server, desk: Path) -> None:
    refused, answer = await run("errors.md", server, desk)
    (shown,) = (content for language, content in blocks("errors.md") if language == "json")
    assert json.loads(refused) == json.loads(shown)
    assert "SMIC" in answer


def kinds_of(error: type[NeoError]) -> Iterator[type[NeoError]]:
    yield error
    for kind in error.__subclasses__():
        yield from kinds_of(kind)


def status_of(kind: type[NeoError]) -> int:
    return next((STATUS[each] for each in kind.__mro__ if each in STATUS), 500)


def codes_of_the_code() -> set[tuple[str, int]]:
    """Each code with the status that it may have: of classes, where one is raised, and of engines."""
    kinds = {kind.__name__: kind for kind in kinds_of(NeoError)}
    found = {(kind.code, status_of(kind)) for kind in kinds.values()}
    for path in (ROOT / "services/ai-core/src/ai_core").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            kind = kinds.get(ast.unparse(call.func).split(".")[-1]) if isinstance(call, ast.Call) else None
            if isinstance(call, ast.Call) and kind is not None:
                values = [word.value for word in call.keywords if word.arg == "code"]
                words = [part for value in values for part in ast.walk(value)]
                found |= {
                    (word.value, status_of(kind))
                    for word in words
                    if isinstance(word, ast.Constant) and isinstance(word.value, str)
                }
    # An engine whose queue is full is `overloaded` to callers.
    found |= {(code, 400) for code in get_args(RefusalCode) if code != "queue_full"}
    return found | {(code, status_of(kind)) for kind, code in PULL_ERRORS.values()}


def test_the_table_of_errors_is_that_of_the_code() -> None:
    rows = re.findall(r"^\| ([0-9, ]+) \| (`.+?`) \|", text("errors.md"), flags=re.MULTILINE)
    told: dict[str, set[int]] = {}
    for statuses, codes in rows:
        for code in re.findall(r"`(\w+)`", codes):
            assert code not in told, f"{code} stands there twice"
            told[code] = {int(status) for status in statuses.split(",")}
    known: dict[str, set[int]] = {}
    for code, status in codes_of_the_code():
        known.setdefault(code, set()).add(status)
    # One row for what is asked of a route that is not there in one way or the other.
    told["route_not_found"], told["method_not_allowed"] = {404}, {405}
    assert told == known


@pytest.mark.parametrize("guide", GUIDES)
def test_every_door_setting_and_link_of_a_guide_is_there(guide: str) -> None:
    content = text(guide)
    doors = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`|&& )make ([a-z-]+)", content, flags=re.MULTILINE)) <= doors
    known = "".join(
        (ROOT / name).read_text() for name in (".env.example", "docker-compose.yml", "deploy/up.sh")
    )
    for language, block in blocks(guide):
        if language == "ini":
            for name in re.findall(r"^([A-Z_]+)=", block, flags=re.MULTILINE):
                assert re.search(rf"\b{name}\b", known), f"{name} is no setting"
    for script in re.findall(r"\bdeploy/[\w/]+\.sh\b", content):
        assert (ROOT / script).exists(), f"{guide} names {script}"
    for target in re.findall(r"\]\(([^):]+)\)", content):
        file, _, heading = target.partition("#")
        path = (DOCS / file).resolve() if file else DOCS / guide
        assert path.exists(), f"{guide} links to {file}"
        if heading:
            titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


def test_every_guide_is_found_from_the_readme() -> None:
    index = text("README.md")
    assert all(f"]({guide})" in index for guide in GUIDES if guide != "README.md")
    assert "](docs/README.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_what_is_only_shown_is_well_formed() -> None:
    for guide in GUIDES:
        for language, content in blocks(guide):
            assert language in {"sh", "python", "json", "jsonl", "ini", "shell", "text"}
            if language == "json":
                assert json.loads(content)
