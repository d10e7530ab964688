"""What operators see and do, through the door and by command; several instances share the work."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from mail_core import Failure, Says, scripted_core
from mail_servers import somebody
from mail_service.accounts import accounts_of
from mail_service.config import Settings
from running_service import PostOffice, question
from servicekit.settings import SettingsError

PATHS = ("counters", "queue", "dead-letters", "mails/1", "mails/1/letter")
ORDERS = ("pause", "resume", "dead-letters/1/requeue", "export", "forget")


async def test_nothing_opens_without_the_key(post_office: PostOffice) -> None:
    async with scripted_core() as core, post_office.service(core.url) as running:
        for key in (None, "", "a guess", "an admin key of the test"):
            for path in PATHS:
                assert (await running.get(f"/admin/{path}", key)).status_code == 403
            for path in ORDERS:
                assert (await running.post(f"/admin/{path}", {"address": "a@b"}, key)).status_code == 403
            assert (await running.delete("/admin/dead-letters/1", key)).status_code == 403
        for path in ("/livez", "/readyz", "/metrics"):
            assert (await running.get(path, None)).status_code == 200
    async with scripted_core() as core, post_office.service(core.url, ADMIN_KEY="") as running:
        assert (await running.get("/admin/counters", "")).status_code == 403
        assert (await running.get("/admin/counters")).status_code == 403


async def test_a_mails_way_is_told_with_every_rule(post_office: PostOffice) -> None:
    anne = somebody()
    async with scripted_core() as core, post_office.service(core.url) as running:
        post_office.send(question(anne, post_office.address), anne)
        await post_office.answers(anne)
        await running.settled()
        mail = (await running.get("/admin/mails/1")).json()
        steps = [step["step"] for step in mail["way"]]
        assert steps == ["received", "decided", "written", "sent", "copied", "marked"]
        rules = dict(mail["way"][1]["rules"])
        assert rules["spam"] == "passed"
        assert rules["verdict"] == "aligned"
        assert anne not in json.dumps(mail)
        assert "durée" not in json.dumps(mail)
        letter = (await running.get("/admin/mails/1/letter")).json()
        assert [one["from_us"] for one in letter] == [False, True]
        assert "durée" in letter[0]["text"]
        assert (await running.get("/admin/mails/99")).status_code == 404
        assert (await running.post("/admin/dead-letters/1/requeue")).status_code == 404
        assert (await running.get("/admin/queue?limit=0")).status_code == 422


ONE_AFTER_THE_OTHER = """
import json, sys
from mail_service.cli import command
for words in json.load(sys.stdin):
    status = command(words)
    print("\\x1e", status, "\\x1e", sep="", flush=True)
"""
"""As so many processes, of which each would take seconds to begin."""


async def _commands(post_office: PostOffice, *lines: str) -> list[tuple[int, str]]:
    """Exit status and output of each."""
    environment = post_office.settings("http://127.0.0.1:9") | {"PATH": os.environ["PATH"]}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ONE_AFTER_THE_OTHER),
        env=environment,
        cwd=post_office.folder,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    told, errors = await process.communicate(json.dumps([line.split() for line in lines]).encode())
    assert b"Traceback" not in errors, errors.decode()
    parts = told.decode().split("\x1e")
    return [(int(status), output) for output, status in zip(parts[0::2], parts[1::2], strict=False)]


async def test_operators_do_the_same_by_command(post_office: PostOffice) -> None:
    anne = somebody()
    async with scripted_core() as core, post_office.service(core.url) as running:
        post_office.send(question(anne, post_office.address), anne)
        await post_office.answers(anne)
        await running.settled()
    shown = post_office.folder / "preview.html"
    done = await _commands(
        post_office,
        *("pause", "counters", "resume", "counters", "queue"),
        *("mail 1 --text", "mail 7", "dead-letters", "dead-letters drop 1"),
        *(f"export {anne}", f"forget {anne}", f"export {anne}", f"preview {shown} --language en"),
    )
    assert [status for status, _ in done] == [0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0]
    told = [output for _, output in done]
    assert json.loads(told[1])["paused_since"]
    assert json.loads(told[3])["paused_since"] is None
    assert json.loads(told[4]) == json.loads(told[7]) == []
    assert "durée" in json.loads(told[5])["written"][0]["text"]
    assert len(json.loads(told[9])["mails"]) == 2
    assert json.loads(told[10]) == {"deleted": 2}
    assert json.loads(told[11])["mails"] == []
    assert "overtime" in shown.read_text()


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_two_instances_answer_each_mail_once(
    request: pytest.FixtureRequest, post_office: PostOffice, database: str
) -> None:
    if database == "postgresql":
        post_office.database_url = request.getfixturevalue("postgres_url")
    people = [somebody() for _ in range(6)]
    async with (
        scripted_core() as core,
        post_office.service(core.url) as one,
        post_office.service(core.url) as two,
    ):
        for person in people:
            post_office.send(question(person, post_office.address), person)
        await one.arrived(len(people))
        await two.settled()
        assert sum(watcher.holding for each in (one, two) for watcher in each.service.watchers) == 1
        told = [(await each.get("/metrics")).text for each in (one, two)]
        assert sum('neo_mail_mailbox_connected{mailbox="imap"} 1.0' in page for page in told) == 1
        assert sum('neo_mail_mailbox_connected{mailbox="imap"} 0.0' in page for page in told) == 1
    for person in people:
        assert len(post_office.inbox(person)) == 1
    assert len(core.asked) == len(people)


async def test_what_was_given_up_is_put_back_or_dropped_through_the_door(post_office: PostOffice) -> None:
    anne, bob = somebody(), somebody()
    says: dict[str, Says] = {"un": Failure(400, "content_filtered"), "deux": Failure(400, "content_filtered")}

    def script(body: dict[str, str]) -> Says:
        return next((said for word, said in says.items() if f"{word} fois" in body["prompt"]), "Voici.")

    async with scripted_core(script) as core, post_office.service(core.url) as running:
        post_office.send(question(anne, post_office.address, "un fois"), anne)
        await running.arrived(1)
        await running.settled()
        post_office.send(question(bob, post_office.address, "deux fois"), bob)
        await running.arrived(2)
        await running.settled()
        dead = (await running.get("/admin/dead-letters")).json()
        first, second = (one["entry_id"] for one in dead)
        assert all("content_filtered" in one["reason"] for one in dead)
        assert anne not in str(dead)
        says.clear()
        requeued = await running.post(f"/admin/dead-letters/{first}/requeue")
        assert (requeued.status_code, requeued.json()) == (200, {"status": "done"})
        await post_office.answers(anne, 2)
        dropped = await running.delete(f"/admin/dead-letters/{second}")
        assert (dropped.status_code, dropped.json()) == (200, {"status": "done"})
        await running.settled()
        assert (await running.delete(f"/admin/dead-letters/{second}")).status_code == 404
        assert (await running.delete(f"/admin/dead-letters/{first}")).status_code == 404
        assert (await running.get("/admin/dead-letters")).json() == []
        way = (await running.get(f"/admin/mails/{first}")).json()["way"]
        steps = [step["step"] for step in way]
        assert steps[steps.index("dead") :][:2] == ["dead", "requeued"]
        assert steps[-1] == "marked"
    assert len(post_office.inbox(bob)) == 1


def test_several_accounts_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    path = tmp_path / "accounts.json"
    path.write_text(
        json.dumps(
            [
                {
                    "email_address": f"{name}@example.org",
                    "imap_folder": "INBOX,Support",
                    "email_password_file": "password",
                }
                for name in ("one", "two")
            ]
        )
    )
    settings = Settings.load({"ACCOUNTS_PATH": str(path), "IMAP_HOST": "mail.example.org"})
    one, two = accounts_of(settings)
    assert (one.address, two.address) == ("one@example.org", "two@example.org")
    assert one.folders == ("INBOX", "Support")
    assert one.password is not None
    assert one.password.get_secret_value() == "secret"
    assert one.smtp_host == "mail.example.org"


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '[{"imap_pasword": "x"}]', '[{"email_address": "no address"}]', '[{"imap_host": "x"}]'],
)
def test_a_mistake_in_the_file_of_accounts_is_told(tmp_path: Path, content: str) -> None:
    path = tmp_path / "accounts.json"
    path.write_text(content)
    with pytest.raises(SettingsError) as caught:
        accounts_of(Settings.load({"ACCOUNTS_PATH": str(path)}))
    assert caught.value.lines
