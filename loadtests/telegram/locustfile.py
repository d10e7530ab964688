"""People who write, as Telegram's calls of the service's webhook.

``LOAD`` in the environment says how: people, messages of each, seconds between two of them, and whether the
first ones come in the same moment.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import time
from pathlib import Path
from typing import Any

from geventhttpclient.client import HTTPClientPool
from locust import FastHttpUser, events, task
from locust.exception import StopUser

LOAD = json.loads(os.environ["LOAD"])
RETRY_SECONDS = 1.0
CONNECTIONS = 40
"""So many Telegram keeps open at most: setWebhook's ``max_connections``, unless a bot says otherwise."""
BEGIN = time.monotonic() + 5.0
"""When all write at once who do so: all are there by then."""
_numbers = itertools.count()
_updates = itertools.count(LOAD["first_update"])
_said: dict[str, float] = {}


class Writer(FastHttpUser):
    """One person."""

    # People have no connections of their own: it is Telegram that calls for all of them.
    client_pool = HTTPClientPool(concurrency=CONNECTIONS, connection_timeout=60.0, network_timeout=60.0)

    def on_start(self) -> None:
        """But for ``together``, people do not write in the same moment, and keep their own time: locust's
        pacing would count from when all were there, and let them write in step from the second message on."""
        self.number = next(_numbers) % LOAD["people"]
        self.left = LOAD["messages"]
        own = time.monotonic() + random.uniform(0, LOAD["gap"])
        self.next_at = BEGIN if LOAD["together"] else own
        time.sleep(self.wait_time())

    def wait_time(self) -> float:
        """Seconds until the next message is due."""
        return max(0.0, self.next_at - time.monotonic())

    @task
    def write(self) -> None:
        """A question."""
        if not self.left:
            raise StopUser
        self.left -= 1
        self.next_at += LOAD["gap"]
        update_id = next(_updates)
        word = f"q{update_id}"
        person = {"id": LOAD["first_person"] + self.number, "first_name": "P", "language_code": "fr"}
        message = {
            "message_id": update_id,
            "from": person | {"is_bot": False},
            "chat": {"id": person["id"], "type": "private", "first_name": "P"},
            "date": int(time.time()),
            "text": f"{word} de Paris ?",
        }
        _said[f"Réponse à {word}"] = time.time()
        # Telegram comes again with what was not taken.
        while not self._taken({"update_id": update_id, "message": message}):
            time.sleep(RETRY_SECONDS)

    def _taken(self, update: dict[str, Any]) -> bool:
        answer = self.client.post(
            LOAD["path"], json=update, headers={LOAD["header"]: LOAD["secret"]}, name="update"
        )
        return bool(answer.status_code == 200)


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def tell(environment: Any, **_: Any) -> None:
    """What was said when, and how long it took to be stored."""
    total = environment.stats.total
    report = {
        "said": _said,
        "requests": total.num_requests,
        "failures": total.num_failures,
        "p95": total.get_response_time_percentile(0.95),
        "most": total.max_response_time,
        "p50": total.get_response_time_percentile(0.5),
    }
    Path(LOAD["report"]).write_text(json.dumps(report))
