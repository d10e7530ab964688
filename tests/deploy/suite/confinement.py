"""What images hold and what containers may do, looked at by hand where no scanner is: `make test-deploy`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.deploy.suite.installation import PROJECT, Installation

IMAGES = ("neo-ai-core", "neo-telegram", "neo-mail", "neo-backup")
RUN_AS = {"postgres": "0:0", "node-exporter": "65534:65534"}
"""PostgreSQL's image begins as root and becomes a user of its own; what sees the machine's files is not the
user whose secrets lie among them. All others are ours from the start."""
OFFICIAL_USERS = {"mailserver", "rspamd", "clamav"}
"""Their images become users of their own, and write where they like."""
PUBLISHED = {"nginx", "mailserver", "grafana"}
BESIDES = (".env", ".git", "docker-compose.yml", "conftest.py", "pip.conf")
COMPILERS = "gcc g++ cc c++ clang make cmake ld pip pip3"


def _configuration(suite: Installation, image: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(suite.engine.docker("inspect", f"{image}:local"))[0]["Config"]
    return found


def _shell(suite: Installation, image: str, script: str) -> list[str]:
    run = ("run", "--rm", "--network", "none", "--user", "0:0", "--entrypoint", "sh", f"{image}:local")
    return suite.engine.docker(*run, "-c", script).split("\n")[:-1]


def test_sizes_are_shown(suite: Installation) -> None:
    """For deploy/README.md."""
    for image in IMAGES:
        size = json.loads(suite.engine.docker("inspect", f"{image}:local"))[0]["Size"]
        print(f"{image}: {size / 1e6:.0f} MB")
        assert size < 1.2e9


@pytest.mark.parametrize("image", IMAGES)
def test_no_image_holds_a_secret(suite: Installation, image: str) -> None:
    secrets = {
        path.read_text().strip()
        for path in (suite.folder / "deploy" / "secrets").rglob("*")
        if path.is_file()
    }
    assert len(secrets) > 10
    history = suite.engine.docker("history", "--no-trunc", f"{image}:local")
    described = json.dumps(_configuration(suite, image))
    assert not [secret for secret in secrets if secret in history or secret in described]
    # Nor what lies in the repository's folder beside the code.
    names = " -o ".join(f"-name {name}" for name in BESIDES)
    left = f"find / -xdev \\( {names} \\) -not -path '*/site-packages/*'"
    assert _shell(suite, image, left) == []


@pytest.mark.parametrize("image", IMAGES)
def test_nothing_in_an_image_lends_rights_compiles_or_is_left_over(suite: Installation, image: str) -> None:
    assert _shell(suite, image, "find / -xdev -type f -perm /6000") == []
    assert _shell(suite, image, f"for name in {COMPILERS}; do command -v $name; done; true") == []
    assert (
        _shell(suite, image, "find /var/lib/apt/lists /var/cache /root/.cache -type f 2>/dev/null; true")
        == []
    )
    writable = "find /opt /usr /etc -xdev -type f -perm -o+w"
    assert _shell(suite, image, writable) == []


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_says_who_it_runs_as_and_how_it_ends(suite: Installation, image: str) -> None:
    configuration = _configuration(suite, image)
    assert configuration["User"] == "10001:10001"
    assert configuration["Entrypoint"][0] == "tini"
    if image != "neo-backup":
        assert configuration["StopSignal"] == "SIGTERM"
        assert configuration["Healthcheck"]["Test"][0] == "CMD"


def test_containers_run_confined(suite: Installation) -> None:
    for service in suite.services():
        facts = json.loads(suite.engine.docker("inspect", suite.container(service)))[0]
        host, environment = facts["HostConfig"], facts["Config"]["Env"]
        assert host["Memory"] > 0, service
        assert host["LogConfig"]["Config"]["max-size"], service
        assert not host["Privileged"], service
        assert not [entry for entry in environment if suite.secret("redis/password") in entry], service
        assert bool(host["PortBindings"]) == (service in PUBLISHED), service
        # Its own secrets and nobody else's. A backup holds all of them.
        mounted = [mount["Source"] for mount in facts["Mounts"] if "/deploy/secrets" in mount["Source"]]
        own = suite.folder / "deploy" / "secrets" / service
        if service != "backup":
            assert mounted in ([], [str(own)]), service
        if service not in OFFICIAL_USERS:
            assert facts["Config"]["User"] == RUN_AS.get(service, "10001:10001"), service
            assert host["ReadonlyRootfs"], service
            assert host["CapDrop"] == ["ALL"], service
            assert "no-new-privileges:true" in host["SecurityOpt"], service


def test_databases_have_no_way_out_and_strangers_no_way_in(suite: Installation) -> None:
    networks = json.loads(suite.engine.docker("network", "inspect", f"{PROJECT}_data", f"{PROJECT}_internal"))
    assert [network["Internal"] for network in networks] == [True, True]
    for service in ("redis", "postgres"):
        facts = json.loads(suite.engine.docker("inspect", suite.container(service)))[0]
        assert list(facts["NetworkSettings"]["Networks"]) == [f"{PROJECT}_data"]


def test_the_core_believes_nginx_alone_about_who_asks(suite: Installation) -> None:
    facts = json.loads(suite.engine.docker("inspect", suite.container("nginx")))[0]
    address = facts["NetworkSettings"]["Networks"][f"{PROJECT}_edge"]["IPAddress"]
    assert suite.inside("ai-core", "printenv", "TRUSTED_PROXIES").strip() == address


def test_secrets_are_for_their_container_only(suite: Installation) -> None:
    secrets = suite.folder / "deploy" / "secrets"
    for path in (secrets, *secrets.rglob("*")):
        # PostgreSQL's, which has another user, are read by backups as well.
        others = 0o027 if path.is_relative_to(secrets / "postgres") else 0o077
        assert path.stat().st_mode & others == 0, path
    assert "TELEGRAM_BOT_TOKEN=\n" in (suite.folder / ".env").read_text()
