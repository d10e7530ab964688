"""A real nginx with the configuration of nginx/, as it runs in the container, but for ports and paths."""

from __future__ import annotations

import datetime
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ports import free_port
from servers import HOST, Program

SOURCE = Path(__file__).resolve().parent.parent.parent / "nginx"
DOMAINS = {"AI_DOMAIN": "ai.test", "TELEGRAM_DOMAIN": "telegram.test", "MAIL_DOMAIN": "mail.test"}
WATCHES = {"NGINX_RELOAD_SECONDS": "30-reload.sh", "NGINX_REPLICAS": "40-replicas.sh"}
"""What goes on looking beside nginx, where a test gives the setting."""
VARIABLE = re.compile(r"\$\{([A-Z_]+)\}")


class NginxServer(Program):
    """Serves the three domains in front of upstreams that a test gives."""

    def __init__(self, upstreams: Mapping[str, str], **changed: str) -> None:
        """``upstreams``: AI_CORE_UPSTREAM, TELEGRAM_UPSTREAM and MAIL_UPSTREAM, as ``host:port``."""
        super().__init__()
        self.https_port = free_port()
        self.maintenance = self.folder / "maintenance"
        self.acme = self.folder / "acme"
        self.access_log = self.folder / "access.log"
        self.bodies = self.folder / "tmp" / "nginx-body"
        self.error_log = self.folder / "error.log"
        self._watches: list[subprocess.Popen[bytes]] = []
        self._variables = {
            **DOMAINS,
            **upstreams,
            "NGINX_HTTP_PORT": f"{HOST}:{self.port}",
            "NGINX_HTTPS_PORT": f"{HOST}:{self.https_port}",
            "NGINX_RESOLVER": HOST,
            "NGINX_ACME_DIR": str(self.acme),
            "NGINX_CERTIFICATE_DIR": str(self.folder / "certificates"),
            "NGINX_MAINTENANCE_FILE": str(self.maintenance),
            "NGINX_REQUESTS_PER_SECOND": "1000",
            "NGINX_BURST": "1000",
            "NGINX_BURST_OF_TELEGRAM": "1000",
            "NGINX_CONNECTIONS_PER_ADDRESS": "200",
            "NGINX_MAX_BODY": "2m",
            "NGINX_MAX_UPLOAD": "32m",
            "NGINX_CONF_DIR": str(self.folder / "conf.d"),
            "NGINX_CDN_FILE": str(self.folder / "conf.d" / "cdn.conf"),
            "NGINX_RELOAD": f"kill -HUP $(cat {self.folder}/tmp/nginx.pid)",
        } | changed
        self._lay_out()

    def command(self) -> Sequence[str | Path]:
        return ["nginx", "-p", self.folder, "-c", self.folder / "nginx.conf", "-g", "daemon off;"]

    def ready(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.https_port)) == 0

    def close(self) -> None:
        for watch in self._watches:
            # What watches over replicas and certificates has gone on behind the script that began it.
            os.killpg(watch.pid, signal.SIGKILL)
        # Its workers, killed, would wait for somebody who takes note of their end.
        self.stop()
        super().close()

    def tls(self) -> ssl.SSLContext:
        """For clients: trusts the certificates of the tests and nothing else."""
        return ssl.create_default_context(cafile=str(self.folder / "authority.pem"))

    def _lay_out(self) -> None:
        shutil.copytree(SOURCE, self.folder, dirs_exist_ok=True)
        (self.folder / "conf.d").mkdir()
        self.acme.mkdir()
        (self.folder / "tmp").mkdir()
        # Its workers give up the rights of root, and are to reach what is theirs.
        for path in (self.folder, *self.folder.rglob("*")):
            path.chmod(0o755)
        for template in (self.folder / "templates").iterdir():
            rendered = VARIABLE.sub(lambda found: self._variables[found.group(1)], template.read_text())
            (self.folder / "conf.d" / template.stem).write_text(rendered)
        main = (self.folder / "nginx.conf").read_text().replace("/tmp/", f"{self.folder}/tmp/")
        main = main.replace("/dev/stdout", str(self.access_log)).replace("/dev/stderr", str(self.error_log))
        (self.folder / "nginx.conf").write_text(main)
        environment = {**os.environ, **self._variables}
        for script in ("10-sites.sh", "20-cdn.sh"):
            subprocess.run([self.folder / "entrypoint" / script], env=environment, check=True)
        for domain in (self._variables[name] for name in DOMAINS):
            self._certify(domain)
        for setting, script in WATCHES.items():
            if setting in self._variables:
                self._begin_watch(self.folder / "entrypoint" / script, environment)

    def _begin_watch(self, script: Path, environment: Mapping[str, str]) -> None:
        with self.error_log.open("ab") as said:
            watch = subprocess.Popen(
                [script], env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=said
            )
        self._watches.append(watch)
        assert watch.wait() == 0

    def _certify(self, domain: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, domain)])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(domain)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
        )
        folder = self.folder / "certificates" / domain
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "fullchain.pem").write_bytes(certificate)
        (folder / "privkey.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        with (self.folder / "authority.pem").open("ab") as authority:
            authority.write(certificate)


@contextmanager
def in_front_of(address: str, **changed: str) -> Iterator[NginxServer]:
    """One that runs, with all three services at an address, or as the name of an upstream."""
    names = ("AI_CORE_UPSTREAM", "TELEGRAM_UPSTREAM", "MAIL_UPSTREAM")
    with closing(NginxServer(dict.fromkeys(names, address), **changed)) as server:
        server.start()
        yield server


def client_of(nginx: NginxServer) -> httpx.AsyncClient:
    """Finds all domains there."""
    return httpx.AsyncClient(verify=nginx.tls(), transport=_Domains(nginx), trust_env=False)


class _Domains(httpx.AsyncHTTPTransport):
    """Takes every domain to the nginx under test, with the name in TLS and in Host."""

    def __init__(self, nginx: NginxServer) -> None:
        super().__init__(verify=nginx.tls(), trust_env=False)
        self._nginx = nginx

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        domain, port = request.url.host, self._nginx.https_port
        if request.url.scheme == "http":
            port = self._nginx.port
        request.headers["host"] = domain
        request.extensions["sni_hostname"] = domain
        request.url = request.url.copy_with(host=HOST, port=port)
        return await super().handle_async_request(request)
