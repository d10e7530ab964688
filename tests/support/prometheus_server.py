"""A real Prometheus with the configuration of deploy/prometheus, and real exporters of Debian's for it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml

from servers import HOST, PATIENCE, Program

DEPLOY = Path(__file__).resolve().parent.parent.parent / "deploy"
SOURCE = DEPLOY / "prometheus"
OFTEN = "1s"
"""Between two looks; as deployed it is 15 s."""


class WebProgram(Program):
    """A server of Prometheus' world: in the foreground, with a page that answers when it is there."""

    def __init__(
        self, *command: str, path: str = "/metrics", environment: Mapping[str, str] | None = None
    ) -> None:
        """``command``: {port} and {folder} in it are this program's."""
        super().__init__()
        self._command = command
        self._path = path
        self._environment = environment or {}

    @property
    def address(self) -> str:
        """Where it is, as ``host:port``."""
        return f"{HOST}:{self.port}"

    def command(self) -> Sequence[str | Path]:
        values = {"port": str(self.port), "folder": str(self.folder)}
        variables = [f"{name}={value}" for name, value in self._environment.items()]
        return ["env", *variables, *(word.format_map(values) for word in self._command)]

    def ready(self) -> bool:
        try:
            return httpx.get(f"http://{self.address}{self._path}", trust_env=False).is_success
        except httpx.HTTPError:
            return False


def exporter(kind: str, *options: str, **environment: str) -> WebProgram:
    """One of Debian's exporters: ``node``, ``redis``, ``postgres``, ``blackbox``."""
    program = f"prometheus-{kind}-exporter"
    return WebProgram(program, f"--web.listen-address={HOST}:{{port}}", *options, environment=environment)


def alertmanager(receivers: str = "") -> WebProgram:
    """With the routing of deploy/alertmanager, to nobody; or with a configuration of deploy/alerts.sh's."""
    program = WebProgram(
        shutil.which("prometheus-alertmanager") or "alertmanager",
        "--config.file={folder}/alertmanager.yml",
        "--storage.path={folder}",
        f"--web.listen-address={HOST}:{{port}}",
        "--cluster.listen-address=",
        path="/-/ready",
    )
    nobody = "".join(f"  - name: {name}\n" for name in ("on-call", "tickets", "watchdog"))
    routes = (DEPLOY / "alertmanager" / "routes.yml").read_text()
    (program.folder / "alertmanager.yml").write_text(receivers or f"{routes}\nreceivers:\n{nobody}")
    return program


class PrometheusServer(WebProgram):
    """As deployed, but for addresses and for how often it looks."""

    def __init__(
        self, addresses: Mapping[str, str], targets: Mapping[str, Sequence[str]], metrics_key: str
    ) -> None:
        """``addresses``: what stands for a name and port of the containers. ``targets``: the files that
        ``make up`` writes. ``metrics_key`` opens the AI core's metrics."""
        super().__init__(
            "prometheus",
            "--config.file={folder}/prometheus.yml",
            "--storage.tsdb.path={folder}/data",
            f"--web.listen-address={HOST}:{{port}}",
            "--log.level=warn",
            path="/-/ready",
        )
        (self.folder / "key").write_text(metrics_key)
        (self.folder / "targets").mkdir()
        for job, found in targets.items():
            (self.folder / "targets" / f"{job}.json").write_text(json.dumps([{"targets": list(found)}]))
        shutil.copytree(SOURCE / "rules", self.folder / "rules")
        text = (SOURCE / "prometheus.yml").read_text().replace("127.0.0.1:9090", self.address)
        for name, address in addresses.items():
            assert name in text, name
            text = text.replace(name, address)
        settings = yaml.safe_load(text.replace("/run/secrets/ai_core_key", str(self.folder / "key")))
        settings["global"] = {"scrape_interval": OFTEN, "evaluation_interval": OFTEN, "scrape_timeout": OFTEN}
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
        self.jobs = {job["job_name"] for job in settings["scrape_configs"]}
        self._http = httpx.Client(trust_env=False, timeout=PATIENCE)

    def close(self) -> None:
        self._http.close()
        super().close()

    def get(self, path: str, **parameters: str) -> Any:
        """The data of an answer of its API, https://prometheus.io/docs/prometheus/latest/querying/api/."""
        answer = self._http.get(f"http://{self.address}/api/v1/{path}", params=parameters)
        assert answer.is_success, answer.text
        return answer.json()["data"]

    def ask(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Labels and values of now."""
        data = self.get("query", query=expression)
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(found["metric"], float(found["value"][1])) for found in data["result"]]

    def look_at_everything(self) -> None:
        """Returns when each target has been looked at after now, and the rules after that."""
        for question, things in (("timestamp(up)", self.targets()), ("timestamp(neo:requests:rate5m)", 1)):
            now, deadline = time.time(), time.monotonic() + PATIENCE
            while sum(value > now for _, value in self.ask(question)) < things:
                assert time.monotonic() < deadline, self.ask(question)
                time.sleep(0.05)

    def targets(self) -> int:
        """How many it asks."""
        return len(self.get("targets", state="active")["activeTargets"])
