"""The whole suite in containers, as an operator starts it, and each way through it once: `make test-deploy`.

Not part of `make test`: it needs a Docker engine and builds every image. deploy/README.md says what it
cannot cover.
"""

from __future__ import annotations

from tests.deploy.suite.installation import Installation
from tests.deploy.suite.post_office import PostOffice
from tests.deploy.suite.program import Program
from tests.deploy.suite.telephone import Telephone

QUESTION = "Quelle est la durée du travail ?"
ANNE = 1


def test_a_chat_goes_round_through_nginx_with_tls(program: Program) -> None:
    answer = program.post(QUESTION)
    assert answer.status_code == 200
    assert answer.json()["response"]


def test_a_message_on_telegram_goes_round_through_the_webhook(suite: Installation, people: Telephone) -> None:
    assert people.webhook()["url"] == "https://telegram.neo.test/api/v1/webhooks/telegram"
    people.say(ANNE, QUESTION)
    assert people.until(ANNE)[-1], suite.logs("telegram")
    assert len(people.answers(ANNE)) == 1


def test_a_mail_goes_round_through_the_mail_server(suite: Installation, post: PostOffice) -> None:
    post.send(ANNE, QUESTION)
    (answer,) = post.until(ANNE)
    assert answer["From"].addresses[0].addr_spec == "neo@neo.test"
    assert answer["Subject"].startswith("Re: Une question")
    assert answer.get_body(("plain",)) is not None
