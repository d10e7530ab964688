"""Who hears of an alert: what an operator sets in .env, and what deploy/alerts.sh makes of it, and a real
Alertmanager that tells them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import yaml

from prometheus_server import alertmanager
from servers import HOST, PATIENCE

ROOT = Path(__file__).resolve().parent.parent.parent
EVERY_WAY = """ALERT_TELEGRAM_CHAT=-1001234
ALERT_TELEGRAM_TOKEN=1:secret-token
ALERT_EMAIL=it's@example.org
ALERT_SMTP=smtp.example.org:587
ALERT_SMTP_USER=somebody
ALERT_SMTP_PASSWORD=secret-password
ALERT_SLACK_URL=https://hooks.example.org/secret-slack
ALERT_WEBHOOK_URL=https://example.org/secret-hook
ALERT_WATCHDOG_URL=https://example.org/secret-watchdog
"""
KINDS = {f"{kind}_configs" for kind in ("telegram", "email", "slack", "webhook")}


@dataclass(frozen=True)
class Site:
    """What these scripts need of an installation."""

    folder: Path

    def told(self, settings: str) -> subprocess.CompletedProcess[str]:
        """What `make up` does of it, after somebody has written settings."""
        (self.folder / ".env").write_text(settings)
        script = "deploy/secrets.sh > /dev/null && deploy/alerts.sh"
        command = ["sh", "-ec", script]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)

    @property
    def configuration(self) -> str:
        return (self.folder / "deploy/state/alertmanager/alertmanager.yml").read_text()

    def debians(self) -> str:
        """The same for Debian's Alertmanager, which knows no files of addresses and tokens yet."""
        text = self.configuration.replace("/run/secrets", str(self.folder / "deploy/secrets/alertmanager"))

        def inside(found: re.Match[str]) -> str:
            return f"{found[1]}: '{Path(found[2]).read_text().strip()}'"

        return re.sub(r"\b(?<!api_)(url|bot_token)_file: ([^,}\s]+)", inside, text)

    def receivers(self) -> dict[str, set[str]]:
        """By which ways each hears."""
        found = yaml.safe_load(self.configuration)["receivers"]
        return {receiver["name"]: receiver.keys() - {"name"} for receiver in found}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    for name in ("settings.sh", "secrets.sh", "alerts.sh", "alertmanager/routes.yml"):
        (tmp_path / "deploy" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "deploy" / name, tmp_path / "deploy" / name)
    return Site(tmp_path)


def _takes(site: Site) -> None:
    path = site.folder / "debians.yml"
    path.write_text(site.debians())
    done = subprocess.run(["amtool", "check-config", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_settings_alertmanager_starts_and_the_operator_is_told_that_nobody_hears(site: Site) -> None:
    done = site.told("")
    assert done.returncode == 0, done.stderr
    assert "nobody hears alerts" in done.stdout
    assert site.receivers() == {"on-call": set(), "tickets": set(), "watchdog": set()}
    _takes(site)


def test_every_way_can_be_set_and_no_secret_stays_outside_its_file(site: Site) -> None:
    done = site.told(EVERY_WAY)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert site.receivers() == {"on-call": KINDS, "tickets": KINDS, "watchdog": {"webhook_configs"}}
    assert "secret-" not in site.configuration
    assert "secret-" not in (site.folder / ".env").read_text()
    _takes(site)


@pytest.mark.parametrize(
    "settings",
    [
        "ALERT_SLACK_URL=https://example.org/x",
        "ALERT_WEBHOOK_URL=https://example.org/x",
        "ALERT_EMAIL=a@example.org\nALERT_SMTP=example.org:25",
        "ALERT_TELEGRAM_CHAT=5\nALERT_TELEGRAM_TOKEN=1:a",
    ],
)
def test_one_way_is_enough(site: Site, settings: str) -> None:
    done = site.told(settings)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    _takes(site)


def test_what_can_wait_may_go_another_way(site: Site) -> None:
    site.told(f"{EVERY_WAY}ALERT_TICKETS=email\n")
    assert site.receivers()["tickets"] == {"email_configs"}
    assert site.receivers()["on-call"] == KINDS


def test_tickets_that_nobody_hears_are_told(site: Site) -> None:
    done = site.told("ALERT_SLACK_URL=https://example.org/x\nALERT_TICKETS=email\n")
    assert "nobody hears tickets" in done.stdout


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ("ALERT_TELEGRAM_CHAT=5", "ALERT_TELEGRAM_TOKEN is missing"),
        ("ALERT_TELEGRAM_CHAT=@me\nALERT_TELEGRAM_TOKEN=1:a", "@me is no number of a chat"),
        ("ALERT_EMAIL=a@example.org", "ALERT_SMTP is missing"),
        ("ALERT_EMAIL=a@example.org\nALERT_SMTP=h:25\nALERT_SMTP_USER=u", "ALERT_SMTP_PASSWORD is missing"),
        ("ALERT_TICKETS=pigeon", "pigeon is none of"),
    ],
)
def test_half_a_way_is_refused_with_what_is_missing(site: Site, settings: str, complaint: str) -> None:
    done = site.told(settings)
    assert done.returncode == 1
    assert complaint in done.stderr


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["alertname=PostgresDown", "severity=page"], "on-call"),
        (["alertname=RedisDown", "severity=ticket"], "tickets"),
        (["alertname=Watchdog", "severity=none"], "watchdog"),
    ],
)
def test_who_hears_of_what(site: Site, labels: list[str], receiver: str) -> None:
    site.told("")
    path = site.folder / "deploy/state/alertmanager/alertmanager.yml"
    command = ["amtool", "config", "routes", "test", f"--config.file={path}", *labels]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == receiver


# As Telegram answers. Without the chat, Debian's Alertmanager ends with a panic.
SENT = b'{"ok": true, "result": {"message_id": 1, "date": 1, "chat": {"id": -7, "type": "group"}}}'


@dataclass
class Elsewhere:
    """Somebody who is called over HTTP, and takes note."""

    heard: list[tuple[str, str]] = field(default_factory=list)
    """Paths and bodies."""
    _news: threading.Condition = field(default_factory=threading.Condition)

    def note(self, path: str, body: str) -> None:
        with self._news:
            self.heard.append((path, body))
            self._news.notify_all()

    def hears(self, path: str, text: str) -> str:
        """What came under a path with a text in it."""
        found: list[str] = []

        def there() -> bool:
            found[:] = [body for where, body in self.heard if where == path and text in body]
            return bool(found)

        with self._news:
            assert self._news.wait_for(there, PATIENCE), self.heard
        return found[0]


@pytest.fixture
def elsewhere() -> Iterator[tuple[Elsewhere, str]]:
    notes = Elsewhere()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            notes.note(self.path, body)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(SENT)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield notes, f"http://{HOST}:{server.server_address[1]}"
        server.shutdown()


def test_a_real_alertmanager_tells_them(site: Site, elsewhere: tuple[Elsewhere, str]) -> None:
    notes, url = elsewhere
    site.told(
        f"ALERT_SLACK_URL={url}/slack\nALERT_WEBHOOK_URL={url}/hook\nALERT_WATCHDOG_URL={url}/watchdog\n"
        "ALERT_TELEGRAM_CHAT=-7\nALERT_TELEGRAM_TOKEN=1:token\n"
    )
    # Only the tests know another Telegram, and do not wait for more to come.
    text = site.debians().replace("chat_id:", f"api_url: '{url}', chat_id:")
    with closing(alertmanager(re.sub(r"group_wait: \d+s", "group_wait: 0s", text))) as server:
        server.start()
        alerts = [
            {
                "labels": {"alertname": name, "severity": severity},
                "annotations": {"summary": f"it is <{name}> & more"},
            }
            for name, severity in (("PostgresDown", "page"), ("RedisDown", "ticket"), ("Watchdog", "none"))
        ]
        sent = httpx.post(f"http://{server.address}/api/v2/alerts", json=alerts, trust_env=False)
        assert sent.is_success, sent.text
        for name in ("PostgresDown", "RedisDown"):
            assert json.loads(notes.hears("/hook", name))["status"] == "firing"
            [attachment] = json.loads(notes.hears("/slack", name))["attachments"]
            assert f"it is <{name}> & more" in attachment["text"]
            message = json.loads(notes.hears("/bot1:token/sendMessage", name))
            assert message["chat_id"] == "-7"
            assert f"it is <{name}> & more" in message["text"]
        assert json.loads(notes.hears("/watchdog", "Watchdog"))["status"] == "firing"
        assert {path for path, body in notes.heard if "Watchdog" in body} == {"/watchdog"}


DOWN, CLOSED, POSTGRES = "ServiceDown", "DoorClosed", "PostgresDown"


@pytest.mark.parametrize(
    ("cause", "consequence", "explained"),
    [
        ((DOWN, "job=ai-core"), (CLOSED, "service=ai-core"), True),
        ((DOWN, "job=telegram"), (CLOSED, "service=telegram"), True),
        ((DOWN, "job=mail"), (CLOSED, "service=mail"), True),
        ((DOWN, "job=ai-core"), (CLOSED, "service=mail"), False),
        ((DOWN, "job=redis"), (CLOSED, "service=ai-core"), False),
        ((DOWN, "job=node"), ("MetricsMissing", "job=node"), True),
        ((DOWN, "job=node"), ("MetricsMissing", "job=door"), False),
        ((DOWN, "job=node"), ("BackupTooOld", "severity=ticket"), True),
        ((POSTGRES, "job=postgres"), (DOWN, "job=telegram"), True),
        ((POSTGRES, "job=postgres"), (DOWN, "job=alertmanager"), False),
        ((POSTGRES, "job=postgres"), (DOWN, "job=node"), False),
        ((POSTGRES, "job=postgres"), ("MailQueueOld", "severity=page"), True),
    ],
)
def test_one_thing_that_is_wrong_is_told_once(
    cause: tuple[str, str], consequence: tuple[str, str], explained: bool
) -> None:
    """That is what it is for: whoever is woken reads of the cause alone."""
    rules = yaml.safe_load((ROOT / "deploy/alertmanager/routes.yml").read_text())["inhibit_rules"]
    assert any(_explains(rule, _labels(cause), _labels(consequence)) for rule in rules) is explained


def _labels(alert: tuple[str, str]) -> dict[str, str]:
    name, _, value = alert[1].partition("=")
    return {"alertname": alert[0], name: value}


def _explains(rule: dict[str, list[str]], cause: dict[str, str], consequence: dict[str, str]) -> bool:
    """As Alertmanager reads a rule: https://prometheus.io/docs/alerting/latest/configuration/#inhibit_rule"""
    same = all(cause.get(name) == consequence.get(name) for name in rule.get("equal", []))
    pairs = ((rule["source_matchers"], cause), (rule["target_matchers"], consequence))
    return same and all(_matches(matcher, labels) for matchers, labels in pairs for matcher in matchers)


def _matches(matcher: str, labels: dict[str, str]) -> bool:
    found = re.fullmatch(r'(\w+)(=~?)"(.*)"', matcher)
    assert found, matcher
    value = labels.get(found[1], "")
    return bool(re.fullmatch(found[3], value)) if found[2] == "=~" else value == found[3]
