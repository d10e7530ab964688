"""In the place of Grafana: reads what it would read, writes where it would write, says that it is well."""

from __future__ import annotations

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

assert Path(os.environ["GF_SECURITY_ADMIN_PASSWORD__FILE"]).read_text().strip()
provisioning = Path(os.environ["GF_PATHS_PROVISIONING"])
assert [path.read_text() for path in provisioning.rglob("*.yml")]
assert [json.loads(path.read_text())["uid"] for path in Path("/etc/grafana/dashboards").glob("*.json")]
Path("/var/lib/grafana/grafana.db").touch()


class Health(BaseHTTPRequestHandler):
    """GET /api/health (https://grafana.com/docs/grafana/latest/developers/http_api/other/#health-api)."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200 if self.path == "/api/health" else 404)
        self.end_headers()
        self.wfile.write(b'{"database": "ok"}')


ThreadingHTTPServer(("", 3000), Health).serve_forever()
