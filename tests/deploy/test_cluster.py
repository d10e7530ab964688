"""Roles and databases of the suite's PostgreSQL, made by the script that its image runs, on a real one."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from prometheus_server import exporter
from servers import HOST, PostgresServer
from workspace_setup.servers import postgresql_programs

SCRIPT = Path(__file__).resolve().parent.parent.parent / "deploy" / "postgres" / "init.sh"
SERVICES = {"ai-core": "aicore", "telegram": "telegram", "mail": "mail"}


@pytest.fixture
def cluster(postgres_server: PostgresServer, tmp_path: Path) -> Iterator[PostgresServer]:
    for name in (*SERVICES, "exporter"):
        (tmp_path / f"{name}_password").write_text(f"it's {name}'s\n")
    yield postgres_server
    for role in SERVICES.values():
        postgres_server.execute(f"DROP DATABASE IF EXISTS {role} WITH (FORCE)")
        postgres_server.execute(f"DROP ROLE IF EXISTS {role}")
    postgres_server.execute("DROP ROLE IF EXISTS exporter")


def tend(cluster: PostgresServer, folder: Path, **changed: str) -> None:
    environment = _as(cluster, "neo", cluster.url("postgres").split(":")[2].split("@")[0])
    environment |= {"POSTGRES_USER": "neo", "SECRETS": str(folder), **changed}
    done = subprocess.run(["sh", SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def ask(
    cluster: PostgresServer, role: str, password: str, database: str, query: str
) -> subprocess.CompletedProcess[str]:
    """As somebody who comes by the network, with a password."""
    return subprocess.run(
        ["psql", "-XAtqc", query, database],
        env=_as(cluster, role, password),
        capture_output=True,
        text=True,
        check=False,
    )


def _as(cluster: PostgresServer, role: str, password: str) -> dict[str, str]:
    path = f"{postgresql_programs()}:{os.environ['PATH']}"
    return {"PATH": path, "PGHOST": HOST, "PGPORT": str(cluster.port), "PGUSER": role, "PGPASSWORD": password}


def test_each_service_has_a_database_that_no_other_sees(cluster: PostgresServer, tmp_path: Path) -> None:
    tend(cluster, tmp_path)
    for service, role in SERVICES.items():
        for database in SERVICES.values():
            done = ask(cluster, role, f"it's {service}'s", database, "CREATE TABLE words (word text)")
            assert (done.returncode == 0) is (role == database), (role, database, done.stderr)


def test_the_exporter_sees_numbers_and_no_table(cluster: PostgresServer, tmp_path: Path) -> None:
    tend(cluster, tmp_path)
    told = ask(cluster, "exporter", "it's exporter's", "postgres", "SELECT pg_database_size('mail') > 0")
    assert told.stdout == "t\n", told.stderr
    masters = "SELECT rolsuper OR rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolname = current_user"
    assert ask(cluster, "exporter", "it's exporter's", "postgres", masters).stdout == "f\n"
    refused = ask(cluster, "exporter", "it's exporter's", "mail", "SELECT 1")
    assert "permission denied for database" in refused.stderr


def test_the_exporter_itself_is_content_with_that(cluster: PostgresServer, tmp_path: Path) -> None:
    # As deploy/secrets.sh makes them: it takes no others.
    (tmp_path / "exporter_password").write_text("LettersAndNumbers1\n")
    tend(cluster, tmp_path)
    program = exporter(
        "postgres",
        DATA_SOURCE_URI=f"{HOST}:{cluster.port}/postgres?sslmode=disable",
        DATA_SOURCE_USER="exporter",
        DATA_SOURCE_PASS_FILE=str(tmp_path / "exporter_password"),
    )
    program.start()
    try:
        told = httpx.get(f"http://{program.address}/metrics").text
    finally:
        program.close()
    assert "\npg_up 1\n" in told
    assert "\npg_exporter_last_scrape_error 0\n" in told
    for role in SERVICES.values():
        assert re.search(rf'^pg_database_size_bytes{{datname="{role}"[^}}]*}} [1-9]', told, re.MULTILINE)


def test_a_cluster_of_an_earlier_version_gets_what_is_new_and_keeps_what_is_there(
    cluster: PostgresServer, tmp_path: Path
) -> None:
    tend(cluster, tmp_path)
    cluster.execute(
        "SET ROLE mail; CREATE TABLE words (word text); INSERT INTO words VALUES ('kept')", "mail"
    )
    cluster.execute("DROP ROLE exporter")
    (tmp_path / "mail_password").write_text("another\n")
    tend(cluster, tmp_path)
    assert ask(cluster, "mail", "another", "mail", "SELECT word FROM words").stdout == "kept\n"
    assert ask(cluster, "exporter", "it's exporter's", "postgres", "SELECT 1").stdout == "1\n"


def test_on_a_server_of_its_own_there_is_one_database(cluster: PostgresServer, tmp_path: Path) -> None:
    tend(cluster, tmp_path, NEO_SERVICES="mail")
    listed = cluster.execute("SELECT string_agg(datname, ' ') FROM pg_database WHERE datname <> 'postgres'")
    assert "mail" in listed.split()
    assert not {"aicore", "telegram"} & set(listed.split())
