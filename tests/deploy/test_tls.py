"""What nginx speaks, looked at from outside as testssl.sh does, with openssl alone."""

from __future__ import annotations

import datetime
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from nginx_server import NginxServer, client_of, in_front_of
from servers import HOST

ROOT = Path(__file__).resolve().parent.parent.parent
NOWHERE = "127.0.0.1:9"
PATIENCE = 20.0
SOUND_TLS_1_2 = {
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
}
"""Of Mozilla's "intermediate" list (version 5.7), those for a certificate with an elliptic key."""
SOUND_TLS_1_3 = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
WEAK = "@SECLEVEL=0"
"""Without this, the client would not even offer what it is to offer."""


@pytest.fixture(scope="module")
def nginx() -> Iterator[NginxServer]:
    with in_front_of(NOWHERE) as server:
        yield server


def s_client(nginx: NginxServer, *options: str, said: bytes = b"") -> subprocess.CompletedProcess[str]:
    """What ``openssl s_client`` makes of the server."""
    address = ["-connect", f"{HOST}:{nginx.https_port}", "-servername", "ai.test"]
    authority = ["-verify_return_error", "-verify_hostname", "ai.test"]
    trusted = ["-CAfile", str(nginx.folder / "authority.pem")]
    done = subprocess.run(
        ["openssl", "s_client", *address, *authority, *trusted, *options],
        input=said,
        capture_output=True,
        check=False,
        timeout=60,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    )


def handshake(nginx: NginxServer, context: ssl.SSLContext, domain: str = "ai.test") -> ssl.SSLSocket:
    plain = socket.create_connection((HOST, nginx.https_port))
    try:
        return context.wrap_socket(plain, server_hostname=domain)
    except BaseException:
        plain.close()
        raise


@pytest.mark.parametrize(
    ("options", "accepted"),
    [
        (["-tls1", "-cipher", f"ALL{WEAK}"], False),
        (["-tls1_1", "-cipher", f"ALL{WEAK}"], False),
        (["-tls1_2"], True),
        (["-tls1_3"], True),
        # Somebody in between has talked this client out of TLS 1.3 (RFC 7507).
        (["-tls1_2", "-fallback_scsv"], False),
        (["-tls1_3", "-groups", "X25519"], True),
        (["-tls1_2", "-groups", "P-256"], True),
    ],
)
def test_only_current_versions_are_spoken(nginx: NginxServer, options: list[str], accepted: bool) -> None:
    done = s_client(nginx, *options)
    assert (done.returncode == 0) is accepted, done.stdout
    assert accepted or "Cipher is (NONE)" in done.stdout


def test_of_all_ciphers_of_tls_1_2_only_sound_ones_are_accepted(nginx: NginxServer) -> None:
    listed = ["openssl", "ciphers", "-s", "-tls1_2", f"ALL:COMPLEMENTOFALL:eNULL:aNULL{WEAK}"]
    offered = subprocess.run(listed, check=True, capture_output=True, text=True).stdout.strip().split(":")
    accepted = set()
    for cipher in offered:
        context = nginx.tls()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(f"{cipher}{WEAK}")
        try:
            with handshake(nginx, context) as connection:
                accepted.add(str((connection.cipher() or ("",))[0]))
        except (ssl.SSLError, ConnectionError):
            continue
    assert len(offered) > 50
    assert accepted == SOUND_TLS_1_2


def test_of_all_ciphers_of_tls_1_3_only_sound_ones_are_accepted(nginx: NginxServer) -> None:
    others = {"TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"}
    accepted = {
        cipher
        for cipher in SOUND_TLS_1_3 | others
        if s_client(nginx, "-tls1_3", "-ciphersuites", cipher).returncode == 0
    }
    assert accepted == SOUND_TLS_1_3


def test_nothing_is_compressed_or_kept_in_tickets_and_clients_do_not_renegotiate(nginx: NginxServer) -> None:
    done = s_client(nginx, "-tls1_2", "-comp")
    assert "Compression: NONE" in done.stdout
    assert "Secure Renegotiation IS supported" in done.stdout
    assert "TLS session ticket" not in done.stdout
    # A line with R alone asks s_client to begin anew.
    again = s_client(nginx, "-tls1_2", said=b"R\n")
    assert "RENEGOTIATING" in again.stdout + again.stderr
    assert "no renegotiation" in again.stderr


def test_the_signature_is_not_of_the_past(nginx: NginxServer) -> None:
    done = s_client(nginx, "-tls1_2")
    assert "Peer signing digest: SHA256" in done.stdout
    assert "Server Temp Key: X25519" in done.stdout
    refused = s_client(nginx, "-tls1_2", "-sigalgs", "ECDSA+SHA1", "-cipher", f"ALL{WEAK}")
    assert refused.returncode != 0


def test_http_2_is_spoken_and_http_1_to_those_who_know_no_other(nginx: NginxServer) -> None:
    for offered, chosen in ((["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1")):
        context = nginx.tls()
        context.set_alpn_protocols(offered)
        with handshake(nginx, context) as connection:
            assert connection.selected_alpn_protocol() == chosen


async def test_browsers_are_told_to_come_by_https_only_wherever_they_look(nginx: NginxServer) -> None:
    async with client_of(nginx) as client:
        for address in ("https://ai.test/", "https://telegram.test/nothing", "https://mail.test/livez"):
            answer = await client.get(address)
            seconds = answer.headers["strict-transport-security"].split(";")[0].removeprefix("max-age=")
            assert int(seconds) >= 365 * 86_400
        # Over plain HTTP the header would count for nothing (RFC 6797, 7.2).
        assert "strict-transport-security" not in (await client.get("http://ai.test/")).headers


def test_a_name_that_is_not_ours_is_shown_no_certificate(nginx: NginxServer) -> None:
    context = nginx.tls()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with pytest.raises(ssl.SSLError):
        handshake(nginx, context, "else.test")
    unnamed = subprocess.run(
        ["openssl", "s_client", "-noservername", "-connect", f"{HOST}:{nginx.https_port}"],
        input=b"",
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert b"no peer certificate available" in unnamed.stdout


def test_a_new_certificate_is_shown_with_its_chain_as_soon_as_it_lies_there() -> None:
    with in_front_of(NOWHERE, NGINX_RELOAD_SECONDS="0.1") as nginx:
        root = renew(nginx, "ai.test")
        # Whoever knows the root alone can follow what is sent.
        chain = ("-CAfile", str(root), "-showcerts")
        _until(lambda: s_client(nginx, *chain).stdout.count("-----BEGIN CERTIFICATE-----") == 2)
        _until(lambda: s_client(nginx, *chain).returncode == 0)


def test_a_certificate_whose_key_comes_later_is_shown_once_both_are_there() -> None:
    """nginx keeps what it has as long as the one does not fit the other."""
    with in_front_of(NOWHERE, NGINX_RELOAD_SECONDS="0.1") as nginx:
        key = nginx.folder / "certificates" / "ai.test" / "privkey.pem"
        before = key.read_bytes()
        renew(nginx, "ai.test")
        after = key.read_bytes()
        key.write_bytes(before)
        _until(lambda: "key values mismatch" in nginx.error_log.read_text())
        assert b"ai.test renewed" not in _shown(nginx)
        key.write_bytes(after)
        _until(lambda: b"ai.test renewed" in _shown(nginx))


def _until(seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not seen():
        assert time.monotonic() < deadline


def _shown(nginx: NginxServer) -> bytes:
    context = nginx.tls()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with handshake(nginx, context) as connection:
        return connection.getpeercert(binary_form=True) or b""


def renew(nginx: NginxServer, domain: str) -> Path:
    """Put a certificate of an authority's where certbot puts it; the authority's own is in the result."""
    root_key, root = _issue("a root of the tests", None)
    middle_key, middle = _issue("its intermediate", (root_key, root))
    key, leaf = _issue(f"{domain} renewed", (middle_key, middle), domain)
    folder = nginx.folder / "certificates" / domain
    chain = b"".join(each.public_bytes(serialization.Encoding.PEM) for each in (leaf, middle))
    (folder / "fullchain.pem").write_bytes(chain)
    (folder / "privkey.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    path = nginx.folder / "root.pem"
    path.write_bytes(root.public_bytes(serialization.Encoding.PEM))
    return path


Signer = tuple[ec.EllipticCurvePrivateKey, x509.Certificate]


def _issue(name: str, signer: Signer | None, domain: str | None = None) -> Signer:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer[1].subject if signer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=domain is None, path_length=None), critical=True)
    )
    if domain is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(domain)]), critical=False)
    return key, builder.sign(signer[0] if signer else key, hashes.SHA256())


def test_certificates_of_our_own_are_made_where_there_are_none_and_others_stay(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    script = tmp_path / "deploy" / "certificates.sh"
    script.write_bytes((ROOT / "deploy" / "certificates.sh").read_bytes())
    given = tmp_path / "deploy" / "certificates" / "ai.test"
    given.mkdir(parents=True)
    # What a CDN gave for the way from it to here, say.
    for part in ("fullchain.pem", "privkey.pem"):
        (given / part).write_text("of the CDN's authority\n")
    for _ in range(2):
        subprocess.run(["sh", script, "ai.test", "telegram.test"], check=True, capture_output=True)
    assert (given / "fullchain.pem").read_text() == "of the CDN's authority\n"
    made = tmp_path / "deploy" / "certificates" / "telegram.test"
    certificate = x509.load_pem_x509_certificate((made / "fullchain.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["telegram.test"]
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)
    assert (made / "privkey.pem").stat().st_mode & 0o777 == 0o600


NO_PROFILES = {"PROFILES": ""}
CERTBOT = """#!/bin/sh
# Stands for certbot: notes who is asked for, and has what the test lays out.
while [ $# -gt 0 ]; do [ "$1" != --domain ] || domain=$2; shift; done
echo "asked $domain" >> "$DONE"
[ -e "$LETSENCRYPT_DIR/live/$domain" ]
"""
SLEEP = """#!/bin/sh
# Passes time at once, until it has been enough.
echo "slept $1" >> "$DONE"
[ "$(grep -c slept "$DONE")" -lt "$NIGHTS" ] || kill "$PPID"
"""


def ask_the_authority(folder: Path, settings: Mapping[str, str] = NO_PROFILES, nights: int = 1) -> list[str]:
    """What deploy/certbot.sh does until it has slept so often."""
    programs, done = folder / "bin", folder / "done"
    programs.mkdir()
    for name, text in {"certbot": CERTBOT, "sleep": SLEEP}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "DONE": str(done),
        "NIGHTS": str(nights),
        "ACME_EMAIL": "you@example.org",
        "ACME_SERVER": "https://authority.test",
        "CERTIFICATES_DIR": str(folder / "certificates"),
        "LETSENCRYPT_DIR": str(folder / "letsencrypt"),
        "AI_DOMAIN": "ai.example.org",
        "TELEGRAM_DOMAIN": "telegram.localhost",
        "MAIL_DOMAIN": "mail.localhost",
    }
    script = ["sh", str(ROOT / "deploy" / "certbot.sh")]
    subprocess.run(script, env=environment | dict(settings), check=False, capture_output=True, timeout=60)
    return done.read_text().splitlines()


@pytest.mark.parametrize(
    ("settings", "asked"),
    [
        ({"PROFILES": "acme"}, {"ai"}),
        # Names without a door here, and names that no authority knows.
        ({"PROFILES": "acme,telegram,mail"}, {"ai"}),
        ({"TELEGRAM_DOMAIN": "telegram.example.org", "MAIL_DOMAIN": "mail.example.org"}, {"ai"}),
        ({"PROFILES": "acme,telegram", "TELEGRAM_DOMAIN": "telegram.example.org"}, {"ai", "telegram"}),
        ({"PROFILES": "mailserver,acme", "MAIL_DOMAIN": "mail.example.org"}, {"ai", "mail"}),
        ({"AI_DOMAIN": "", "PROFILES": "telegram", "TELEGRAM_DOMAIN": "telegram.example.org"}, {"telegram"}),
    ],
)
def test_an_authority_is_asked_for_what_is_served_here_and_for_nothing_else(
    tmp_path: Path, settings: dict[str, str], asked: set[str]
) -> None:
    done = ask_the_authority(tmp_path, settings)
    assert {line for line in done if line.startswith("asked")} == {
        f"asked {name}.example.org" for name in asked
    }


def test_a_certificate_lies_where_nginx_reads_it_and_is_asked_for_again_in_half_a_day(tmp_path: Path) -> None:
    given = tmp_path / "letsencrypt" / "live" / "ai.example.org"
    given.mkdir(parents=True)
    for part in ("fullchain", "privkey"):
        (given / f"{part}.pem").write_text(part)
    assert ask_the_authority(tmp_path)[-1] == "slept 43200"
    laid = tmp_path / "certificates" / "ai.example.org"
    assert {path.name: path.read_text() for path in laid.iterdir()} == {
        "fullchain.pem": "fullchain",
        "privkey.pem": "privkey",
    }


def test_an_authority_that_says_no_is_asked_again_soon_and_then_ever_more_seldom(tmp_path: Path) -> None:
    done = ask_the_authority(tmp_path, nights=5)
    assert [line.removeprefix("slept ") for line in done if line.startswith("slept")] == [
        *("60", "240", "960", "3600", "3600")
    ]
