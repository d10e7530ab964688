"""The emulator's page in a real browser, with the real service behind it: what newcomers see."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright, expect
from tests.emulators.telegram.page import add_page
from tests.emulators.telegram.world import Chat, Person

from ai_core_service import Server, running
from ports import free_port
from telegram_server import TOKEN, TelegramServer, telegram_server
from workspace_setup import servers as installed

COMMAND = Path(sys.executable).with_name("telegram-service")
PATIENCE = 60.0
ANNE, BOB, GROUP = 42, 43, -1001
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


@pytest.fixture(scope="module")
def core() -> Iterator[Server]:
    with running(ENGINE_BACKEND="scripted", MODEL_NAME="scripted") as server:
        yield server


@pytest.fixture
async def telegram() -> AsyncIterator[TelegramServer]:
    async with telegram_server(also=add_page) as server:
        server.world.add_person(Person(ANNE, "Anne", "fr"))
        server.world.add_person(Person(BOB, "Bob", "en"))
        server.world.add_group(Chat(GROUP, "supergroup", "Bureau"))
        yield server


@pytest.fixture
async def page(telegram: TelegramServer) -> AsyncIterator[Page]:
    program = installed.SERVERS["Chromium"]()
    assert program is not None, "Chromium is missing; `make test` installs it"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=FLAGS)
        page = await browser.new_page(viewport={"width": 390, "height": 844}, locale="fr-FR")
        page.set_default_timeout(PATIENCE * 1000)
        expect.set_options(timeout=PATIENCE * 1000)
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        await page.goto(telegram.url)
        yield page
        # The events of the chat never end: they would keep the emulator up.
        await browser.close()
    assert wrong == []


@pytest.fixture
async def service(telegram: TelegramServer, core: Server, tmp_path: Path) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        COMMAND,
        "run",
        env={
            "PATH": os.environ["PATH"],
            "TELEGRAM_BOT_TOKEN": TOKEN,
            "TELEGRAM_API_URL": telegram.url,
            "TELEGRAM_PORT": str(free_port()),
            "AI_API_URL": core.url,
            "AI_API_KEY": core.key,
            "DATABASE_URL": f"sqlite:///{tmp_path}/telegram.db",
            "SECRET_KEY": "a secret of the tests",
            "LOG_LEVEL": "warning",
        },
        cwd=tmp_path,
    )
    yield
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0


@pytest.mark.usefixtures("service")
async def test_somebody_chats_with_the_bot_in_the_browser(page: Page, telegram: TelegramServer) -> None:
    await page.get_by_role("button", name="Démarrer").click()
    bot = page.locator("li.theirs")
    await expect(bot.first).to_contain_text("Neo")
    await page.get_by_label("Message").fill("Qu'est-ce qu'un préavis ? [[slow 150]] [[30]]")
    await page.keyboard.press("Enter")
    answer = bot.nth(1)
    # It comes bit by bit …
    unfinished = re.compile("…$")
    await expect(answer.locator(".text")).to_have_text(unfinished)
    # … and then whole.
    await expect(answer.locator(".text")).not_to_have_text(unfinished)
    assert len(telegram.world.from_bot(ANNE)[-1].versions) > 1
    await page.get_by_role("button", name="Commandes").click()
    await page.get_by_role("button", name="/settings").click()
    await page.get_by_role("button", name="Court").click()
    await expect(page.get_by_role("button", name="✓ Court")).to_be_visible()
    await page.locator("#file").set_input_files(
        {"name": "note.txt", "mimeType": "text/plain", "buffer": b"Le contrat commence lundi."}
    )
    await expect(page.locator("li.mine .file")).to_contain_text("note.txt")
    await expect(bot.nth(3)).to_be_visible()
    await page.get_by_label("Message").fill("/export")
    await page.keyboard.press("Enter")
    async with page.expect_download() as coming:
        await bot.locator(".file").click()
    assert (await coming.value).suggested_filename.endswith(".json")


async def test_what_a_message_may_hold_is_shown(page: Page, telegram: TelegramServer) -> None:
    text = "𝕏 gras et code\ncité\nprint(1)\nsecret lien <b>"
    kinds = [
        ("bold", "gras"),
        ("code", "code"),
        ("blockquote", "cité"),
        ("pre", "print(1)"),
        ("spoiler", "secret"),
        ("text_link", "lien"),
    ]
    entities = [
        {"type": kind, "offset": len(text[: text.index(part)].encode("utf-16-le")) // 2, "length": len(part)}
        | ({"url": "https://example.org/"} if kind == "text_link" else {})
        for kind, part in kinds
    ]
    sent = telegram.world.send({"chat_id": ANNE, "text": text, "entities": entities})
    tags = ("strong", "code", "blockquote", "pre", ".spoiler", "a")
    for tag, (_, part) in zip(tags, kinds, strict=True):
        await expect(page.locator(f"li.theirs .text {tag}")).to_have_text(part)
    await expect(page.locator("li.theirs .text")).to_contain_text("<b>")
    await page.locator(".spoiler").click()
    await expect(page.locator(".spoiler")).to_have_class("spoiler open")
    telegram.world.edit({"chat_id": ANNE, "message_id": sent["message_id"], "text": "autre"}, text_too=True)
    await expect(page.locator("li.theirs .text")).to_have_text("autre")


async def test_people_and_groups_can_be_chosen(page: Page, telegram: TelegramServer) -> None:
    await page.get_by_label("Vous êtes").select_option("Bob (en)")
    await page.get_by_label("Discussion").select_option("Bureau")
    await page.get_by_label("Message").fill("@neo_test_bot hello")
    await page.get_by_role("button", name="Envoyer").click()
    await expect(page.locator("li.mine")).to_contain_text("hello")
    message = telegram.world.updates[-1]["message"]
    assert (message["chat"]["id"], message["from"]["first_name"]) == (GROUP, "Bob")
    for width, scheme in ((390, "light"), (390, "dark"), (1280, "light"), (1280, "dark")):
        await page.set_viewport_size({"width": width, "height": 800})
        await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        wider = await page.evaluate("document.documentElement.scrollWidth > innerWidth")
        assert not wider, "somebody would have to scroll sideways"
