"""A backup is worth what comes back from it: made, wiped, restored, against a real PostgreSQL."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ai_core_service import running
from servers import HOST, PostgresServer
from telegram_house import COMMAND, House, open_house
from workspace_setup.servers import postgresql_programs

DEPLOY = Path(__file__).resolve().parent.parent.parent / "deploy"
SCRIPTS = DEPLOY / "backup"
SERVICES = ("aicore", "telegram", "mail")
KEPT = {
    ".env": "AI_DOMAIN=ai.example.org\n",
    "config/models.json": '{"models": {}}\n',
    "deploy/secrets/telegram/secret_key": "sealed with this one\n",
    "deploy/certificates/ai.example.org/fullchain.pem": "a certificate\n",
    "deploy/certificates/ai.example.org/privkey.pem": "its key\n",
    "deploy/mailserver/postfix-accounts.cf": "neo@example.org|{SHA512-CRYPT}…\n",
    "deploy/acme/accounts/regr.json": "{}\n",
}
"""What an installation is, besides its databases."""


@dataclass
class Installation:
    """What an operator has: databases, settings and secrets, and a place for backups."""

    postgres: PostgresServer
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def backups(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "backups").iterdir() if path.name != ".lock")

    def run(self, script: str, *arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", SCRIPTS / script, *arguments],
            env={**self.environment, **changed},
            capture_output=True,
            text=True,
            check=False,
        )

    def backup(self, **changed: str) -> str:
        done = self.run("backup.sh", **changed)
        assert done.returncode == 0, done.stderr
        return max(name for name in self.backups if name.startswith("neo-"))

    def kept(self) -> dict[str, str]:
        """What there is of :data:`KEPT`."""
        folder = self.folder / "installation"
        return {name: (folder / name).read_text() for name in KEPT if (folder / name).exists()}

    def lose_everything(self) -> None:
        """As when the disk is gone, and a new server has empty databases."""
        for name in SERVICES:
            self.postgres.drop(name)
            self.postgres.execute(f"CREATE DATABASE {name} OWNER {name}")
        shutil.rmtree(self.folder / "installation")
        (self.folder / "installation").mkdir()

    def words(self, database: str) -> str:
        return self.postgres.execute("SELECT string_agg(word, ' ' ORDER BY word) FROM words", database)


@pytest.fixture
def installation(postgres_server: PostgresServer, tmp_path: Path) -> Iterator[Installation]:
    programs = postgresql_programs()
    assert programs is not None
    address = postgres_server.url("postgres")
    for folder in ("backups", "installation", "metrics"):
        (tmp_path / folder).mkdir()
    for name, content in KEPT.items():
        path = tmp_path / "installation" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    for name in SERVICES:
        postgres_server.execute(f"CREATE ROLE {name} LOGIN")
        postgres_server.execute(f"CREATE DATABASE {name} OWNER {name}")
        postgres_server.execute(f"SET ROLE {name}; CREATE TABLE words (word text)", name)
        postgres_server.execute("INSERT INTO words VALUES ('bonjour'), (current_database())", name)
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PGHOST": HOST,
        "PGPORT": str(postgres_server.port),
        "PGUSER": "neo",
        "PGPASSWORD": address.split(":")[2].split("@")[0],
        "BACKUP_DIR": str(tmp_path / "backups"),
        "BACKUP_SOURCES": str(tmp_path / "installation"),
        "BACKUP_METRICS_DIR": str(tmp_path / "metrics"),
        # A container's /tmp is memory, and little: whoever wrote there would fail.
        "TMPDIR": str(tmp_path / "nowhere"),
    }
    yield Installation(postgres_server, tmp_path, environment)
    postgres_server.start()
    for name in SERVICES:
        postgres_server.drop(name)
        postgres_server.execute(f"DROP ROLE {name}")


def test_what_was_wiped_comes_back(installation: Installation) -> None:
    name = installation.backup()
    installation.lose_everything()
    for database in SERVICES:
        installation.postgres.execute("CREATE TABLE since (word text)", database)
    assert installation.kept() == {}

    done = installation.run("restore.sh", name, RESTORE_CONFIRM="yes")

    assert done.returncode == 0, done.stderr
    for database in SERVICES:
        assert installation.words(database) == " ".join(sorted(("bonjour", database)))
        # The service owns what is its own again, and what came since is gone.
        owners = "SELECT tableowner || ' ' || tablename FROM pg_tables WHERE schemaname = 'public'"
        assert installation.postgres.execute(owners, database) == f"{database} words"
    assert installation.kept() == KEPT


def test_a_backup_is_for_its_owners_eyes(installation: Installation) -> None:
    name = installation.backup()
    assert (installation.folder / "backups" / name).stat().st_mode & 0o777 == 0o600
    assert installation.backups == [name]


def test_with_a_key_it_is_encrypted_and_opens_with_the_other_one_only(installation: Installation) -> None:
    keys = []
    for name in ("mine", "strangers"):
        path = installation.folder / name
        subprocess.run(["age-keygen", "-o", path], check=True, capture_output=True)
        keys.append(path)
    recipient = keys[0].read_text().split("public key: ")[1].splitlines()[0]
    name = installation.backup(BACKUP_RECIPIENT=recipient)
    assert name.endswith(".tar.gz.age")
    assert (installation.folder / "backups" / name).read_bytes().startswith(b"age-encryption.org/v1")
    installation.lose_everything()
    installation.postgres.execute("CREATE TABLE words (word text)", "mail")

    refused = installation.run("restore.sh", name, RESTORE_CONFIRM="yes", BACKUP_IDENTITY=str(keys[1]))
    assert refused.returncode == 1
    assert "cannot be decrypted" in refused.stderr
    assert installation.words("mail") == ""

    done = installation.run("restore.sh", name, RESTORE_CONFIRM="yes", BACKUP_IDENTITY=str(keys[0]))
    assert done.returncode == 0, done.stderr
    assert installation.words("mail") == "bonjour mail"
    assert installation.kept() == KEPT


async def test_conversations_keys_and_waiting_messages_are_back(
    installation: Installation, redis_url: str, tmp_path: Path
) -> None:
    """With the services themselves: what somebody was told, the key of a program, a question that waited."""
    postgres = installation.postgres
    secret = installation.folder / "installation/deploy/secrets/telegram/secret_key"
    of_core = {
        "DATABASE_URL": postgres.url("aicore"),
        "LOCAL_KEY_PATH": str(tmp_path / "local.key"),
        "ENGINE_BACKEND": "scripted",
        "MODEL_NAME": "scripted",
        "REDIS_URL": redis_url,
    }
    of_bot = {"DATABASE_URL": postgres.url("telegram"), "SECRET_KEY": "", "SECRET_KEY_FILE": str(secret)}
    async with AsyncExitStack() as stack:
        with running(**of_core) as core:
            key = core.post("/api/v1/admin/keys", {"name": "bot", "scopes": ["generate"]}).json()["key"]
            bot = await stack.enter_async_context(
                open_house(core, tmp_path, REDIS_URL=redis_url, AI_API_KEY=key, **of_bot)
            )
            anne, berthe = bot.guest(), bot.guest()
            anne.say("Bonjour")
            (answer,) = await anne.hears()
        # The core is away: this one waits.
        berthe.say("Et moi ?")
        await bot.until(lambda: not bot.telegram.delivery.info()["pending_update_count"])
        await bot.stop()
        name = installation.backup()

        installation.lose_everything()
        _forget_all(redis_url)
        done = installation.run("restore.sh", name, RESTORE_CONFIRM="yes")
        assert done.returncode == 0, done.stderr

        held = await _exported(bot, anne.person.id)
        assert "Bonjour" in held
        assert json.dumps(answer, ensure_ascii=False)[1:-1] in held
        with running(**of_core) as core:
            asked = core.post("/api/v1/chat", {"prompt": "Bonjour"}, headers={"X-API-Key": key})
            assert asked.status_code == 200
            bot.settings["AI_API_URL"] = core.url
            await bot.start()
            assert len(await berthe.hears()) == 1
            await bot.stop()


def _forget_all(redis_url: str) -> None:
    subprocess.run(["redis-cli", "-u", redis_url, "flushall"], check=True, capture_output=True)


async def _exported(bot: House, person: int) -> str:
    """All that is kept about somebody."""
    process = await asyncio.create_subprocess_exec(
        *(COMMAND, "export", str(person)), env=bot.settings, cwd=bot.folder, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    return said.decode()


def test_nothing_is_replaced_unless_that_is_said(installation: Installation) -> None:
    name = installation.backup()
    installation.postgres.execute("INSERT INTO words VALUES ('since')", "mail")
    done = installation.run("restore.sh", name)
    assert done.returncode == 1
    assert "RESTORE_CONFIRM=yes" in done.stderr
    assert installation.words("mail") == "bonjour mail since"


@pytest.mark.parametrize(("sums", "words"), [("of before", "is damaged"), ("of after", "cannot be read")])
def test_a_damaged_backup_changes_nothing(
    installation: Installation, tmp_path: Path, sums: str, words: str
) -> None:
    name = installation.backup()
    path, opened = installation.folder / "backups" / name, tmp_path / "opened"
    opened.mkdir()
    subprocess.run(["tar", "-C", opened, "-xzf", path], check=True)
    dump = opened / "databases" / "mail.dump"
    dump.write_bytes(dump.read_bytes()[: dump.stat().st_size // 2])
    if sums == "of after":
        files = [*opened.glob("databases/*"), opened / "installation.tar"]
        lines = [
            f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(opened)}\n" for file in files
        ]
        (opened / "SHA256SUMS").write_text("".join(lines))
    subprocess.run(["tar", "-C", opened, "-czf", path, "."], check=True)
    installation.postgres.execute("INSERT INTO words VALUES ('since')", "aicore")
    done = installation.run("restore.sh", name, RESTORE_CONFIRM="yes")
    assert done.returncode == 1
    assert words in done.stderr
    assert installation.words("aicore") == "aicore bonjour since"


def test_one_that_cannot_be_brought_back_to_its_end_leaves_the_database_as_it_was(
    installation: Installation,
) -> None:
    """A table in the backup may be read by a role that is there no longer."""
    postgres = installation.postgres
    postgres.execute("CREATE ROLE guest; GRANT SELECT ON words TO guest", "mail")
    name = installation.backup()
    postgres.execute("REVOKE ALL ON words FROM guest; DROP ROLE guest", "mail")
    postgres.execute("INSERT INTO words VALUES ('since')", "mail")
    done = installation.run("restore.sh", name, RESTORE_CONFIRM="yes")
    assert done.returncode == 1
    assert "mail is as it was" in done.stderr
    assert installation.words("mail") == "bonjour mail since"


def test_one_that_fails_leaves_the_last_one_and_no_metric(installation: Installation) -> None:
    name = installation.backup()
    (installation.folder / "metrics" / "backup.prom").unlink()
    done = installation.run("backup.sh", BACKUP_DATABASES="aicore nowhere")
    assert done.returncode != 0
    assert installation.backups == [name]
    assert list((installation.folder / "metrics").iterdir()) == []


def test_prometheus_learns_when_the_last_one_was_made(installation: Installation) -> None:
    installation.backup()
    text = (installation.folder / "metrics" / "backup.prom").read_text()
    assert "neo_backup_last_success_timestamp_seconds 1" in text


@pytest.mark.parametrize("part", [".env", "config", "deploy/secrets", "deploy/certificates"])
def test_without_a_part_of_the_installation_there_is_no_backup(installation: Installation, part: str) -> None:
    path = installation.folder / "installation" / part
    path.rename(installation.folder / "elsewhere")
    done = installation.run("backup.sh")
    assert done.returncode == 1
    assert f"there is no {part}" in done.stderr
    assert installation.backups == []
    assert list((installation.folder / "metrics").iterdir()) == []


def test_what_cannot_be_read_is_said_and_not_left_out(installation: Installation, tmp_path: Path) -> None:
    key = installation.folder / "installation/deploy/mailserver/dkim.private"
    key.write_text("a key\n")
    key.chmod(0o600)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    (tmp_path / "backups").chmod(0o777)
    done = subprocess.run(
        ["setpriv", "--reuid=4321", "--regid=4321", "--clear-groups", "sh", SCRIPTS / "backup.sh"],
        env=installation.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"cannot be read: {key}" in done.stderr
    assert installation.backups == []


def test_two_at_once_wait_for_each_other_and_clear_up_after_one_that_was_killed(
    installation: Installation,
) -> None:
    folder = installation.folder / "backups"
    (folder / ".work.killed").mkdir()
    holding = subprocess.Popen(
        ["flock", folder / ".lock", "sh", "-c", "echo held; read _"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holding.stdout is not None
    assert holding.stdout.readline() == b"held\n"
    second = subprocess.Popen(
        ["sh", SCRIPTS / "backup.sh"],
        env=installation.environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert second.stderr is not None
    assert b"under way" in second.stderr.readline()
    # What the first one works on is left alone meanwhile.
    assert installation.backups == [".work.killed"]
    holding.communicate(b"\n")
    _, errors = second.communicate()
    assert second.returncode == 0, errors
    (name,) = installation.backups
    assert name.startswith("neo-")


@pytest.mark.parametrize(
    ("age", "interval", "waits"), [(None, 86_400, 60), (1000, 86_400, 85_400), (90_000, 86_400, 60)]
)
def test_a_container_that_starts_again_makes_none_before_it_is_due(
    tmp_path: Path, age: int | None, interval: int, waits: int
) -> None:
    if age is not None:
        made = tmp_path / "neo-20260101T000000Z.tar.gz"
        made.touch()
        os.utime(made, (time.time() - age,) * 2)
    (tmp_path / "sleep").write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/waits\nkill $PPID\n')
    (tmp_path / "sleep").chmod(0o755)
    subprocess.run(
        ["sh", SCRIPTS / "schedule.sh"],
        env={
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "BACKUP_DIR": str(tmp_path),
            "BACKUP_INTERVAL": str(interval),
        },
        check=False,
    )
    assert waits - 60 < int((tmp_path / "waits").read_text()) <= waits


def test_the_oldest_go(installation: Installation) -> None:
    for day in range(1, 5):
        (installation.folder / "backups" / f"neo-2026010{day}T000000Z.tar.gz").touch()
    (installation.folder / "backups" / "somebody-elses").touch()
    name = installation.backup(BACKUP_KEEP="3")
    kept = ["neo-20260103T000000Z.tar.gz", "neo-20260104T000000Z.tar.gz", name, "somebody-elses"]
    assert installation.backups == sorted(kept)


def test_many_on_one_day_do_not_drive_out_the_days_before(installation: Installation) -> None:
    folder = installation.folder / "backups"
    for day, hours in (("01", "0"), ("02", "05"), ("03", "0"), ("04", "0123456")):
        for hour in hours:
            (folder / f"neo-202601{day}T0{hour}0000Z.tar.gz").touch()
    name = installation.backup(BACKUP_KEEP="3")
    kept = ["neo-20260103T000000Z.tar.gz", "neo-20260104T050000Z.tar.gz", "neo-20260104T060000Z.tar.gz", name]
    assert installation.backups == kept


COMPOSE = """#!/bin/sh
# Of Compose, what restore.sh asks for. What would run in a container runs here.
cd "$SITE" && echo "$*" >> calls
case "$1" in
    build) ;;
    config) printf 'ai-core\\npostgres\\ntelegram\\nmail\\n' ;;
    ps) [ "$3" = mail ] || echo a-container ;;
    stop) touch "stopped-$2" ;;
    start) shift && for service; do rm "stopped-$service"; done ;;
    run)
        shift
        while [ "$1" != backup ]; do
            case "$1" in
                -v) mounted=${2%:/run/identity:ro} && shift ;;
                -e) export "$(echo "$2" | sed "s|/run/identity|${mounted:-}|")" && shift ;;
            esac
            shift
        done
        [ "$2 $3" = "sh /opt/neo-backup/restore.sh" ] || exit 99
        [ -z "${mounted:-}" ] || stat -c "%a %u %n" "$mounted" > key
        exec sh "$SCRIPTS/restore.sh" "$4" "$5"
        ;;
    *) exit 99 ;;
esac
"""


@pytest.fixture
def site(installation: Installation) -> Path:
    """The folder of the suite, with its backups; mail has never been started."""
    folder = installation.folder / "site"
    (folder / "deploy").mkdir(parents=True)
    for name in ("restore.sh", "settings.sh"):
        shutil.copy(DEPLOY / name, folder / "deploy" / name)
    (folder / "deploy" / "backups").symlink_to(installation.folder / "backups")
    scripts = {"compose.sh": COMPOSE, "up.sh": '#!/bin/sh\ncd "$SITE" && echo up >> calls && rm stopped-*\n'}
    for name, text in scripts.items():
        (folder / "deploy" / name).write_text(text)
        (folder / "deploy" / name).chmod(0o755)
    return folder


def restored(
    installation: Installation, site: Path, file: str, **changed: str
) -> subprocess.CompletedProcess[str]:
    """What `make restore FILE=…` does."""
    (site / "calls").write_text("")
    return subprocess.run(
        ["deploy/restore.sh", file],
        cwd=site,
        env={**installation.environment, "SITE": str(site), "SCRIPTS": str(SCRIPTS), **changed},
        capture_output=True,
        text=True,
        check=False,
    )


def calls(site: Path) -> list[str]:
    """What was asked of Compose that matters."""
    lines = (site / "calls").read_text().splitlines()
    return [
        f"run {line.split()[-1]}" if line.startswith("run") else line for line in lines if line[0] in "rsu"
    ]


@pytest.mark.parametrize(
    "named", ["{name}", "deploy/backups/{name}", "{site}/deploy/backups/{name}", "./{name}"]
)
def test_make_restore_looks_first_and_stops_the_services_then(
    installation: Installation, site: Path, named: str
) -> None:
    name = installation.backup()
    installation.postgres.execute("INSERT INTO words VALUES ('since')", "mail")
    done = restored(installation, site, named.format(name=name, site=site))
    assert done.returncode == 0, done.stderr
    assert calls(site) == ["run check", "stop ai-core", "stop telegram", "run databases", "up"]
    assert installation.words("mail") == "bonjour mail"


def test_make_restore_stops_nothing_for_a_file_that_cannot_be_restored(
    installation: Installation, site: Path, tmp_path: Path
) -> None:
    subprocess.run(["age-keygen", "-o", tmp_path / "mine"], check=True, capture_output=True)
    subprocess.run(["age-keygen", "-o", tmp_path / "strangers"], check=True, capture_output=True)
    recipient = (tmp_path / "mine").read_text().split("public key: ")[1].splitlines()[0]
    encrypted = installation.backup(BACKUP_RECIPIENT=recipient)
    damaged = site / "deploy" / "backups" / "neo-20260101T000000Z.tar.gz"
    damaged.write_bytes(b"\x1f\x8b and no more")
    other = tmp_path / encrypted
    other.write_text("another one of this name")
    keys = {name: {"BACKUP_IDENTITY": str(tmp_path / name)} for name in ("strangers", "lost")}
    for file, changed, reason in (
        ("", {}, "which one?"),
        ("neo-2026.tar.gz", {}, "there is no neo-2026.tar.gz in deploy/backups"),
        (str(other), {}, "is not the"),
        (damaged.name, {}, "is damaged"),
        (encrypted, {}, "BACKUP_IDENTITY=key.txt says where"),
        (encrypted, keys["lost"], "which cannot be read"),
        (encrypted, keys["strangers"], "cannot be decrypted with this key"),
    ):
        done = restored(installation, site, file, **changed)
        assert done.returncode != 0, reason
        assert reason in done.stderr
        assert "othing was changed" in done.stderr
        assert calls(site) in ([], ["run check"])


def test_make_restore_brings_the_key_of_an_encrypted_one_along_and_leaves_it_nowhere(
    installation: Installation, site: Path, tmp_path: Path
) -> None:
    subprocess.run(["age-keygen", "-o", site / "key.txt"], check=True, capture_output=True)
    recipient = (site / "key.txt").read_text().split("public key: ")[1].splitlines()[0]
    name = installation.backup(BACKUP_RECIPIENT=recipient)
    installation.postgres.execute("INSERT INTO words VALUES ('since')", "mail")
    done = restored(installation, site, name, BACKUP_IDENTITY="key.txt")
    assert done.returncode == 0, done.stderr
    assert installation.words("mail") == "bonjour mail"
    # Nobody but the container's user saw it.
    mode, owner, place = (site / "key").read_text().split()
    assert (mode, owner) == ("700", "10001")
    assert not Path(place).exists()


def test_make_restore_starts_again_what_it_has_stopped_when_it_fails(
    installation: Installation, site: Path
) -> None:
    postgres = installation.postgres
    postgres.execute("CREATE ROLE guest; GRANT SELECT ON words TO guest", "mail")
    name = installation.backup()
    postgres.execute("REVOKE ALL ON words FROM guest; DROP ROLE guest", "mail")
    done = restored(installation, site, name)
    assert done.returncode != 0
    assert calls(site)[-2:] == ["run databases", "start ai-core telegram"]
    assert list(site.glob("stopped-*")) == []
