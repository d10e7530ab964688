"""Secrets that stand in .env: each reaches the services that read it as a file, and nobody's environment."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import SecretStr

from ai_core.config import Settings as AiCore
from mail_service.config import Settings as Mail
from servicekit.settings import ServiceSettings
from telegram_service.config import Settings as Telegram

ROOT = Path(__file__).resolve().parent.parent.parent
SETTINGS: dict[str, type[ServiceSettings]] = {"ai-core": AiCore, "telegram": Telegram, "mail": Mail}
COMPOSITIONS = {
    "docker-compose.yml": tuple(SETTINGS),
    **{f"services/{name}/compose.yml": (name,) for name in SETTINGS},
}
SET_BY_THE_SUITE = {"DATABASE_URL", "TELEGRAM_DATABASE_URL", "MAIL_DATABASE_URL", "REDIS_URL"}
"""Where its own PostgreSQL and Redis are. What .env says of these is for services without containers."""


def holds_a_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(holds_a_secret(part) for part in get_args(annotation))


def secret_fields(settings: type[ServiceSettings]) -> list[str]:
    return [
        name
        for name, field in settings.model_fields.items()
        if holds_a_secret(field.annotation) or any(holds_a_secret(part) for part in field.metadata)
    ]


def names_in_env() -> dict[str, str]:
    """Of every secret of every service, as it may stand in .env, with a value that tells them apart."""
    names = {
        name
        for settings in SETTINGS.values()
        for field in secret_fields(settings)
        for name in settings.names(field, shared=True)
    }
    values = {name: f"value-of-{name.lower().replace('_', '-')}" for name in names}
    return values | {
        name: f"redis://:{value}@redis:6379/0" for name, value in values.items() if name.endswith("REDIS_URL")
    }


@dataclass(frozen=True, slots=True)
class Site:
    """The files as after `git clone`, with settings."""

    folder: Path
    files: str

    def write(self, settings: Mapping[str, str]) -> None:
        example = (ROOT / ".env.example").read_text().splitlines()
        changed = {"COMPOSE_FILE": self.files, "AI_API_URL": "https://ai.example.org", **settings}
        kept = [line for line in example if line.split("=")[0] not in changed]
        lines = [*kept, *(f"{name}={value}" for name, value in changed.items()), ""]
        (self.folder / ".env").write_text("\n".join(lines))

    def run(
        self, script: str, *arguments: str, user: int = 0, **changed: str
    ) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], "COMPOSE_PROFILES": "telegram,mail,monitoring", **changed}
        become = ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups") if user else ()
        command = [*become, str(self.folder / "deploy" / script), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def services(self) -> dict[str, Any]:
        """What Compose makes of it."""
        done = self.run("compose.sh", "config")
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = yaml.load(done.stdout, yaml.CSafeLoader)["services"]
        return found

    def read_by(self, service: str, container: Mapping[str, Any]) -> ServiceSettings:
        """The settings as the service reads them in its container."""
        secrets = self.folder / "deploy" / "secrets" / service
        environment = {
            name: str(secrets / Path(value).name) if str(value).startswith("/run/secrets/") else str(value)
            for name, value in container["environment"].items()
        }
        return SETTINGS[service].load(environment)


@pytest.fixture(params=COMPOSITIONS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    for pattern in ("docker-compose*.yml", "services/*/compose.yml", "deploy/*.yml", "deploy/*.sh"):
        for path in ROOT.glob(pattern):
            (tmp_path / path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, tmp_path / path.relative_to(ROOT))
    return Site(tmp_path, request.param)


def shown(value: object) -> list[str]:
    """What a setting holds."""
    parts = value if isinstance(value, tuple) else (value,)
    return [part.get_secret_value() for part in parts if isinstance(part, SecretStr)]


def test_every_secret_in_env_reaches_its_service_as_a_file_and_nobodys_environment(site: Site) -> None:
    secrets = names_in_env()
    assert {"SMTP_PASSWORD", "OAUTH_REFRESH_TOKEN", "SECRET_KEY_OLD", "MAIL_REDIS_URL"} <= secrets.keys()
    site.write(secrets)
    # Also before anything has been moved.
    for made in (False, True):
        if made:
            done = site.run("secrets.sh")
            assert done.returncode == 0, done.stderr
        for name, container in site.services().items():
            told = [str(value) for value in (container.get("environment") or {}).values()]
            assert not [value for value in secrets.values() if value in told], (name, made)
    left = (site.folder / ".env").read_text()
    runs_here = COMPOSITIONS[site.files]
    services = site.services()
    for service in runs_here:
        settings = site.read_by(service, services[service])
        for field in secret_fields(SETTINGS[service]):
            names = [
                name
                for name in SETTINGS[service].names(field, shared=True)
                if name not in SET_BY_THE_SUITE
                # Here is the core that has made its keys for the channels.
                and not (name == "AI_API_KEY" and len(runs_here) > 1)
            ]
            if names:
                assert shown(getattr(settings, field)) == [secrets[names[0]]], (service, field)
                assert secrets[names[0]] not in left, names[0]


def test_a_secret_for_all_reaches_all_and_the_databases_too(site: Site) -> None:
    plain = {
        "SECRET_KEY",
        "SECRET_KEY_OLD",
        "REDIS_PASSWORD",
        "DB_PASSWORD",
        "AI_API_KEY",
        "TELEGRAM_BOT_TOKEN",
    }
    secrets = {name: value for name, value in names_in_env().items() if name in plain}
    site.write(secrets)
    assert site.run("secrets.sh").returncode == 0
    services = site.services()
    for service in COMPOSITIONS[site.files]:
        settings: Any = site.read_by(service, services[service])
        assert shown(settings.secret_key) == [secrets["SECRET_KEY"]]
        assert shown(settings.redis_password) == [secrets["REDIS_PASSWORD"]]
        if service != "ai-core":
            assert shown(settings.secret_key_old) == [secrets["SECRET_KEY_OLD"]]
    folder = site.folder / "deploy" / "secrets"
    assert (folder / "redis" / "password").read_text().strip() == secrets["REDIS_PASSWORD"]
    assert (folder / "postgres" / "ai-core_password").read_text().strip() == secrets["DB_PASSWORD"]


@pytest.mark.parametrize("site", ["docker-compose.yml"], indirect=True)
def test_a_service_is_told_of_no_file_that_is_not_there(site: Site) -> None:
    site.write({"TELEGRAM_BOT_TOKEN": "1234:a"})
    assert site.run("secrets.sh").returncode == 0
    services = site.services()
    read: dict[str, Any] = {service: site.read_by(service, services[service]) for service in SETTINGS}
    # Mail signs in with neither password nor token: up.sh says so.
    assert read["mail"].email_password is None
    # And it is told of one as soon as it is there, also by those who had lost it so far.
    (site.folder / "deploy" / "secrets" / "mail" / "smtp_password").write_text("given-before\n")
    site.write({"TELEGRAM_BOT_TOKEN": "1234:a", "EMAIL_PASSWORD": '"open sesame"'})
    assert site.run("secrets.sh").returncode == 0
    settings: Any = site.read_by("mail", site.services()["mail"])
    assert shown(settings.smtp_password) == ["given-before"]
    assert shown(settings.email_password) == ["open sesame"]


def leave_out_compose(site: Site) -> None:
    """up.sh ends with 42 where Compose would begin."""
    (site.folder / "deploy" / "compose.sh").write_text("#!/bin/sh\nexit 42\n")
    (site.folder / "deploy" / "certificates.sh").write_text("mkdir -p deploy/certificates\n")
    (site.folder / "config").mkdir()
    (site.folder / "config" / "models.demo.json").write_text("{}\n")


@pytest.mark.parametrize("site", ["docker-compose.yml"], indirect=True)
@pytest.mark.parametrize("name", ["EMAIL_PASSWORD", "OAUTH_REFRESH_TOKEN", "ACCOUNTS_PATH", ""])
def test_a_mailbox_opens_with_a_password_a_token_or_a_list_of_accounts(site: Site, name: str) -> None:
    leave_out_compose(site)
    site.write({name: "/run/secrets/given"} if name else {})
    done = site.run("up.sh", COMPOSE_PROFILES="mail")
    # Then comes Compose, which is not there.
    assert ("EMAIL_PASSWORD is missing" in done.stderr) is (name == "")
    assert done.returncode == (42 if name else 1), done.stderr


@pytest.mark.parametrize("site", ["docker-compose.yml"], indirect=True)
def test_what_env_says_of_one_service_is_not_said_to_another(site: Site) -> None:
    site.write({"TELEGRAM_BOT_TOKEN": "1234:a", "PROMPTS_PATH": "config/letters", "DB_USER": "somebody"})
    assert site.run("secrets.sh").returncode == 0
    services = site.services()
    for service, settings in SETTINGS.items():
        environment = services[service]["environment"]
        told = {field: environment.get(field.upper()) for field in settings.own}
        assert not {field: value for field, value in told.items() if value}, service
    assert services["mail"]["environment"]["PROMPTS_PATH"] == "config/letters"


@pytest.mark.parametrize("site", ["docker-compose.yml"], indirect=True)
@pytest.mark.parametrize("name", ["DRAIN_TIMEOUT", "TELEGRAM_DRAIN_TIMEOUT", "MAIL_DRAIN_TIMEOUT"])
def test_answers_have_no_more_time_to_end_than_docker_gives(site: Site, name: str) -> None:
    site.write({"TELEGRAM_BOT_TOKEN": "1234:a", "EMAIL_PASSWORD": "x"})
    assert site.run("secrets.sh").returncode == 0
    service = {"DRAIN_TIMEOUT": "ai-core"}.get(name, name.split("_", maxsplit=1)[0].lower())
    given = site.services()[service]["stop_grace_period"]
    minutes, _, seconds = given.removesuffix("s").rpartition("m")
    grace = int(minutes or 0) * 60 + int(seconds or 0)
    leave_out_compose(site)
    for drain, refused in ((grace - 5, False), (grace - 4, True)):
        changed: dict[str, Any] = {"COMPOSE_PROFILES": "telegram,mail", name: f"{drain}"}
        done = site.run("up.sh", **changed)
        assert (f"Docker kills this service {grace} seconds" in done.stderr) is refused
        assert done.returncode == (1 if refused else 42), done.stderr


@pytest.mark.parametrize("site", ["docker-compose.yml"], indirect=True)
def test_who_is_not_root_runs_the_containers_as_themselves(site: Site) -> None:
    somebody = 4321
    site.write({"TELEGRAM_BOT_TOKEN": "1234:a"})
    for path in (site.folder, *site.folder.rglob("*")):
        os.chown(path, somebody, somebody)
    for folder in site.folder.parents:
        if folder != Path("/") and folder.stat().st_uid == os.geteuid():
            folder.chmod(folder.stat().st_mode | 0o011)
    done = site.run("secrets.sh", user=somebody)
    assert done.returncode == 0, done.stderr
    done = site.run("compose.sh", "config", user=somebody)
    assert done.returncode == 0, done.stderr
    services = yaml.load(done.stdout, yaml.CSafeLoader)["services"]
    for name in SETTINGS:
        owner, group = map(int, services[name]["user"].split(":"))
        secret = site.folder / "deploy" / "secrets" / name / "secret_key"
        assert (owner, group) == (secret.stat().st_uid, secret.stat().st_gid) == (somebody, somebody)
