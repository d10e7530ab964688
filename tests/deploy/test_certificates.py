"""The certificates that `make up` makes itself: renewed in time, and nobody else's is touched."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent.parent / "deploy" / "certificates.sh"
DOMAIN = "ai.example.org"
OURS = f"/O=Code du Travail Neo, make up/CN={DOMAIN}"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "deploy").mkdir()
    shutil.copy(SCRIPT, tmp_path / "deploy")
    return tmp_path


def run(site: Path, *domains: str) -> str:
    done = subprocess.run(
        ["sh", site / "deploy" / "certificates.sh", *domains], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def pair(site: Path) -> tuple[Path, Path]:
    folder = site / "deploy" / "certificates" / DOMAIN
    return folder / "fullchain.pem", folder / "privkey.pem"


def lay(site: Path, subject: str, days: int) -> tuple[str, str]:
    """A certificate that lasts so long, and what its files hold."""
    certificate, key = pair(site)
    certificate.parent.mkdir(parents=True)
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, "-days", str(days), "-subj", subject, *files], check=True, capture_output=True)
    return certificate.read_text(), key.read_text()


def lasts(certificate: Path, days: int) -> bool:
    command = ["openssl", "x509", "-in", str(certificate), "-noout", "-checkend", str(days * 86_400)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def test_a_domain_without_one_gets_one_that_fits_and_lasts(site: Path) -> None:
    run(site, DOMAIN)
    certificate, key = pair(site)
    of_both = [
        subprocess.run(command, capture_output=True, check=True).stdout
        for command in (
            ["openssl", "x509", "-in", str(certificate), "-noout", "-pubkey"],
            ["openssl", "pkey", "-in", str(key), "-pubout"],
        )
    ]
    assert of_both[0] == of_both[1]
    assert key.stat().st_mode & 0o777 == 0o600
    assert lasts(certificate, 800)
    # No client has to take one for longer.
    assert not lasts(certificate, 826)
    before = certificate.read_text()
    assert run(site, DOMAIN) == ""
    assert certificate.read_text() == before


def test_one_of_our_own_is_renewed_before_it_ends(site: Path) -> None:
    before = lay(site, OURS, 29)
    assert "copy the new one there" in run(site, DOMAIN)
    certificate, key = pair(site)
    assert lasts(certificate, 800)
    assert before[1] != key.read_text()


@pytest.mark.parametrize(
    ("subject", "days"), [(OURS, 31), (f"/CN={DOMAIN}", 29), (OURS.replace("ai.", "our."), 29)]
)
def test_one_that_holds_and_those_of_others_are_left_alone(site: Path, subject: str, days: int) -> None:
    before = lay(site, subject, days)
    assert run(site, DOMAIN) == ""
    certificate, key = pair(site)
    assert (certificate.read_text(), key.read_text()) == before
