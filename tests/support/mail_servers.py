"""Real mail servers for tests: one Dovecot and one Postfix for the whole run, each in a private folder.

Everybody of ``DOMAINS`` has a mailbox from the first mail on and signs in with ``PASSWORD``, except those
whose name begins with ``nobody``: Postfix refuses them with 550. So a test takes names of its own
(:func:`somebody`) and finds their folders empty. The certificates are for ``localhost``, from an authority of
the tests.

Both programs need root to drop it again, as they do everywhere.
"""

from __future__ import annotations

import base64
import contextlib
import imaplib
import os
import secrets
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from certificates import Certificates, issue
from ports import free_port
from servers import HOST, PATIENCE, Program
from workspace_setup import servers as installed

DOMAINS = ("example.test", "people.test", "elsewhere.test")
PASSWORD = "open-sesame"
"""Of all mailboxes."""
LARGEST = 20 * 1024 * 1024
"""Bytes of a mail that Postfix takes."""


def somebody(domain: str = DOMAINS[1]) -> str:
    """An address that nobody has had before."""
    return f"u{secrets.token_hex(5)}@{domain}"


def nobody() -> str:
    """An address that Postfix does not know."""
    return f"nobody{secrets.token_hex(5)}@{DOMAINS[1]}"


def _waits_for_clients(process: psutil.Process) -> bool:
    try:
        return process.name() in {"auth", "imap-login"}
    except psutil.NoSuchProcess:
        # It has ended meanwhile.
        return False


class Dovecot(Program):
    """IMAP and LMTP over maildirs; ``port`` is IMAP without TLS."""

    def __init__(self, certificates: Certificates) -> None:
        assert os.geteuid() == 0, "the tests' mail servers want root"
        super().__init__()
        self.imaps_port, self.lmtp_port, self.sasl_port = (free_port() for _ in range(3))
        self.token_key = secrets.token_bytes(32)
        """Who has it gives out access tokens (JSON Web Tokens with HS256) for XOAUTH2."""
        self.folder.chmod(0o711)
        self._mails = self.folder / "mail"
        self._mails.mkdir()
        shutil.chown(self._mails, "mail", "mail")
        self._settings = self.folder / "dovecot.conf"
        self._settings.write_text(self._written(certificates))

    def command(self) -> Sequence[str | Path]:
        return [_found(installed.dovecot()), "-F", "-c", self._settings]

    def ready(self) -> bool:
        return all(
            _greets(port, greeting) for port, greeting in ((self.port, b"* OK"), (self.lmtp_port, b"220 "))
        )

    def stop(self) -> None:
        if self.running:
            *children, master = self._processes()
            self._signal(signal.SIGINT, [master])
            # They would wait for their clients: half a minute for Postfix, which asks for passwords.
            self._signal(signal.SIGKILL, [child for child in children if _waits_for_clients(child)])
        super().stop()

    def deliver(self, address: str, *mails: bytes) -> None:
        """Put mails into somebody's inbox, in this order, as if they had just come."""
        with smtplib.LMTP(HOST, self.lmtp_port) as lmtp:
            for mail in mails:
                lmtp.sendmail("sender@elsewhere.test", [address], mail)

    def put(self, address: str, mails: Sequence[bytes]) -> None:
        """Put thousands of mails into an inbox of which Dovecot knows nothing yet."""
        folder = self.maildir(address)
        for name in ("cur", "new", "tmp"):
            (folder / name).mkdir(parents=True)
        for number, mail in enumerate(mails):
            # The name is the order (https://cr.yp.to/proto/maildir.html).
            (folder / "new" / f"{1_700_000_000 + number}.M{number}.test").write_bytes(mail)
        subprocess.run(["chown", "-R", "mail:mail", folder.parent], check=True)

    def maildir(self, address: str) -> Path:
        """Where somebody's mails lie."""
        name, _, domain = address.partition("@")
        return self._mails / domain / name

    @contextlib.contextmanager
    def open(self, address: str, folder: str = "INBOX") -> Iterator[imaplib.IMAP4]:
        """A session of an ordinary mail program."""
        with imaplib.IMAP4(HOST, self.port, timeout=PATIENCE) as client:
            client.login(address, PASSWORD)
            status, said = client.select(folder)
            assert status == "OK", said
            yield client

    def mails(self, address: str, folder: str = "INBOX") -> list[bytes]:
        """All mails of a folder, oldest first; they are not marked as read by this."""
        with self.open(address, folder) as client:
            _, (numbers, *_) = client.search(None, "ALL")
            found = []
            for number in numbers.split():
                _, answer = client.fetch(number.decode(), "(BODY.PEEK[])")
                assert isinstance(answer[0], tuple)
                found.append(answer[0][1])
            return found

    def flags(self, address: str, folder: str = "INBOX") -> list[set[str]]:
        """What is marked on each mail, oldest first; not whether it has just come."""
        with self.open(address, folder) as client:
            _, lines = client.fetch("1:*", "(FLAGS)")
            return [
                {flag.decode() for flag in imaplib.ParseFlags(line)} - {"\\Recent"}
                for line in lines
                if isinstance(line, bytes)
            ]

    def number_anew(self, address: str, folder: str = "INBOX") -> None:
        """Give all mails of a folder new UIDs under a new UIDVALIDITY, as a server that was restored would;
        whoever has it open is thrown out."""
        with self.open(address, folder) as client:
            _, (validity, *_) = client.response("UIDVALIDITY")
        assert validity is not None
        new = str(int(validity) + 1)
        self.administer("mailbox", "update", "-u", address, "--uid-validity", new, folder)

    def administer(self, *words: str) -> str:
        """What ``doveadm`` prints."""
        done = subprocess.run(
            ["doveadm", "-c", str(self._settings), *words],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _written(self, certificates: Certificates) -> str:
        for name in ("run", "state"):
            (self.folder / name).mkdir()
        key = self.folder / "tokens" / "default" / "HS256" / "default"
        key.parent.mkdir(parents=True)
        key.write_bytes(base64.b64encode(self.token_key))
        (self.folder / "oauth2.conf").write_text(
            "introspection_mode = local\n"
            f"local_validation_key_dict = fs:posix:prefix={self.folder}/tokens/\n"
            "username_attribute = email\n"
        )
        return f"""
base_dir = {self.folder}/run
state_dir = {self.folder}/state
instance_name = {self.folder.name}
log_path = {self.log}
protocols = imap lmtp
listen = {HOST}
ssl = yes
ssl_cert = <{certificates.server}
ssl_key = <{certificates.key}
disable_plaintext_auth = no
auth_mechanisms = plain login xoauth2
auth_failure_delay = 0
mail_location = maildir:{self._mails}/%d/%n
mail_uid = mail
mail_gid = mail
first_valid_uid = 1
# Of 127.0.0.1, where all clients of the tests are.
mail_max_userip_connections = 1000
imap_idle_notify_interval = 30s
passdb {{
  driver = oauth2
  mechanisms = xoauth2
  args = {self.folder}/oauth2.conf
}}
passdb {{
  driver = static
  mechanisms = plain login
  args = password={PASSWORD}
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home={self._mails}/%d/%n allow_all_users=yes
}}
namespace inbox {{
  inbox = yes
  separator = /
  mailbox "Messages sent" {{
    special_use = \\Sent
    auto = subscribe
  }}
  mailbox Drafts {{
    special_use = \\Drafts
    auto = subscribe
  }}
  mailbox Junk {{
    special_use = \\Junk
    auto = subscribe
  }}
}}
service imap-login {{
  # One process for all that sign in, ready before they come.
  service_count = 0
  process_min_avail = 1
  inet_listener imap {{
    port = {self.port}
  }}
  inet_listener imaps {{
    port = {self.imaps_port}
    ssl = yes
  }}
}}
service imap {{
  service_count = 100
  process_min_avail = 2
}}
service lmtp {{
  inet_listener lmtp {{
    address = {HOST}
    port = {self.lmtp_port}
  }}
}}
service auth {{
  inet_listener {{
    address = {HOST}
    port = {self.sasl_port}
  }}
}}
service anvil {{
  chroot =
  # Wrong passwords slow nobody down.
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
default_client_limit = 5000
protocol lmtp {{
  postmaster_address = postmaster@{DOMAINS[0]}
}}
"""


class Postfix(Program):
    """Takes mail and hands it to Dovecot; ``port`` speaks plain SMTP and trusts everybody here."""

    def __init__(self, dovecot: Dovecot, certificates: Certificates) -> None:
        assert os.geteuid() == 0, "the tests' mail servers want root"
        super().__init__()
        self.starttls_port, self.tls_port = free_port(), free_port()
        """Submission: who signs in as a user of Dovecot may send, and only with TLS."""
        self._settings = self.folder / "settings"
        self.folder.chmod(0o711)
        self._make_folders()
        people = "".join(f"/^[^@]+@{domain.replace('.', '[.]')}$/ here\n" for domain in DOMAINS)
        (self._settings / "people").write_text(f"if !/^nobody/\n{people}endif\n")
        (self._settings / "main.cf").write_text(self._main(dovecot, certificates))
        (self._settings / "master.cf").write_text(self._services())
        # It waits until nobody can be writing them any more.
        for file in self._settings.iterdir():
            os.utime(file, (0, 0))

    def command(self) -> Sequence[str | Path]:
        return [_found(installed.postfix_master()), "-d", "-c", self._settings]

    def ready(self) -> bool:
        return _greets(self.port, b"220 ")

    def queued(self) -> int:
        """How many mails wait."""
        folders = ("maildrop", "incoming", "active", "deferred")
        return sum(file.is_file() for name in folders for file in (self.folder / "queue" / name).rglob("*"))

    def _make_folders(self) -> None:
        self._settings.mkdir()
        queue, data = self.folder / "queue", self.folder / "data"
        # As postfix-files(5) has it, which `postfix check` would do slowly at each start.
        private = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming")
        for name in (*private, "private", "saved", "trace", "public", "maildrop", "pid"):
            (queue / name).mkdir(parents=True)
            if name != "pid":
                shutil.chown(queue / name, "postfix", "root")
                (queue / name).chmod(0o700)
        for name, mode in (("public", 0o710), ("maildrop", 0o730)):
            shutil.chown(queue / name, "postfix", "postdrop")
            (queue / name).chmod(mode)
        data.mkdir()
        shutil.chown(data, "postfix", "postfix")

    def _main(self, dovecot: Dovecot, certificates: Certificates) -> str:
        return f"""
compatibility_level = 3.6
queue_directory = {self.folder}/queue
data_directory = {self.folder}/data
maillog_file = {self.folder}/maillog
maillog_file_prefixes = {self.folder}
myhostname = mail.example.test
mydestination =
inet_interfaces = {HOST}
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
virtual_mailbox_domains = {" ".join(DOMAINS)}
virtual_mailbox_maps = regexp:{self._settings}/people
virtual_transport = lmtp:inet:{HOST}:{dovecot.lmtp_port}
default_transport = error:5.1.2 no mail leaves this machine
smtp_host_lookup = native
disable_dns_lookups = yes
alias_maps =
alias_database =
local_recipient_maps =
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_reject_unlisted_recipient = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:{HOST}:{dovecot.sasl_port}
smtpd_tls_cert_file = {certificates.server}
smtpd_tls_key_file = {certificates.key}
smtpd_tls_auth_only = yes
message_size_limit = {LARGEST}
# Tests are impatient, and they all come from one machine.
smtpd_client_connection_count_limit = 0
smtpd_error_sleep_time = 0
smtpd_hard_error_limit = 1000
queue_run_delay = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 2s
lmtp_destination_recipient_limit = 1
in_flow_delay = 0
# In the order of time.
enable_long_queue_ids = yes
"""

    def _services(self) -> str:
        submission = (
            "-o smtpd_sasl_auth_enable=yes -o mynetworks= "
            "-o smtpd_recipient_restrictions=permit_sasl_authenticated,reject"
        )
        return f"""
{self.port} inet n - n - - smtpd -o smtpd_tls_security_level=none
{self.starttls_port} inet n - n - - smtpd -o smtpd_tls_security_level=encrypt {submission}
{self.tls_port} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes {submission}
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def _found(program: Path | None) -> Path:
    assert program is not None, "Dovecot or Postfix is missing; `make test` installs them"
    return program


def _greets(port: int, greeting: bytes) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=PATIENCE) as connection:
            return connection.recv(len(greeting)) == greeting
    except OSError:
        return False


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """For servers on this machine, from an authority of the tests."""
    folder = tmp_path_factory.mktemp("certificates")
    return issue(folder)


@pytest.fixture(scope="session")
def _dovecot(certificates: Certificates) -> Iterator[Dovecot]:
    server = Dovecot(certificates)
    yield server
    server.close()


@pytest.fixture(scope="session")
def _postfix(_dovecot: Dovecot, certificates: Certificates) -> Iterator[Postfix]:
    server = Postfix(_dovecot, certificates)
    yield server
    server.close()


@pytest.fixture
def dovecot(_dovecot: Dovecot) -> Dovecot:
    """A Dovecot that is up."""
    _dovecot.start()
    return _dovecot


@pytest.fixture
def postfix(_postfix: Postfix, dovecot: Dovecot) -> Postfix:
    """A Postfix that is up and delivers to ``dovecot``."""
    _postfix.start()
    return _postfix


@pytest.fixture
def trusting(certificates: Certificates) -> ssl.SSLContext:
    """What a client needs that trusts the tests' authority and nobody else."""
    return ssl.create_default_context(cafile=str(certificates.authority))
