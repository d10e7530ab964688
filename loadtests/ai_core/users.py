"""Who asks the AI core. What they say is drawn anew each time, so that no answer comes from the cache."""

from __future__ import annotations

import itertools
import random
from typing import Any

from locust import User, between, constant_pacing, task
from locust.exception import StopUser

from loadtests.ai_core.asking import Asker
from loadtests.plan import PLAN

SYSTEM = (
    "Vous êtes l'assistant d'un cabinet comptable. Vous répondez brièvement et avec courtoisie aux "
    "questions de droit du travail. Vous donnez une information, jamais un conseil juridique : pour un cas "
    "particulier, vous orientez vers un professionnel du droit, l'inspection du travail ou un syndicat. Si "
    "vous ne savez pas, vous le dites simplement et vous proposez où chercher."
)
QUESTIONS = (
    "Quelle est la durée légale du travail ?",
    "Combien de congés payés par an ?",
    "Quel est le préavis en cas de démission ?",
    "Qu'est-ce qu'une rupture conventionnelle ?",
    "Qu'est-ce qu'un CDD ?",
    "La période d'essai peut-elle être renouvelée ?",
)
MAX_TOKENS = 64
TURNS = 4
_numbers, _gone = itertools.count(), itertools.count()


def question() -> str:
    """One that nobody has asked before."""
    return f"Dossier {random.randrange(10**6)} : {random.choice(QUESTIONS)}"


class ApiUser(User):
    """A program with a connection of its own."""

    abstract = True
    wait_time = between(0.5, 1.5)

    def on_start(self) -> None:
        """Its connection is made with the first request."""
        self.asker = Asker(self.environment, PLAN.url, PLAN.key)


class Talker(ApiUser):
    """Conversations of four turns, all with the same system prompt: what the prefix cache is for."""

    fixed_count = PLAN.talkers
    abstract = not PLAN.talkers

    @task
    def talk(self) -> None:
        """One conversation."""
        session = f"load-{next(_numbers)}-{random.randrange(10**9)}"
        for turn in range(TURNS):
            messages = [{"role": "user", "content": question()}]
            if turn == 0:
                messages.insert(0, {"role": "system", "content": SYSTEM})
            body = {"messages": messages, "session_id": session, "max_tokens": MAX_TOKENS}
            self.asker.whole("conversation", "/api/v1/chat", body)


class Single(ApiUser):
    """Single shots by OpenAI's route."""

    fixed_count = PLAN.singles
    abstract = not PLAN.singles

    @task
    def ask(self) -> None:
        """One question."""
        self.asker.whole("single shot", "/v1/chat/completions", openai_body())


class Reader(ApiUser):
    """Reads answers as they are written."""

    fixed_count = PLAN.readers
    abstract = not PLAN.readers

    @task
    def read(self) -> None:
        """One answer."""
        self.asker.streamed("stream", "/api/v1/chat", native_body())


class Standard(ApiUser):
    """The standard request of the promise, ten programs that ask ten times a minute each."""

    fixed_count = PLAN.standard
    abstract = not PLAN.standard
    wait_time = constant_pacing(6.0)

    @task
    def ask(self) -> None:
        """A question with the shared system prompt, up to 64 tokens of an answer."""
        self.asker.whole("standard request", "/api/v1/chat", native_body())


class Crowd(ApiUser):
    """All at once, each one answer."""

    fixed_count = PLAN.crowd
    abstract = not PLAN.crowd

    @task
    def ask(self) -> None:
        """The same as the standard request."""
        self.asker.whole("at once", "/api/v1/chat", native_body())
        if next(_gone) + 1 == PLAN.crowd and (runner := self.environment.runner) is not None:
            runner.quit()
        raise StopUser


def native_body() -> dict[str, Any]:
    """The standard request."""
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question()}]
    return {"messages": messages, "max_tokens": MAX_TOKENS}


def openai_body() -> dict[str, Any]:
    """The same for OpenAI's route."""
    return native_body() | {"model": PLAN.model}
