"""Three servers, one for each service: the channels reach the AI core over its TLS address, with a key.

The three are compose projects with networks of their own on one machine; what one publishes, the others reach
as they would reach another machine. Part of `make test-deploy-full`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.deploy.docker_engine import DockerEngine
from tests.deploy.suite.installation import Installation, clone
from tests.deploy.suite.post_office import ADDRESS, PASSWORD, PostOffice, write_accounts
from tests.deploy.suite.telephone import Telephone

from telegram_server import TOKEN

QUESTION = "Bonjour, quelle est la durée du travail ?"
ANNE, BERTHE = 1, 2
AI, BOT, MAIL = "ai.apart.test", "telegram.apart.test", "mail.apart.test"
PROJECTS = {name: f"neoapart{name.replace('-', '')}" for name in ("ai-core", "telegram", "mail")}
NETWORKS = {"ai-core": "10.213.11", "telegram": "10.213.12", "mail": "10.213.13"}
"""Outside of what Docker gives to networks that ask for none."""
HTTPS_PORTS = {"ai-core": 18_543, "telegram": 18_544}
TELEGRAM_PORT, SMTP_PORT, SUBMISSION_PORT, IMAP_PORT = 18_199, 18_125, 18_587, 18_993
MAIL_SERVER = "neoapart_mail_server"
AUTHORITY = "ai_core_authority.pem"
LIST_DATABASES = (
    "PGPASSWORD=$(cat /run/secrets/superuser_password) psql -h 127.0.0.1 -U postgres -Atc "
    "\"SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'\""
)
SETTINGS = {
    "telegram": {
        "COMPOSE_PROFILES": "webhook",
        "TELEGRAM_DOMAIN": BOT,
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "TELEGRAM_API_URL": f"http://{NETWORKS['telegram']}.1:{TELEGRAM_PORT}",
        "WEBHOOK_URL": f"https://{BOT}",
    },
    "mail": {
        "EMAIL_ADDRESS": ADDRESS,
        "EMAIL_PASSWORD": PASSWORD,
        "IMAP_HOST": MAIL,
        "IMAP_PORT": str(IMAP_PORT),
        "SMTP_PORT": str(SUBMISSION_PORT),
        "CA_FILE": "/run/secrets/mail_authority.pem",
        "AUTHSERV_ID": "mail.neo.test",
    },
}


@dataclass(frozen=True, slots=True)
class Server(Installation):
    """A machine that one service has for itself."""

    service: str = ""

    def write(self, **settings: str) -> None:
        """Its .env, and where the names of the test lead; on real servers DNS says that."""
        network = NETWORKS[self.service]
        common = {
            "COMPOSE_FILE": f"services/{self.service}/compose.yml:names.yml",
            "COMPOSE_PROJECT_NAME": self.project,
            "NEO_EDGE_NETWORK": f"{network}.0/24",
            "HTTP_PORT": str(HTTPS_PORTS.get(self.service, 0) + 100),
            "HTTPS_PORT": str(HTTPS_PORTS.get(self.service, 0)),
        }
        changed = common | settings
        example = (self.folder / ".env.example").read_text().splitlines()
        kept = [line for line in example if line.split("=")[0] not in changed]
        lines = [*kept, *(f"{name}={value}" for name, value in changed.items()), ""]
        (self.folder / ".env").write_text("\n".join(lines))
        names = ", ".join(f'"{name}:{network}.1"' for name in (AI, BOT, MAIL))
        (self.folder / "names.yml").write_text(f"services: {{{self.service}: {{extra_hosts: [{names}]}}}}\n")

    def trust(self, certificate: Path, name: str) -> None:
        """Lay somebody's certificate beside the service's secrets."""
        folder = self.folder / "deploy" / "secrets" / self.service
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(certificate, folder / name)


def server(engine: DockerEngine, service: str, tmp_path_factory: pytest.TempPathFactory) -> Server:
    found = Server(engine, tmp_path_factory.mktemp(service), PROJECTS[service], service)
    clone(found.folder)
    return found


@pytest.fixture(scope="session")
def core(engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    engine.make_python_image()
    engine.make_servers()
    core = server(engine, "ai-core", tmp_path_factory)
    core.write(AI_DOMAIN=AI)
    try:
        print(core.up())
        yield core
    finally:
        core.down()


def beside(core: Server, service: str, tmp_path_factory: pytest.TempPathFactory, **more: str) -> Server:
    """A channel's server, set up as deploy/README.md says: with the core's address, key and certificate."""
    channel = server(core.engine, service, tmp_path_factory)
    channel.write(
        AI_API_URL=f"https://{AI}:{HTTPS_PORTS['ai-core']}",
        AI_API_KEY=core.secret(f"{service}/ai_api_key"),
        AI_API_CA_FILE=f"/run/secrets/{AUTHORITY}",
        **SETTINGS[service],
        **more,
    )
    channel.trust(core.certificate(AI), AUTHORITY)
    return channel


@pytest.fixture(scope="session")
def bot(core: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Telephone]]:
    channel = beside(core, "telegram", tmp_path_factory)
    channel.script("deploy/certificates.sh", BOT)
    telephone = Telephone(channel.certificate(BOT), TELEGRAM_PORT, HTTPS_PORTS["telegram"])
    try:
        print(channel.up())
        yield channel, telephone
    finally:
        channel.down()
        telephone.close()


@pytest.fixture(scope="session")
def mail(core: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, PostOffice]]:
    channel = beside(core, "mail", tmp_path_factory)
    # Somebody else's mail server.
    channel.script("deploy/certificates.sh", MAIL)
    write_accounts(channel.folder)
    folder = channel.folder / "deploy"
    channel.trust(channel.certificate(MAIL), "mail_authority.pem")
    ports = {SMTP_PORT: 25, SUBMISSION_PORT: 587, IMAP_PORT: 993}
    published = [word for outer, inner in ports.items() for word in ("-p", f"{outer}:{inner}")]
    paths = (
        "-e",
        "SSL_CERT_PATH=/certificates/fullchain.pem",
        "-e",
        "SSL_KEY_PATH=/certificates/privkey.pem",
    )
    volumes = (
        *("-v", f"{folder}/mailserver:/tmp/docker-mailserver:ro"),
        *("-v", f"{folder}/certificates/{MAIL}:/certificates:ro"),
    )
    run = ("run", "-d", "--name", MAIL_SERVER, "--hostname", MAIL)
    try:
        core.engine.docker(*run, *published, *paths, *volumes, "mailserver/docker-mailserver:15.0")
        print(channel.up())
        yield channel, PostOffice(channel.certificate(MAIL), "127.0.0.1", SMTP_PORT, IMAP_PORT)
    finally:
        core.engine.try_docker("rm", "-f", MAIL_SERVER)
        channel.down()


def test_each_server_runs_its_own_parts_and_knows_nothing_of_the_others(
    core: Server, bot: tuple[Server, Telephone], mail: tuple[Server, PostOffice]
) -> None:
    databases = ["backup", "postgres", "redis"]
    assert core.services() == ["ai-core", *databases[:1], "nginx", *databases[1:]]
    assert bot[0].services() == ["backup", "nginx", "postgres", "redis", "telegram"]
    assert mail[0].services() == ["backup", "mail", "postgres", "redis"]
    for channel in (bot[0], mail[0]):
        look = (
            f"import socket\ntry: socket.gethostbyname('ai-core')\nexcept OSError: print('{channel.service}')"
        )
        assert channel.inside(channel.service, "python", "-c", look).strip() == channel.service
        listed = channel.inside("postgres", "sh", "-c", LIST_DATABASES)
        assert listed.split() == [channel.service]
    published = mail[0].engine.docker("ps", "--format", "{{.Ports}}", "-f", f"name=^{mail[0].project}_")
    assert "->" not in published


def test_a_message_on_telegram_is_answered_by_the_core_elsewhere(bot: tuple[Server, Telephone]) -> None:
    channel, people = bot
    assert people.webhook()["url"] == f"https://{BOT}/api/v1/webhooks/telegram"
    people.say(ANNE, QUESTION)
    assert people.until(ANNE)[-1], channel.logs("telegram")


def test_the_bot_tells_that_the_core_is_there(bot: tuple[Server, Telephone]) -> None:
    _, people = bot
    before = len(people.answers(ANNE))
    people.say(ANNE, "/status")
    assert "neo-demo" in people.until(ANNE, before + 1)[-1]


def test_a_mail_is_answered_by_the_core_elsewhere(mail: tuple[Server, PostOffice]) -> None:
    channel, post = mail
    post.send(ANNE, QUESTION)
    (answer,) = post.until(ANNE)
    assert answer["From"].addresses[0].addr_spec == ADDRESS, channel.logs("mail")


def test_what_is_asked_while_the_core_is_away_waits_for_it(
    core: Server, bot: tuple[Server, Telephone], mail: tuple[Server, PostOffice]
) -> None:
    core.script("deploy/compose.sh", "stop", "nginx", "ai-core")
    bot[1].say(BERTHE, QUESTION)
    mail[1].send(BERTHE, QUESTION)
    core.script("deploy/compose.sh", "start", "ai-core", "nginx")
    core.wait()
    assert len(bot[1].until(BERTHE)) == 1
    assert len(mail[1].until(BERTHE)) == 1


def test_whoever_has_no_key_gets_no_answer(core: Server) -> None:
    """The core's door is open to the network, and its key is what opens it."""
    address = f"https://{AI}:{HTTPS_PORTS['ai-core']}/api/v1/models"
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", str(core.certificate(AI))]
    where = ["--resolve", f"{AI}:{HTTPS_PORTS['ai-core']}:127.0.0.1"]
    assert core.script(*command, *where, address) == "401"
    key = ["-H", f"X-API-Key: {core.secret('telegram/ai_api_key')}"]
    assert core.script(*command, *where, *key, address) == "200"
