"""What was kept is back after everything was lost, in the real installation: `make test-deploy-full`."""

from __future__ import annotations

import re
import time

from tests.deploy.suite.installation import Installation
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


def test_after_a_wipe_a_restore_brings_keys_and_waiting_messages_back(
    suite: Installation, program: Program, people: Telephone, post: PostOffice
) -> None:
    suite.script("deploy/compose.sh", "stop", "ai-core")
    people.say(ANNE, "Bonjour, quelle est la durée du travail ?")
    _taken_in(people)
    made = suite.script("deploy/compose.sh", "exec", "-T", "backup", "sh", "/opt/neo-backup/backup.sh")
    name = re.findall(r"neo-\S+\.tar\.gz", made)[-1]

    suite.down()
    suite.up()
    assert program.post("Bonjour").status_code == 401
    assert people.answers(ANNE) == []
    print(suite.script("deploy/restore.sh", name))

    assert program.ask("Bonjour")
    assert len(people.until(ANNE)) == 1
    people.say(BERTHE, "Bonjour, et moi ?")
    assert len(people.until(BERTHE)) == 1
    post.send(BERTHE, "Bonjour, quelle est la durée du travail ?")
    assert len(post.until(BERTHE)) == 1
    assert len(people.answers(ANNE)) == 1
