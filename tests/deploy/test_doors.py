"""What a real blackbox-exporter with deploy/prometheus/blackbox.yml sees of a real nginx."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from nginx_server import NginxServer, in_front_of
from prometheus_server import SOURCE, WebProgram, exporter

HOST = "127.0.0.1"
ENDS = re.compile(r"^probe_ssl_earliest_cert_expiry (\S+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def nginx() -> Iterator[NginxServer]:
    """With a certificate of an authority that nobody outside knows, as CDNs give for the way between."""
    with in_front_of(f"{HOST}:9") as server:
        yield server


@pytest.fixture(scope="module")
def blackbox() -> Iterator[WebProgram]:
    with ExitStack() as stack:
        program = exporter("blackbox", f"--config.file={SOURCE}/blackbox.yml")
        stack.callback(program.close)
        program.start()
        yield program


def _seen(blackbox: WebProgram, nginx: NginxServer, module: str, domain: str) -> str:
    parameters = {"module": module, "hostname": domain, "target": f"https://{HOST}:{nginx.https_port}/livez"}
    answer = httpx.get(f"http://{blackbox.address}/probe", params=parameters, trust_env=False, timeout=30)
    assert answer.is_success, answer.text
    return answer.text


@pytest.mark.parametrize("domain", ["ai.test", "telegram.test", "mail.test"])
def test_the_end_of_each_domains_own_certificate_is_known_behind_a_cdn(
    blackbox: WebProgram, nginx: NginxServer, domain: str
) -> None:
    found = ENDS.search(_seen(blackbox, nginx, "origin", domain))
    assert found
    # The tests' certificates hold for two days.
    assert float(found[1]) == pytest.approx(time.time() + 2 * 86_400, abs=3_600)


def test_a_certificate_that_nobody_trusts_is_no_open_door(blackbox: WebProgram, nginx: NginxServer) -> None:
    assert "probe_success 0" in _seen(blackbox, nginx, "https", "ai.test")
    assert not ENDS.search(_seen(blackbox, nginx, "https", "ai.test"))


def test_a_service_that_is_away_behind_nginx_is_seen(blackbox: WebProgram, nginx: NginxServer) -> None:
    found = _seen(blackbox, nginx, "origin", "ai.test")
    assert "probe_success 0" in found
    assert re.search(r"^probe_http_status_code 50[23]$", found, re.MULTILINE)
