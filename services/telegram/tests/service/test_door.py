"""What comes in at the webhook goes before further work, unless somebody else knocks."""

from __future__ import annotations

import httpx

from servicekit.journal.gate import Gate
from servicekit.serving.health import Health
from telegram_service.web import SECRET_HEADER, WEBHOOK_PATH, Door, create_web

SECRET = "a-secret-of-the-tests"


async def test_updates_let_further_work_wait_and_forged_calls_do_not() -> None:
    gate = Gate(1.0, clock=lambda: 1_000.0)
    gate.begun()
    app = create_web(Door(None, SECRET, Health({}, set()), gate=gate))  # type: ignore[arg-type]
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://door") as http:
        forged = await http.post(WEBHOOK_PATH, content=b"[]", headers={SECRET_HEADER: "guessed"})
        assert (forged.status_code, gate.wait()) == (403, 0.0)
        real = await http.post(WEBHOOK_PATH, content=b"[]", headers={SECRET_HEADER: SECRET})
        assert (real.status_code, gate.wait()) == (400, 1.0)
