"""``ai-core chat``: a conversation in the terminal with a running server."""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import httpx

from ai_core.access.local_key import read_local_key

# The first token may have to wait for the model to load and for others' answers.
TIMEOUT = httpx.Timeout(10.0, read=600.0)

ENGLISH = {
    "welcome": "Talking to {model} at {url}. /reset begins anew, /quit leaves, Ctrl-C stops an answer.",
    "you": "You: ",
    "reset": "The conversation begins anew.",
    "stopped": "[stopped]",
    "unreachable": "No server answers at {url}. Start one with 'make run' or 'ai-core serve', or give --url.",
    "broken": "The connection broke off. Ask again.",
    "bad_url": "'{url}' is not an address such as http://127.0.0.1:8000.",
    "foreign": "What answers at {url} is not an AI core (status {status}).",
    "unknown": "There is no command {command}: /reset begins anew, /quit leaves.",
    "retry": " (Try again in {seconds} s.)",
    "key": " (Give the key as NEO_API_KEY, or the path of a file with it as NEO_API_KEY_FILE.)",
}
FRENCH = {
    "welcome": "Vous parlez à {model}, {url}. /reset recommence, /quit termine, Ctrl-C arrête une réponse.",
    "you": "Vous : ",
    "reset": "La conversation recommence.",
    "stopped": "[arrêtée]",
    "unreachable": "Aucun serveur à {url}. Lancez « make run » ou « ai-core serve », ou donnez --url.",
    "broken": "La connexion a été coupée. Reposez votre question.",
    "bad_url": "« {url} » n’est pas une adresse comme http://127.0.0.1:8000.",
    "foreign": "Ce qui répond à {url} n’est pas un AI core (statut {status}).",
    "unknown": "La commande {command} n’existe pas : /reset recommence, /quit termine.",
    "retry": " (Réessayez dans {seconds} s.)",
    "key": " (Donnez la clé par NEO_API_KEY, ou le chemin de son fichier par NEO_API_KEY_FILE.)",
}


class ChatFailed(Exception):
    """No (whole) answer; the text is for the person at the terminal."""


@dataclass(frozen=True, slots=True)
class Options:
    """The command line."""

    url: str
    model: str | None = None
    system: str | None = None
    key: str | None = None


def key_from(environ: Mapping[str, str], local_key_path: Path) -> str | None:
    """The key to show: NEO_API_KEY, what stands in NEO_API_KEY_FILE, or the local key."""
    if key := environ.get("NEO_API_KEY"):
        return key.strip()
    path = environ.get("NEO_API_KEY_FILE")
    return read_local_key(Path(path) if path else local_key_path)


def texts_for(environ: Mapping[str, str]) -> dict[str, str]:
    """The hints in the language of the terminal."""
    language = environ.get("LC_ALL") or environ.get("LC_MESSAGES") or environ.get("LANG") or ""
    return FRENCH if language.lower().startswith("fr") else ENGLISH


def shown(text: str) -> str:
    """Text of a model without the control characters that could rearrange the terminal."""
    return "".join(letter for letter in text if letter in "\n\t" or letter.isprintable())


def pieces(lines: Iterable[str]) -> Iterator[str]:
    """The text in the lines of a stream from ``/api/v1/chat``. Raises ChatFailed at an error event."""
    for line in lines:
        if not line.startswith("data: "):
            continue
        event = json.loads(line.removeprefix("data: "))
        if "error" in event:
            raise ChatFailed(event["error"]["message"])
        if "delta" in event:
            yield event["delta"]


@dataclass
class Conversation:
    """What was said so far, and how the next answer is asked for."""

    client: httpx.Client
    options: Options
    texts: Mapping[str, str]
    turns: list[dict[str, str]] = field(default_factory=list)

    def reset(self) -> None:
        """Forget everything but the system prompt."""
        self.turns.clear()

    def ask(self, question: str) -> Generator[str, None, None]:
        """Pieces of the answer. What arrived is remembered, even if the reader stops; raises ChatFailed."""
        turns = [*self.turns, {"role": "user", "content": question}]
        answer: list[str] = []
        try:
            for piece in self._stream(turns):
                answer.append(piece)
                yield piece
        finally:
            if answer:
                self.turns = [*turns, {"role": "assistant", "content": "".join(answer)}]

    def _stream(self, turns: list[dict[str, str]]) -> Iterator[str]:
        system = [{"role": "system", "content": self.options.system}] if self.options.system else []
        body: dict[str, Any] = {"messages": system + turns, "stream": True}
        if self.options.model:
            body["model"] = self.options.model
        try:
            with self.client.stream("POST", "/api/v1/chat", json=body) as response:
                if response.status_code != httpx.codes.OK:
                    response.read()
                    raise ChatFailed(self.refusal(response))
                yield from pieces(response.iter_lines())
        except httpx.ConnectError as error:
            raise ChatFailed(self.texts["unreachable"].format(url=self.options.url)) from error
        except httpx.HTTPError as error:
            raise ChatFailed(self.texts["broken"]) from error

    def refusal(self, response: httpx.Response) -> str:
        """What a response that is no answer says to a person."""
        try:
            message = str(response.json()["error"]["message"])
        except (ValueError, LookupError, TypeError):
            return self.texts["foreign"].format(url=self.options.url, status=response.status_code)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            message += self.texts["key"]
        if seconds := response.headers.get("retry-after"):
            message += self.texts["retry"].format(seconds=seconds)
        return message

    def model(self) -> str:
        """The model that will answer. Raises ChatFailed if nothing or nobody we know is there."""
        try:
            response = self.client.get("/api/v1/models")
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, ValueError) as error:
            raise ChatFailed(self.texts["bad_url"].format(url=self.options.url)) from error
        except httpx.HTTPError as error:
            raise ChatFailed(self.texts["unreachable"].format(url=self.options.url)) from error
        try:
            models = response.json()["models"]
            return self.options.model or next(model["name"] for model in models if model["default"])
        except (ValueError, LookupError, TypeError, StopIteration) as error:
            raise ChatFailed(self.refusal(response)) from error


def run(
    options: Options,
    environ: Mapping[str, str],
    read: Callable[[str], str] = input,
    out: TextIO | None = None,
) -> int:
    """Talk until /quit or the end of input. Returns the exit status: 1 if no server was there."""
    texts = texts_for(environ)
    with contextlib.suppress(ImportError):
        # Its import alone gives input() line editing and history.
        importlib.import_module("readline")
    # A proxy in the environment is for the world outside, not for one's own server.
    headers = {"Authorization": f"Bearer {options.key}"} if options.key else {}
    with httpx.Client(base_url=options.url, timeout=TIMEOUT, headers=headers, trust_env=False) as client:
        conversation = Conversation(client, options, texts)
        try:
            model = conversation.model()
        except ChatFailed as error:
            print(error, file=sys.stderr)
            return 1
        print(texts["welcome"].format(model=model, url=options.url), file=out)
        converse(conversation, read, out or sys.stdout)
    return 0


def converse(conversation: Conversation, read: Callable[[str], str], out: TextIO) -> None:
    """Question and answer, in turn."""
    texts = conversation.texts
    while True:
        try:
            line = read(texts["you"]).strip()
        except (EOFError, KeyboardInterrupt):
            print(file=out)
            return
        if line == "/quit":
            return
        if line == "/reset":
            conversation.reset()
            print(texts["reset"], file=out)
        elif line.startswith("/"):
            print(texts["unknown"].format(command=shown(line)), file=out)
        elif line:
            show_answer(conversation, line, out)


def show_answer(conversation: Conversation, question: str, out: TextIO) -> None:
    """One answer as it comes, or why there is none. Ctrl-C ends it, on the server too."""
    answer = conversation.ask(question)
    try:
        for piece in answer:
            print(shown(piece), end="", flush=True, file=out)
        print("\n", file=out)
    except KeyboardInterrupt:
        print(f" {conversation.texts['stopped']}\n", file=out)
    except ChatFailed as error:
        print(f"\n{shown(str(error))}\n", file=out)
    finally:
        answer.close()
