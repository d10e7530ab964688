"""Who goes first, several accounts and folders in one service, and how a mailbox is watched and opened."""

from __future__ import annotations

import json
import ssl
from contextlib import AsyncExitStack
from email.message import EmailMessage
from pathlib import Path

from certificates import Certificates
from fault_proxy import Act, Fault, ImapProxy, Script
from mail_core import scripted_core
from mail_servers import PASSWORD, somebody
from running_service import PostOffice, question
from token_server import CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN, TokenServer, served


async def test_what_is_urgent_goes_first(post_office: PostOffice) -> None:
    mayor = somebody()
    settings = {"WORKERS": 1, "URGENT_SENDERS": mayor}
    ordinary = [question(somebody(), post_office.address, f"ordinary {number}") for number in range(3)]
    urgent = [
        question(somebody(), post_office.address, "urgent by header", X_Priority="1 (Highest)"),
        question(mayor, post_office.address, "urgent by sender"),
    ]
    async with scripted_core() as core, post_office.service(core.url, **settings) as running:
        await running.post("/admin/pause")
        for mail in [*ordinary, *urgent]:
            post_office.send(mail, "list@people.test")
        await running.arrived(5)
        assert core.asked == []
        await running.post("/admin/resume")
        await running.settled()
    assert ["urgent by" in core.mail(number) for number in range(5)] == [True, True, False, False, False]


async def test_several_accounts_and_folders_are_answered_each_from_its_own_address(
    post_office: PostOffice, tmp_path: Path
) -> None:
    other, anne = post_office.another(), somebody()
    with post_office.dovecot.open(post_office.address) as client:
        client.create("Support")
        moved = question(anne, post_office.address, "in a folder")
        client.append("Support", "", None, moved.as_bytes())
    accounts = [
        {"email_address": post_office.address, "imap_folder": "INBOX,Support"},
        {"email_address": other.address, "email_password_file": "password"},
    ]
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "accounts.json").write_text(json.dumps(accounts))
    settings = {"ACCOUNTS_PATH": tmp_path / "accounts.json"}
    async with scripted_core() as core, post_office.service(core.url, **settings) as running:
        post_office.send(question(anne, post_office.address, "to the first"), anne)
        other.send(question(anne, other.address, "to the second"), anne)
        answers = await post_office.answers(anne, 3)
        await running.settled()
        parts = (await running.get("/health")).json()["parts"]
    senders = sorted(answer["From"].addresses[0].addr_spec for answer in answers)
    assert senders == sorted([post_office.address, post_office.address, other.address])
    assert {core.mail(number).splitlines()[1] for number in range(3)} == {
        "in a folder",
        "to the first",
        "to the second",
    }
    for office, sent in ((post_office, 2), (other, 1)):
        assert len(office.inbox(office.address, '"Messages sent"')) == sent
    assert "\\Answered" in post_office.dovecot.flags(post_office.address, "Support")[0]
    servers = {"imap_1", "imap_2", "imap_3", "smtp_1", "smtp_2"}
    assert {parts[name]["status"] for name in servers} == {"ok"}


async def test_a_server_without_idle_is_asked_now_and_then(
    post_office: PostOffice, certificates: Certificates
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server, certificates.key)
    without = "* CAPABILITY IMAP4rev1 UIDPLUS\r\n{tag} OK done"
    heard: list[str] = []
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(ImapProxy(post_office.dovecot.port, tls=context))
        faults = tuple(Fault("CAPABILITY", Act.REPLY, without, skip=skip) for skip in range(2))
        proxy.script_of = lambda _: Script(faults)
        proxy.on_command = heard.append
        core = await stack.enter_async_context(scripted_core())
        await stack.enter_async_context(post_office.service(core.url, IMAP_PORT=proxy.port))
        for _ in range(2):
            anne = somebody()
            post_office.send(question(anne, post_office.address), anne)
            await post_office.answers(anne)
    assert "IDLE" not in heard
    assert heard.count("SEARCH") > 2


async def test_tokens_open_the_mailbox_and_send_answers(post_office: PostOffice) -> None:
    anne = somebody()
    tokens = TokenServer(post_office.address, post_office.dovecot.token_key)
    async with scripted_core() as core, served(tokens) as token_url:
        settings = {
            "EMAIL_PASSWORD": "",
            "OAUTH_TOKEN_URL": token_url,
            "OAUTH_CLIENT_ID": CLIENT_ID,
            "OAUTH_CLIENT_SECRET": CLIENT_SECRET,
            "OAUTH_REFRESH_TOKEN": REFRESH_TOKEN,
        }
        async with post_office.service(core.url, **settings) as running:
            post_office.send(question(anne, post_office.address), anne)
            await post_office.answers(anne)
            await running.settled()
    assert tokens.asked == 1
    assert _sent(post_office) == [anne]


def _sent(office: PostOffice) -> list[str]:
    """To whom, by the copies."""
    copies: list[EmailMessage] = office.inbox(office.address, '"Messages sent"')
    return [copy["To"].addresses[0].addr_spec for copy in copies]
