"""What was kept is back after all was lost, by the commands of deploy/README.md: `make test-deploy-full`."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path

from tests.deploy.docker_engine import ROOT
from tests.deploy.suite.installation import WAIT_SECONDS, Installation, clone
from tests.deploy.suite.post_office import PostOffice
from tests.deploy.suite.program import Program
from tests.deploy.suite.telephone import Telephone

ANNE, BERTHE = 90, 91
PATIENCE = 60.0


def _taken_in(people: Telephone) -> None:
    deadline = time.monotonic() + PATIENCE
    while people.webhook()["pending_update_count"]:
        assert time.monotonic() < deadline, people.webhook()
        time.sleep(0.1)


def _commands(backup: Path, key: Path) -> str:
    """What deploy/README.md says is to be typed on a new machine, after `git clone`."""
    text = (ROOT / "deploy" / "README.md").read_text()
    (block,) = [
        block for block in re.findall(r"```sh\n(.+?)```", text, re.DOTALL) if "age --decrypt" in block
    ]
    clones, *commands = block.splitlines()
    assert clones.startswith("git clone")
    found = "\n".join(commands).replace("neo-….tar.gz.age", str(backup)).replace("key.txt", str(key))
    assert "…" not in found
    return found


def _backed_up(suite: Installation, place: Path) -> tuple[Path, Path]:
    """An encrypted backup and its key, in a place that is not the suite's."""
    key = place / "key"
    subprocess.run(["age-keygen", "-o", key], check=True, capture_output=True)
    recipient = key.read_text().split("public key: ")[1].splitlines()[0]
    inside = (
        "exec",
        "-T",
        "-e",
        f"BACKUP_RECIPIENT={recipient}",
        "backup",
        "sh",
        "/opt/neo-backup/backup.sh",
    )
    made = suite.script("deploy/compose.sh", *inside)
    name = re.findall(r"neo-\S+\.tar\.gz\.age", made)[-1]
    shutil.copy(suite.folder / "deploy" / "backups" / name, place / name)
    return place / name, key


def _lose(suite: Installation, place: Path) -> None:
    """All but what was copied elsewhere. At its path there is a new clone then, with what the tests add."""
    suite.down()
    lost = place / "lost"
    shutil.move(suite.folder, lost)
    suite.folder.mkdir()
    clone(suite.folder)
    for path in lost.iterdir():
        if path.is_file() and path.name != ".env" and not (suite.folder / path.name).exists():
            shutil.copy2(path, suite.folder / path.name)


def test_an_encrypted_backup_brings_an_empty_clone_to_where_the_suite_was(
    suite: Installation, program: Program, people: Telephone, post: PostOffice, tmp_path: Path
) -> None:
    suite.script("deploy/compose.sh", "stop", "ai-core")
    people.say(ANNE, "Bonjour, quelle est la durée du travail ?")
    _taken_in(people)
    backup, key = _backed_up(suite, tmp_path)
    secret = suite.secret("telegram/secret_key")

    _lose(suite, tmp_path)
    assert not (suite.folder / "deploy" / "secrets").exists()
    assert people.answers(ANNE) == []
    print(suite.script("sh", "-ec", _commands(backup, key), WAIT_SECONDS=WAIT_SECONDS))

    assert suite.secret("telegram/secret_key") == secret
    assert program.ask("Bonjour")
    assert len(people.until(ANNE)) == 1
    people.say(BERTHE, "Bonjour, et moi ?")
    assert len(people.until(BERTHE)) == 1
    post.send(BERTHE, "Bonjour, quelle est la durée du travail ?")
    assert len(post.until(BERTHE)) == 1
    assert len(people.answers(ANNE)) == 1
