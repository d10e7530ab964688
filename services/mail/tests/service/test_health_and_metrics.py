"""What those who run the service are told: who of those it needs is away, and what became of the mails."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from certificates import Certificates
from fault_proxy import Act, Fault, ImapProxy, Proxy, Script, SmtpProxy
from mail_core import Failure, Says, scripted_core
from mail_servers import PASSWORD, Dovecot, Postfix, nobody, somebody
from mail_service import app, connecting
from mail_service.mailbox.imap import Timing
from running_service import PostOffice, RunningService, question
from servers import PATIENCE, PostgresServer, RedisServer
from servicekit.serving import health
from turned_clock import TurnedClock

Pull = Callable[[], Awaitable[None]]


@pytest.fixture(autouse=True)
def looked_at_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports are not kept for a second."""
    monkeypatch.setattr(health, "KEPT_SECONDS", 0.0)


@asynccontextmanager
async def without(pull: Pull, plug_in: Pull) -> AsyncIterator[None]:
    """Something is away until the block ends."""
    await pull()
    try:
        yield
    finally:
        await plug_in()


def of_proxy(proxy: Proxy) -> tuple[Pull, Pull]:
    """As if a mail server were away, and there again."""

    async def pull() -> None:
        proxy.refusing = True
        proxy.reset_all()

    async def plug_in() -> None:
        proxy.refusing = False

    return pull, plug_in


def of_server(server: PostgresServer | RedisServer | Postfix) -> tuple[Pull, Pull]:
    """The same of a server that is really stopped."""

    async def pull() -> None:
        await asyncio.to_thread(server.stop)

    async def plug_in() -> None:
        await asyncio.to_thread(server.start)

    return pull, plug_in


async def until_all_is_well(running: RunningService) -> None:
    async with asyncio.timeout(PATIENCE):
        while (found := await running.get("/health")).json()["status"] != "ok":  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert found.status_code == 200
    assert {part["status"] for part in found.json()["parts"].values()} == {"ok"}


async def test_health_names_what_is_away_and_why(
    post_office: PostOffice,
    certificates: Certificates,
    postgres_server: PostgresServer,
    postgres_url: str,
    redis_server: RedisServer,
    redis_url: str,
) -> None:
    post_office.database_url = postgres_url
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server, certificates.key)
    async with AsyncExitStack() as stack:
        imap = await stack.enter_async_context(ImapProxy(post_office.dovecot.port, tls=context))
        smtp = await stack.enter_async_context(SmtpProxy(post_office.postfix.port, starttls=context))
        core = await stack.enter_async_context(scripted_core())
        ports = {"IMAP_PORT": imap.port, "SMTP_PORT": smtp.port, "REDIS_URL": redis_url}
        # Postfix asks nobody for a password on this port.
        running = await stack.enter_async_context(post_office.service(core.url, SMTP_PASSWORD="", **ports))
        await until_all_is_well(running)
        for name, (pull, plug_in), reason in (
            ("imap", of_proxy(imap), "MailboxUnavailable"),
            ("smtp", of_proxy(smtp), "NotSent"),
            ("redis", of_server(redis_server), "StoreUnavailable"),
        ):
            async with without(pull, plug_in):
                found = await running.get("/health")
                assert (found.status_code, found.json()["status"]) == (200, "degraded")
                down = {part: said for part, said in found.json()["parts"].items() if said["status"] != "ok"}
                assert down == {name: {"status": "down", "reason": reason}}
                assert (await running.get("/readyz")).status_code == 200
            await until_all_is_well(running)
        async with without(*of_server(postgres_server)):
            found = await running.get("/health")
            assert (found.status_code, found.json()["status"]) == (503, "down")
            assert found.json()["parts"]["database"] == {"status": "down", "reason": "StorageUnavailable"}
            assert found.json()["parts"]["smtp"]["status"] == "ok"
            assert (await running.get("/readyz")).status_code == 503
            assert (await running.get("/livez")).status_code == 200
            assert (await running.get("/admin/queue")).status_code == 503
            assert (await running.get("/metrics")).status_code == 200
        await until_all_is_well(running)


async def until_connected(running: RunningService, wanted: dict[str, float]) -> None:
    """Until the metrics say of each folder whether it is connected."""
    name = "neo_mail_mailbox_connected "
    async with asyncio.timeout(PATIENCE):
        while wanted != {  # noqa: ASYNC110 - nothing tells of it but the page
            each.removeprefix(name): value
            for each, value in (await numbers(running)).items()
            if each.startswith(name)
        }:
            await asyncio.sleep(0.05)


def shorter_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a sign-in that was refused, a moment instead of minutes."""
    monkeypatch.setattr(connecting, "Timing", partial(Timing, refused_pause=0.1, longest_pause=0.1))


async def test_a_mailbox_counts_as_connected_only_while_the_server_lets_us_in(
    post_office: PostOffice, dovecot: Dovecot, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorter_pauses(monkeypatch)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server, certificates.key)
    refusal = Fault("LOGIN", Act.REPLY, "NO [AUTHENTICATIONFAILED] No")
    async with (
        ImapProxy(dovecot.port, tls=context) as proxy,
        scripted_core() as core,
        post_office.service(core.url, IMAP_PORT=proxy.port) as running,
    ):
        await until_connected(running, {"imap": 1})
        # The password is revoked, and whoever is signed in is thrown out.
        proxy.script_of = lambda number: Script((refusal,))
        proxy.reset_all()
        await until_connected(running, {"imap": 0})
        assert running.service.watchers[0].holding
        proxy.script_of = lambda number: Script(())
        await until_connected(running, {"imap": 1})
        await asyncio.to_thread(dovecot.stop)
        await until_connected(running, {"imap": 0})
        await asyncio.to_thread(dovecot.start)
        await until_connected(running, {"imap": 1})


async def test_a_password_that_the_server_refuses_is_no_connection(
    post_office: PostOffice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorter_pauses(monkeypatch)
    good, bad = post_office.settings("http://unused"), somebody("example.test")
    accounts = [
        {"email_address": post_office.address, "email_password": good["EMAIL_PASSWORD"]},
        {"email_address": bad, "email_password": "revoked"},
    ]
    (tmp_path / "accounts.json").write_text(json.dumps(accounts))
    async with (
        scripted_core() as core,
        post_office.service(core.url, ACCOUNTS_PATH=tmp_path / "accounts.json") as running,
    ):
        await until_connected(running, {"imap_1": 1, "imap_2": 0})
        assert all(watcher.holding for watcher in running.service.watchers)
        assert bad not in (await running.get("/metrics")).text


async def until_smtp_is(running: RunningService, wanted: dict[str, str]) -> None:
    """Until the metrics say this of each server, and nothing else of it."""
    async with asyncio.timeout(PATIENCE):
        while wanted != {  # noqa: ASYNC110 - nothing tells of it but the page
            each.split()[1]: each.split()[2]
            for each, value in (await numbers(running)).items()
            if each.startswith("neo_mail_smtp_state ") and value == 1
        }:
            await asyncio.sleep(0.05)


async def test_metrics_say_whether_smtp_lets_us_in_while_nobody_writes(
    post_office: PostOffice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(app, "REFUSED_LOOK_SECONDS", 0.1)
    good = {"email_address": post_office.address, "email_password": PASSWORD}
    accounts = [good, good | {"email_address": somebody("example.test"), "smtp_password": "revoked"}]
    (tmp_path / "accounts.json").write_text(json.dumps(accounts))
    async with (
        scripted_core() as core,
        post_office.service(core.url, ACCOUNTS_PATH=tmp_path / "accounts.json") as running,
    ):
        await until_smtp_is(running, {"smtp_1": "ok", "smtp_2": "refused"})
        states = [each for each in await numbers(running) if each.startswith("neo_mail_smtp_state ")]
        assert len(states) == 6
        async with without(*of_server(post_office.postfix)):
            await until_smtp_is(running, {"smtp_1": "unreachable", "smtp_2": "unreachable"})
        await until_smtp_is(running, {"smtp_1": "ok", "smtp_2": "refused"})
        assert post_office.address not in (await running.get("/metrics")).text


async def test_a_mail_that_waits_for_more_than_an_hour_is_a_sign(
    post_office: PostOffice, clock: TurnedClock
) -> None:
    anne = somebody()
    async with scripted_core() as core, post_office.service(core.url) as running:
        await running.post("/admin/pause")
        post_office.send(question(anne, post_office.address), anne)
        await running.arrived(1)
        assert (await running.get("/health")).json()["parts"]["queue"]["status"] == "ok"
        clock.ahead += timedelta(minutes=61)
        found = await running.get("/health")
        assert (found.status_code, found.json()["status"]) == (200, "degraded")
        assert found.json()["parts"]["queue"] == {"status": "down", "reason": "QueueTooOld"}
        await running.post("/admin/resume")
        await post_office.answers(anne)
        await until_all_is_well(running)


async def numbers(running: RunningService) -> dict[str, float]:
    """Every sample, as ``name{label values}``."""
    text = (await running.get("/metrics")).text
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_metrics_count_what_became_of_the_mails(post_office: PostOffice) -> None:
    people = [somebody() for _ in range(4)]
    says: dict[str, Says] = {"deux": Failure(400, "content_filtered")}
    settings = {"BLOCKED_SENDERS": people[2], "WORKERS": 1, "MAX_SENDER_EMAILS_PER_HOUR": 1}

    def script(body: dict[str, str]) -> Says:
        return next((said for word, said in says.items() if word in body["prompt"]), "Voici.")

    async with scripted_core(script) as core, post_office.service(core.url, **settings) as running:
        for person, text in zip(people, ("un", "deux", "trois", "quatre"), strict=True):
            post_office.send(question(person, post_office.address, text), person)
        post_office.send(question(nobody(), post_office.address, "cinq"), somebody())
        await running.arrived(5)
        await running.settled()
        post_office.send(question(people[0], post_office.address, "six encore"), people[0])
        await running.until_waiting(1)
        await running.until_pending(1)
        found = await numbers(running)
        assert people[0] not in (await running.get("/metrics")).text
    decided = {name: count for name, count in found.items() if name.startswith("neo_mail_steps_total")}
    # Labels come in the order of their names: reason, step.
    assert decided["neo_mail_steps_total answer decided"] == 4
    assert decided["neo_mail_steps_total ignore: blocked decided"] == 1
    assert decided["neo_mail_steps_total hold: hourly_limit decided"] == 1
    assert decided["neo_mail_steps_total  received"] == 6
    # Two are answered. One was refused by the model, one by the mail server; an apology is no answer, nor is
    # the word that a mail waits.
    assert found["neo_mail_answer_seconds_count"] == 2
    assert found["neo_mail_answer_seconds_bucket 60.0"] == 2
    assert 0 < found["neo_mail_answer_seconds_sum"] < 120
    assert found["neo_mail_success_ratio"] == 0.5
    assert found["neo_mail_dead_letters"] == 2
    assert found["neo_mail_queue_length"] == 1
    # It waits for its limit, and not for us.
    assert found["neo_mail_queue_age_seconds"] == 0
    assert found["neo_mail_outbox_length"] == found["neo_mail_unknown_sends"] == 0
