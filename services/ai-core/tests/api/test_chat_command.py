"""``ai-core chat`` against a real server."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access_keys import KEY
from ai_core.cli import chat
from ai_core.engine.messages import ChatMessage
from ai_core.errors import Overloaded
from edge_server import FakeAnswer, Server

ENGLISH = {"LANG": "en_GB.UTF-8"}


def typing(*lines: str) -> Callable[[str], str]:
    """A person who types these lines and then closes the terminal."""
    left = iter(lines)

    def read(prompt: str) -> str:
        line = next(left, None)
        if line is None:
            raise EOFError
        return line

    return read


async def talk(server: Server, *lines: str, **options: str) -> str:
    """What the terminal shows of a conversation that ends well."""
    screen = io.StringIO()
    chat_options = chat.Options(f"http://127.0.0.1:{server.port}", key=str(KEY), **options)
    assert await asyncio.to_thread(chat.run, chat_options, ENGLISH, typing(*lines), screen) == 0
    return screen.getvalue()


async def test_it_streams_answers_and_remembers_the_conversation(echo_server: Server) -> None:
    assert "one \n" in await talk(echo_server, "one", "two", system="Be brief.")
    assert echo_server.engine.requests[-1].messages == [
        ChatMessage("system", "Be brief."),
        ChatMessage("user", "one"),
        ChatMessage("assistant", "one "),
        ChatMessage("user", "two"),
    ]


async def test_reset_forgets_and_quit_ends(echo_server: Server) -> None:
    await talk(echo_server, "one", "/reset", "two", "/quit", "three")
    assert echo_server.engine.requests[-1].messages == [ChatMessage("user", "two")]


async def test_an_unknown_command_is_no_question(echo_server: Server) -> None:
    assert "no command /help" in await talk(echo_server, "/help", "")
    assert not echo_server.engine.requests


def say_three_words(answer: FakeAnswer) -> None:
    answer.say("one", "two", "three")


async def test_ctrl_c_stops_the_answer_on_the_server_too_and_keeps_what_came(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(text: str) -> str:
        if text == "two":
            raise KeyboardInterrupt
        return text

    monkeypatch.setattr(chat, "shown", interrupted)
    server.engine.script = say_three_words
    screen = await talk(server, "count")
    answer = await server.engine.next_answer()
    await answer.cancelled.wait()
    await server.until_idle()
    assert "one [stopped]" in screen


async def test_a_refusal_is_shown_and_not_remembered(server: Server) -> None:
    server.engine.refusal = Overloaded("All places are taken.", retry_after=3)
    assert "All places are taken. (Try again in 3 s.)" in await talk(server, "one", "two")
    assert server.engine.requests[-1].messages == [ChatMessage("user", "two")]


async def test_an_answer_that_breaks_off_says_why(server: Server) -> None:
    server.engine.script = lambda answer: answer.say("one").fail(Overloaded("The engine was lost."))
    assert "one\nThe engine was lost." in await talk(server, "count")


@pytest.mark.parametrize(
    ("url", "words"),
    [("http://127.0.0.1:1", "make run"), ("ftp://x", "not an address"), ("nonsense", "not an address")],
)
def test_without_a_server_it_says_how_to_start_one(
    url: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert chat.run(chat.Options(url), ENGLISH, typing()) == 1
    assert words in capsys.readouterr().err


async def test_without_a_key_it_says_how_to_give_one(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    options = chat.Options(f"http://127.0.0.1:{server.port}")
    assert await asyncio.to_thread(chat.run, options, ENGLISH, typing()) == 1
    assert "NEO_API_KEY" in capsys.readouterr().err


async def test_something_else_at_that_address_is_recognised(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    options = chat.Options(f"http://127.0.0.1:{server.port}/elsewhere", key=str(KEY))
    assert await asyncio.to_thread(chat.run, options, ENGLISH, typing()) == 1
    assert "There is nothing at" in capsys.readouterr().err


def test_hints_are_french_where_the_terminal_is() -> None:
    assert chat.texts_for({"LANG": "fr_FR.UTF-8"})["you"] == "Vous : "
    assert chat.texts_for({"LC_ALL": "C", "LANG": "fr_FR.UTF-8"})["you"] == "You: "
    assert chat.FRENCH.keys() == chat.ENGLISH.keys()


@given(st.text())
def test_no_answer_can_send_control_sequences_to_the_terminal(text: str) -> None:
    assert all(letter in "\n\t" or letter.isprintable() for letter in chat.shown(text))


def test_accents_emoji_and_line_breaks_are_shown() -> None:
    assert chat.shown("Congés payés :\n\t🦉 œ") == "Congés payés :\n\t🦉 œ"
