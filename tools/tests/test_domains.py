"""`make dns`: what is printed for an installation, and what is found at a real name server."""

from __future__ import annotations

import contextlib
import os
import re
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.zone
import pytest

from domains.records import Record, State, judged

ROOT = Path(__file__).resolve().parent.parent.parent
ADDRESS, OTHER = "203.0.113.5", "203.0.113.6"
ENV = """AI_DOMAIN=ai.example.org
TELEGRAM_DOMAIN=telegram.example.org
MAIL_DOMAIN=mail.example.org
EMAIL_ADDRESS=neo@example.org
"""
OWN_SERVER = f"{ENV}COMPOSE_PROFILES=telegram,mail,mailserver,acme\nDKIM_KEY_PATH=dkim.pem\n"


class NameServer(socketserver.ThreadingUDPServer):
    """Answers from zones, with authority and over the wire."""

    daemon_threads = True

    def __init__(self, text: str) -> None:
        super().__init__(("127.0.0.1", 0), _Question)
        self.zone = dns.zone.from_text(text, origin=".", relativize=False, check_origin=False)
        self.silent = False


class _Question(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        wire, sock = self.request
        assert isinstance(self.server, NameServer)
        if self.server.silent:
            return
        query = dns.message.from_wire(wire)
        (question,) = query.question
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA | dns.flags.RA
        node = self.server.zone.get_node(question.name)
        if node is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        else:
            with contextlib.suppress(KeyError):
                answer.answer.append(self.server.zone.find_rrset(question.name, question.rdtype))
        sock.sendto(answer.to_wire(), self.client_address)


def zone(lines: str) -> str:
    return f"$TTL 60\n. SOA a. b. 1 2 3 4 5\n{lines}"


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """The folder of an installation, with a key for DKIM."""
    subprocess.run(
        ["openssl", "genrsa", "-out", tmp_path / "dkim.pem", "2048"], check=True, capture_output=True
    )
    return tmp_path


def make_dns(desk: Path, env: str, *words: str) -> subprocess.CompletedProcess[str]:
    (desk / ".env").write_text(env)
    return subprocess.run(
        [sys.executable, "-m", "domains", "--env", str(desk / ".env"), *words],
        env=os.environ | {"PYTHONPATH": str(ROOT / "tools")},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )


@contextlib.contextmanager
def serving(text: str) -> Iterator[NameServer]:
    with NameServer(text) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def states(printed: str) -> dict[tuple[str, str], str]:
    """Of the table."""
    rows = re.findall(
        r"(?m)^(\S+)  +(\S+)  +(set|missing|differs|no answer|not set, and need not be)", printed
    )
    return {(name, kind): state for name, kind, state in rows}


def test_what_is_printed_can_be_put_into_a_zone_and_is_found_there(desk: Path) -> None:
    printed = make_dns(desk, OWN_SERVER, "--address", ADDRESS)
    assert (printed.returncode, printed.stderr) == (0, "")
    with serving(zone(printed.stdout)) as server:
        where = ("--server", f"127.0.0.1:{server.server_address[1]}", "--address", ADDRESS)
        checked = make_dns(desk, OWN_SERVER, "--check", *where)
        assert (checked.returncode, checked.stderr) == (0, ""), checked.stdout
        found = states(checked.stdout)
        assert set(found.values()) == {"set"}
        names = {name for name, _ in found}
        assert {"neo._domainkey.example.org", "_dmarc.example.org", "telegram.example.org"} <= names
        server.silent = True
        # Nobody answers: that is no reason to set anything.
        away = make_dns(desk, ENV, "--check", *where)
        assert away.returncode == 1
        assert set(states(away.stdout).values()) == {"no answer"}
        assert "to be set" not in away.stdout


def test_what_is_missing_or_different_is_told_with_what_has_to_be_set(desk: Path) -> None:
    there = """
ai.example.org. A 203.0.113.5
ai.example.org. A 198.51.100.1
mail.example.org. A 203.0.113.5
example.org. MX 10 mx.elsewhere.net.
example.org. TXT "v=spf1 mx -all"
example.org. TXT "v=spf1 include:elsewhere.net ~all"
example.org. TXT "verification=of something else"
neo._domainkey.example.org. TXT "v=DKIM1; k=rsa; p=AAAA"
_dmarc.example.org. TXT "v=DMARC1; p=none"
ai.example.org. CAA 0 issue "other.example"
"""
    with serving(zone(there)) as server:
        where = ("--server", f"127.0.0.1:{server.server_address[1]}", "--address", ADDRESS)
        checked = make_dns(desk, OWN_SERVER, "--check", *where)
    assert checked.returncode == 1
    assert states(checked.stdout) == {
        ("ai.example.org", "A"): "differs",
        ("telegram.example.org", "A"): "missing",
        ("mail.example.org", "A"): "set",
        ("ai.example.org", "CAA"): "differs",
        ("telegram.example.org", "CAA"): "not set, and need not be",
        ("mail.example.org", "CAA"): "not set, and need not be",
        ("example.org", "MX"): "differs",
        ("example.org", "TXT"): "differs",
        ("neo._domainkey.example.org", "TXT"): "differs",
        ("_dmarc.example.org", "TXT"): "set",
        ("5.113.0.203.in-addr.arpa", "PTR"): "missing",
    }
    assert "to be set: example.org.  MX  10 mail.example.org." in checked.stdout


def test_where_mail_is_with_a_provider_nothing_of_theirs_is_invented(desk: Path) -> None:
    env = f"{ENV}COMPOSE_PROFILES=mail\n"
    printed = make_dns(desk, env, "--address", ADDRESS, "--address", OTHER)
    assert f"mail.example.org.  A  {OTHER}" in printed.stdout
    assert "; example.org.  MX  …  as your provider says" in printed.stdout
    assert "_domainkey" not in printed.stdout
    there = """
ai.example.org. A 203.0.113.5
ai.example.org. A 203.0.113.6
mail.example.org. A 203.0.113.5
mail.example.org. A 203.0.113.6
example.org. MX 10 mx.elsewhere.net.
example.org. TXT "v=spf1 include:elsewhere.net -all"
_dmarc.example.org. TXT "v=DMARC1; p=reject"
"""
    with serving(zone(there)) as server:
        where = ("--server", f"127.0.0.1:{server.server_address[1]}")
        addresses = ("--address", ADDRESS, "--address", OTHER)
        assert make_dns(desk, env, "--check", *where, *addresses).returncode == 0


def test_a_key_of_docker_mailservers_is_taken_from_where_it_lies(desk: Path) -> None:
    env = OWN_SERVER.replace("DKIM_KEY_PATH=dkim.pem\n", "")
    assert "setup config dkim domain example.org" in make_dns(desk, env, "--address", ADDRESS).stdout
    key = desk / "deploy/mailserver/opendkim/keys/example.org/mail.txt"
    key.parent.mkdir(parents=True)
    key.write_text('mail._domainkey IN TXT ( "v=DKIM1; h=sha256; k=rsa; "\n  "p=MIIB"\n  "IDAQ" ) ; -----\n')
    printed = make_dns(desk, env, "--address", ADDRESS).stdout
    assert 'mail._domainkey.example.org.  TXT  "v=DKIM1; h=sha256; k=rsa; p=MIIBIDAQ"' in printed


@pytest.mark.parametrize(
    ("env", "words", "said"),
    [
        ("", (), "names no domain yet"),
        ("AI_DOMAIN=ai.localhost\n", (), "names no domain yet"),
        (ENV, ("--address", "here"), "here"),
        # By IPv6 all strangers would have one address, and one limit.
        (ENV, ("--address", "2001:db8::5"), "published by IPv4 alone"),
        (f"{ENV}DKIM_KEY_PATH=nothing.pem\n", ("--address", ADDRESS), "holds no RSA key"),
    ],
)
def test_what_cannot_be_told_is_said(desk: Path, env: str, words: tuple[str, ...], said: str) -> None:
    done = make_dns(desk, env, *words)
    assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (2, True, False)


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (["v=spf1 a mx ip4:203.0.113.9 ~all"], State.SET),
        (["v=spf1 mx:example.org -all"], State.SET),
        (["V=SPF1 MX -ALL"], State.SET),
        (["v=spf1 -all"], State.DIFFERS),
        (["something else"], State.MISSING),
        ([], State.MISSING),
    ],
)
def test_a_policy_of_the_operators_own_is_judged_by_what_it_does(found: list[str], state: State) -> None:
    record = Record("example.org", "TXT", "v=spf1 mx -all", "why", "v=spf1")
    assert judged(record, found) is state
