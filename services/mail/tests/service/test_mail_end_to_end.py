"""The whole service as it is run: its own process, real mail servers, PostgreSQL, Redis, and a real AI core
with the demo model; its answers are looked at in a real browser."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path

import docx
import httpx
import pytest
from playwright.async_api import Page, Request, async_playwright

from ai_core_service import Server, running
from document_samples import pdf
from mail_servers import somebody
from ports import free_port
from running_service import ADMIN_KEY, PostOffice, question, reply
from workspace_setup import servers as installed

COMMAND = Path(sys.executable).with_name("mail-service")
PATIENCE = 120.0
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
SCREENS = {"phone": (390, 844), "desktop": (1200, 900)}


@pytest.fixture(scope="module")
def core() -> Iterator[Server]:
    with running() as server:
        yield server


@asynccontextmanager
async def service(settings: dict[str, str], folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = settings | {"PATH": os.environ["PATH"]}
    process = await asyncio.create_subprocess_exec(
        COMMAND, "run", env=environment, cwd=folder, stderr=asyncio.subprocess.PIPE
    )
    log: list[bytes] = []
    up = asyncio.Event()

    async def read() -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            log.append(line)
            if b'"serving"' in line:
                up.set()
        up.set()

    reading = asyncio.create_task(read())
    try:
        async with asyncio.timeout(PATIENCE):
            await up.wait()
        if not any(b'"serving"' in line for line in log):
            pytest.fail(b"".join(log).decode())
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()
        await reading
    assert process.returncode in {0, -signal.SIGKILL}, b"".join(log).decode()
    assert b"Traceback" not in b"".join(log), b"".join(log).decode()


def with_files(mail: EmailMessage) -> EmailMessage:
    document = docx.Document()
    document.add_paragraph("Le préavis de démission est de trois mois.")
    content = io.BytesIO()
    document.save(content)
    mail.add_attachment(pdf("Contrat de travail, article 7"), "application", "pdf", filename="contrat.pdf")
    mail.add_attachment(content.getvalue(), "application", "octet-stream", filename="avenant.docx")
    return mail


def plain(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


async def test_a_conversation_of_four_mails_in_french(
    post_office: PostOffice, core: Server, postgres_url: str, redis_url: str, tmp_path: Path
) -> None:
    anne, port = somebody(), free_port()
    office = replace(post_office, database_url=postgres_url)
    settings = office.settings(core.url, AI_API_KEY=core.key, REDIS_URL=redis_url, MAIL_PORT=port)
    async with service(settings, tmp_path):
        mail = question(anne, office.address, "Bonjour,\n\nQuelle est la durée légale du travail ?")
        office.send(mail, anne)
        answers = await office.answers(anne)
        mail = reply(answers[-1], anne, "Merci. Que disent ces documents ?")
        office.send(with_files(mail), anne)
        answers = await office.answers(anne, 2)
        for number, text in enumerate(("Combien de congés payés par an ?", "Qu'est-ce qu'un CDI ?"), start=3):
            office.send(reply(answers[-1], anne, text), anne)
            answers = await office.answers(anne, number)
        async with httpx.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{port}") as http:
            health = (await http.get("/health")).json()
            metrics = (await http.get("/metrics")).text
            counters = (await http.get("/admin/counters", headers={"x-api-key": ADMIN_KEY})).json()
    ids = [answer["Message-ID"] for answer in answers]
    assert answers[3]["References"].split()[1::2] == ids[:3]
    assert {answer["Subject"] for answer in answers} == {"Re: Une question"}
    for answer in answers:
        assert len(plain(answer)) > 200
        assert "Bonjour Anne Martin," in plain(answer)
        assert "Je n'ai pas pu lire" not in plain(answer)
    assert len(office.inbox(office.address, '"Messages sent"')) == 4
    assert {name: part["status"] for name, part in health["parts"].items()} == dict.fromkeys(
        ("database", "ai_core", "queue", "imap", "smtp", "redis"), "ok"
    )
    assert 'neo_mail_steps_total{reason="",step="sent"} 4.0' in metrics
    assert "neo_mail_answer_seconds_count 4.0" in metrics
    assert 'reason="answer",step="decided"} 4.0' in metrics
    assert counters["pending"] == counters["dead"] == 0
    await _look_at(answers[1], tmp_path)


async def _look_at(answer: EmailMessage, folder: Path) -> None:
    """On every screen, in light and dark: all of it is to be seen, and nothing is fetched."""
    html = answer.get_body(("html",))
    assert html is not None
    program = installed.SERVERS["Chromium"]()
    assert program is not None, "Chromium is missing; `make test` installs it"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=FLAGS)
        for screen, (width, height) in SCREENS.items():
            for scheme in ("light", "dark"):
                page = await browser.new_page(
                    viewport={"width": width, "height": height}, color_scheme=scheme
                )
                await _look(page, str(html.get_content()), dark=scheme == "dark")
                await page.screenshot(path=folder / f"answer-{screen}-{scheme}.png", full_page=True)
        await browser.close()


async def _look(page: Page, html: str, *, dark: bool) -> None:
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    page.on("request", note)
    await page.set_content(html)
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert await page.evaluate("document.querySelector('.sheet').offsetWidth") <= 602
    text = await page.evaluate("getComputedStyle(document.querySelector('.inside')).color")
    assert text == ("rgb(228, 234, 240)" if dark else "rgb(28, 39, 51)")
    assert asked == []


async def test_a_killed_service_goes_on_where_it_was(
    post_office: PostOffice, core: Server, tmp_path: Path
) -> None:
    anne = somebody()
    settings = post_office.settings(core.url, AI_API_KEY=core.key, MAIL_PORT=free_port())
    async with service(settings, tmp_path) as process:
        post_office.send(question(anne, post_office.address, "Bonjour"), anne)
        await post_office.answers(anne)
        process.kill()
        await process.wait()
    post_office.send(question(anne, post_office.address, "Qui es-tu ?"), anne)
    async with service(settings, tmp_path):
        await post_office.answers(anne, 2)


WRONG = (
    ({"EMAIL_ADDRESS": ""}, "EMAIL_ADDRESS is missing"),
    ({"EMAIL_PASSWORD": ""}, "EMAIL_PASSWORD is missing"),
    ({"BRAND_PATH": "/nowhere.json"}, "BRAND_PATH"),
    ({"DKIM_KEY_PATH": "/nowhere.pem"}, "DKIM_KEY_PATH"),
    ({"PROMPTS_PATH": "/nowhere"}, "PROMPTS_PATH"),
    ({"MAX_MAIL_AGE_DAYS": "90"}, "RETENTION_DAYS"),
    ({"DATABASE_URL": "oracle://x"}, "DATABASE_URL"),
    ({"ACCOUNTS_PATH": "/nowhere.json"}, "ACCOUNTS_PATH"),
)
ONE_AFTER_THE_OTHER = """
import json, os, sys
from mail_service.cli import command
for environment in json.load(sys.stdin):
    os.environ.clear()
    os.environ.update(environment)
    status = command(["run"])
    print("\\x1e", status, "\\x1e", sep="", file=sys.stderr, flush=True)
"""
"""As so many processes, of which each would take seconds to begin."""


async def test_what_is_wrong_is_said_in_one_sentence(post_office: PostOffice, tmp_path: Path) -> None:
    right = post_office.settings("http://127.0.0.1:9") | {"PATH": os.environ["PATH"]}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ONE_AFTER_THE_OTHER),
        env=right,
        cwd=tmp_path,
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate(json.dumps([right | wrong for wrong, _ in WRONG]).encode())
    said = errors.decode().split("\x1e")
    assert "Traceback" not in errors.decode()
    assert said[1::2] == ["2"] * len(WRONG)
    for (wrong, told), sentence in zip(WRONG, said[0::2], strict=False):
        assert told in sentence, wrong
