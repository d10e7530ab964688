"""What Compose makes of our files: the whole suite, two of each, with a GPU, and each service alone."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from ai_core.catalog.models_file import parse_models_file

ROOT = Path(__file__).resolve().parent.parent.parent
WHOLE = "docker-compose.yml"
ALONE = {name: f"services/{name}/compose.yml" for name in ("ai-core", "telegram", "mail")}
EVERYTHING = "telegram,mail,acme,backup,monitoring,scanning,mailserver,webhook"
MORE = f"{WHOLE}:docker-compose.scale.yml:docker-compose.gpu.yml"
VARIANTS = {"whole": WHOLE, "more": MORE, **ALONE}
OTHERS_IMAGES = {"rspamd", "clamav", "mailserver"}
"""They change users and write where they like; nobody reaches them but from our networks."""
AS_ROOT = {"postgres"} | OTHERS_IMAGES
PUBLISH = {"nginx", "mailserver", "grafana"}
SECRET = re.compile(r"(PASSWORD|TOKEN|SECRET|SECRET_KEY|API_KEY|ADMIN_KEY)$")

CHECKED_BY_THEIR_IMAGE = {"ai-core", "telegram", "mail", "clamav"}
UNCHECKED = {
    "keys": "it ends",
    "certbot": "it listens nowhere; that a certificate ends soon is an alert",
    "backup": "it listens nowhere; that the last one is old is an alert",
    "rspamd": "nothing is known of its image; the mail service says when it does not answer",
    "redis-exporter": "there is no program beside it in its image",
    "postgres-exporter": "there is no program beside it in some versions of its image",
}
"""Prometheus notices that exporters do not answer."""

Composition = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Site:
    """The files as after `git clone`, and what Compose says of them."""

    folder: Path
    compositions: dict[str, Composition]

    def services(self) -> list[tuple[str, str, Composition]]:
        """Every container of every variant."""
        return [
            (variant, name, service)
            for variant, composition in self.compositions.items()
            for name, service in composition["services"].items()
        ]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("site")
    for pattern in (
        "docker-compose*.yml",
        "services/*/compose.yml",
        "deploy/*.yml",
        "deploy/*.sh",
        ".env.example",
    ):
        for path in ROOT.glob(pattern):
            (folder / path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / path.relative_to(ROOT))
    shutil.copy(folder / ".env.example", folder / ".env")
    for name in ALONE:
        (folder / "deploy" / "state" / "settings").mkdir(parents=True, exist_ok=True)
        (folder / "deploy" / "state" / "settings" / f"{name}.env").touch()

    def composition(files: str) -> Composition:
        # A .env for each, as on a server of its own.
        settings = folder / f"{files.replace('/', '-')}.env"
        lines = ((folder / ".env").read_text(), f"COMPOSE_FILE={files}", f"COMPOSE_PROFILES={EVERYTHING}", "")
        settings.write_text("\n".join(lines))
        done = subprocess.run(
            [*_compose(), "--env-file", settings.name, "config"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found: Composition = yaml.load(done.stdout, yaml.CSafeLoader)
        return found

    with ThreadPoolExecutor() as pool:
        return Site(folder, dict(zip(VARIANTS, pool.map(composition, VARIANTS.values()), strict=True)))


def _compose() -> list[str]:
    return ["docker-compose"] if shutil.which("docker-compose") else ["docker", "compose"]


def test_containers_are_confined(site: Site) -> None:
    for variant, name, service in site.services():
        where = (variant, name)
        assert service.get("mem_limit"), where
        if name in OTHERS_IMAGES:
            continue
        assert service["read_only"] is True, where
        assert service["cap_drop"] == ["ALL"], where
        assert service["security_opt"] == ["no-new-privileges:true"], where
        assert (service["user"].startswith("0:")) is (name in AS_ROOT), where
        assert "privileged" not in service, where


def test_make_up_waits_until_each_container_says_that_it_is_well(site: Site) -> None:
    none: Composition = {"test": ["NONE"]}
    unchecked = {name for _, name, service in site.services() if service.get("healthcheck", none) == none}
    assert unchecked == CHECKED_BY_THEIR_IMAGE | UNCHECKED.keys()
    dockerfiles = {name: ROOT / path.replace("compose.yml", "Dockerfile") for name, path in ALONE.items()}
    assert all("HEALTHCHECK" in path.read_text() for path in dockerfiles.values())


def test_what_containers_say_does_not_fill_the_disk(site: Site) -> None:
    for variant, name, service in site.services():
        logging = service["logging"]
        assert logging["driver"] == "json-file", (variant, name)
        # Fifty megabytes each; nginx writes its log there, too.
        assert logging["options"] == {"max-size": "10m", "max-file": "5"}, (variant, name)
    assert "access_log /dev/stdout json;" in (ROOT / "nginx" / "nginx.conf").read_text()
    assert "error_log /dev/stderr" in (ROOT / "nginx" / "nginx.conf").read_text()


def test_only_the_door_is_open(site: Site) -> None:
    for variant, name, service in site.services():
        assert not service.get("ports") or name in PUBLISH, (variant, name)
        assert "network_mode" not in service, (variant, name)
    for composition in site.compositions.values():
        assert composition["networks"]["data"]["internal"] is True
        assert "internal" not in composition["networks"]["edge"]
        for name in ("postgres", "redis", "backup", "keys"):
            if name in composition["services"]:
                assert list(composition["services"][name]["networks"]) == ["data"], name


DOCKERS_OWN = ("172.16.0.0/12", "192.168.0.0/16")
"""Out of these it makes networks for whoever asks for none in particular."""


def test_services_believe_nginx_alone_about_who_asks(site: Site) -> None:
    for variant, composition in site.compositions.items():
        (pool,) = composition["networks"]["edge"]["ipam"]["config"]
        network = ip_network(pool["subnet"])
        assert not any(network.overlaps(ip_network(each)) for each in DOCKERS_OWN), variant
        services = composition["services"]
        if "nginx" not in services:
            continue
        address = services["nginx"]["networks"]["edge"]["ipv4_address"]
        assert ip_address(address) in network, variant
        # Docker's gateway has the first, and containers that come after it the next.
        assert ip_address(address) == network[-2], variant
        if "ai-core" in services:
            assert services["ai-core"]["environment"]["TRUSTED_PROXIES"] == address, variant


@pytest.mark.parametrize(
    ("network", "address", "expected"),
    [
        ("", "", "10.231.73.254"),
        ("10.231.73.0/24", "10.231.73.77", "10.231.73.77"),
        ("10.213.11.0/24", "10.231.73.254", "10.213.11.254"),
        ("172.29.0.0/24", "", "172.29.0.254"),
        ("192.168.8.64/26", "", "192.168.8.126"),
        ("10.7.0.0/16", "10.7.9.9", "10.7.9.9"),
        ("10.7.0.0/16", "10.8.9.9", "10.7.255.254"),
    ],
)
def test_nginx_has_an_address_in_whatever_network_the_operator_chooses(
    tmp_path: Path, network: str, address: str, expected: str
) -> None:
    """With what compose.sh tells Compose."""
    (tmp_path / ".env").write_text(f"NEO_EDGE_NETWORK={network}\nNEO_NGINX_ADDRESS={address}\n")
    (tmp_path / "deploy").mkdir()
    for name in ("compose.sh", "settings.sh"):
        shutil.copy(ROOT / "deploy" / name, tmp_path / "deploy")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "docker").write_text('#!/bin/sh\n[ "$2" = version ] || echo "$NEO_NGINX_ADDRESS"\n')
    (programs / "docker").chmod(0o755)
    done = subprocess.run(
        ["sh", tmp_path / "deploy" / "compose.sh", "ps"],
        env={"PATH": f"{programs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == expected


def test_what_an_editor_replaces_is_seen_anew(site: Site) -> None:
    """Of a file that is mounted by itself, a container keeps seeing what it was when it started."""
    for variant, name, service in site.services():
        sources = [_source(each) for each in service.get("volumes", ())]
        assert not [each for each in sources if each.endswith("/.env")], (variant, name)
    backup = site.compositions["whole"]["services"]["backup"]
    seen = {_target(each): _source(each) for each in backup["volumes"]}
    assert Path(seen["/installation"]) == site.folder


def test_networks_and_volumes_that_are_used_are_there(site: Site) -> None:
    """Compose 1 says so when it starts them only."""
    for variant, name, service in site.services():
        composition = site.compositions[variant]
        assert service["networks"].keys() <= composition["networks"].keys(), (variant, name)
        sources = {_source(each) for each in service.get("volumes", ())}
        named = {source for source in sources if not source.startswith("/")}
        assert named <= (composition.get("volumes") or {}).keys(), (variant, name)


def test_no_secret_is_in_an_environment(site: Site) -> None:
    for variant, name, service in site.services():
        found = service.get("environment") or {}
        assert not [key for key, value in found.items() if SECRET.search(key) and value], (variant, name)


def test_each_container_sees_the_secrets_of_one_folder(site: Site) -> None:
    for variant, name, service in site.services():
        folders = [_source(each) for each in service.get("volumes", ()) if _target(each) == "/run/secrets"]
        assert len(folders) <= 1, (variant, name)
        whole = [each for each in service.get("volumes", ()) if _source(each).endswith("/deploy/secrets")]
        assert not whole or name == "backup", (variant, name)


def test_who_reads_numbers_of_databases_is_not_their_master(site: Site) -> None:
    services = site.compositions["whole"]["services"]
    assert services["postgres-exporter"]["environment"]["DATA_SOURCE_USER"] == "exporter"
    folders = {
        name: [_source(each) for each in services[name]["volumes"] if _target(each) == "/run/secrets"]
        for name in ("postgres-exporter", "redis-exporter")
    }
    for name, (folder,) in folders.items():
        assert folder.endswith(f"deploy/secrets/{name}")
    secrets = site.folder / "deploy" / "secrets"
    _make_secrets(site.folder)
    master = (secrets / "postgres" / "superuser_password").read_text()
    holders = {
        path.parent.name for path in secrets.rglob("*") if path.is_file() and path.read_text() == master
    }
    assert holders == {"postgres", "backup"}


def test_who_sees_the_whole_machine_is_not_the_user_whose_secrets_lie_there(site: Site) -> None:
    services = site.compositions["whole"]["services"]
    sees_all = {name for name, each in services.items() if "/" in map(_source, each.get("volumes", ()))}
    assert sees_all == {"node-exporter"}
    others = {each.get("user") for name, each in services.items() if name not in sees_all}
    assert services["node-exporter"]["user"] not in others


def _source(volume: Any) -> str:
    return str(volume["source"] if isinstance(volume, dict) else volume.split(":")[0])


def _target(volume: Any) -> str:
    return str(volume["target"] if isinstance(volume, dict) else volume.split(":")[1])


@pytest.mark.parametrize("name", ALONE)
def test_a_service_alone_is_what_it_is_in_the_whole_suite(site: Site, name: str) -> None:
    alone, whole = site.compositions[name]["services"], site.compositions["whole"]["services"]
    assert {"redis", "postgres", "backup", name} <= alone.keys() <= whole.keys()
    assert not ({"ai-core", "telegram", "mail"} - {name}) & alone.keys()
    differing = {"networks", "depends_on", "profiles", "environment"}
    for each in alone:
        assert _without(alone[each], differing) == _without(whole[each], differing), each
    own, theirs = (composition[name]["environment"] for composition in (alone, whole))
    changed = {key for key in own.keys() | theirs.keys() if own.get(key) != theirs.get(key)}
    assert changed <= {"AI_API_URL", "COMPOSE_FILE"}
    assert alone["postgres"]["environment"]["NEO_SERVICES"] == name
    assert alone["backup"]["environment"]["BACKUP_DATABASES"] == name.replace("-", "")


def _without(service: Composition, keys: set[str]) -> Composition:
    return {
        key: sorted(value, key=str) if isinstance(value, list) else value
        for key, value in service.items()
        if key not in keys
    }


def test_a_channel_alone_is_told_where_the_core_is(site: Site) -> None:
    settings = site.folder / "lost.env"
    settings.write_text(f"COMPOSE_FILE={ALONE['mail']}\nAI_API_URL=\n")
    done = subprocess.run(
        [*_compose(), "--env-file", settings.name, "config"],
        cwd=site.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "as https://ai.example.org" in done.stderr


def test_in_twos_nginx_asks_all_of_them(site: Site) -> None:
    services = site.compositions["more"]["services"]
    assert {name for name, service in services.items() if service.get("scale", 1) == 2} == set(ALONE)
    environment = services["nginx"]["environment"]
    groups = dict(group.split("=") for group in environment["NGINX_REPLICAS"].split())
    upstreams = (environment[name] for name in ("AI_CORE_UPSTREAM", "TELEGRAM_UPSTREAM", "MAIL_UPSTREAM"))
    before = site.compositions["whole"]["services"]["nginx"]["environment"]
    assert [groups[name] for name in upstreams] == [
        before[name] for name in ("AI_CORE_UPSTREAM", "TELEGRAM_UPSTREAM", "MAIL_UPSTREAM")
    ]


def test_a_gpu_is_given_to_the_server_that_computes_on_it(site: Site) -> None:
    services = site.compositions["more"]["services"]
    (device,) = services["gpu-engine"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert list(services["gpu-engine"]["networks"]) == ["internal"]
    models = {entry.name: entry for entry in _models("config/models.gpu.example.json")}
    upstream = models["gpu"].upstream
    assert upstream is not None
    assert upstream.url == f"http://gpu-engine:{services['gpu-engine']['environment']['LLAMA_ARG_PORT']}/v1"
    assert upstream.model == services["gpu-engine"]["environment"]["LLAMA_ARG_ALIAS"]


def test_without_a_list_of_models_the_demo_model_is_served() -> None:
    (entry,) = _models("config/models.demo.json")
    dockerfile = (ROOT / "services" / "ai-core" / "Dockerfile").read_text()
    assert f"COPY models/neo-demo/{entry.path.name} {entry.path.parent}/" in dockerfile


def _models(name: str) -> tuple[Any, ...]:
    return parse_models_file((ROOT / name).read_bytes(), ROOT).entries


def test_secrets_are_made_once_and_as_those_who_read_them_expect(site: Site) -> None:
    made = _make_secrets(site.folder)
    assert " secrets made" in made.stdout
    secrets = site.folder / "deploy" / "secrets"
    before = {path: path.read_text() for path in secrets.rglob("*") if path.is_file()}
    postgres = {path for path in before if path.parent.name == "postgres"}
    assert {path.stat().st_mode & 0o777 for path in before.keys() - postgres} == {0o600}
    # Backups, which have another user, read these as well.
    assert {path.stat().st_mode & 0o777 for path in postgres} <= {0o640, 0o644}
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert _make_secrets(site.folder).stdout.startswith("0 secrets made")
    assert {path: path.read_text() for path in before} == before
    # Redis's exporter reads addresses with their passwords (README of oliver006/redis_exporter).
    exporter = site.compositions["whole"]["services"]["redis-exporter"]["environment"]
    name = Path(exporter["REDIS_PASSWORD_FILE"]).name
    told = json.loads((secrets / "redis-exporter" / name).read_text())
    assert told == {exporter["REDIS_ADDR"]: (secrets / "redis" / "password").read_text().strip()}
    # Every file that a container is pointed at is there, but for what only the operator knows.
    given = {"telegram_bot_token"}
    for _, name, service in site.services():
        folders = [_source(each) for each in service.get("volumes", ()) if _target(each) == "/run/secrets"]
        for value in (service.get("environment") or {}).values():
            if str(value).startswith("/run/secrets/"):
                path = Path(folders[0]) / Path(value).name
                assert path.is_file() or path.name in given, (name, value)


def test_a_new_password_reaches_all_who_need_it(site: Site) -> None:
    _make_secrets(site.folder)
    secrets = site.folder / "deploy" / "secrets"
    (secrets / "redis" / "password").write_text("changed-by-hand\n")
    _make_secrets(site.folder)
    assert "changed-by-hand" in (secrets / "redis-exporter" / "redis.json").read_text()
    assert (secrets / "telegram" / "redis_password").read_text() == "changed-by-hand\n"


def test_a_channel_alone_does_not_make_up_the_key_of_a_core_elsewhere(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy", ignore=shutil.ignore_patterns("secrets", "state"))
    settings = tmp_path / ".env"
    settings.write_text("COMPOSE_FILE=services/telegram/compose.yml\nAI_API_KEY=\n")
    refused = _make_secrets(tmp_path)
    assert refused.returncode == 1
    assert "AI_API_KEY is missing" in refused.stderr
    settings.write_text("COMPOSE_FILE=services/telegram/compose.yml\nAI_API_KEY=neo_key\n")
    assert _make_secrets(tmp_path).returncode == 0
    assert (tmp_path / "deploy/secrets/telegram/ai_api_key").read_text() == "neo_key\n"
    assert "neo_key" not in settings.read_text()


def _make_secrets(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", folder / "deploy" / "secrets.sh"], capture_output=True, text=True, check=False
    )
