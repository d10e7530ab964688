"""People who write mails, each over a connection of their own, as fast as Postfix takes them: as many
connections at once as it has processes for, since others would wait for its first word in vain.

``LOAD`` in the environment names a file that says who writes how many, and to whom.
"""

from __future__ import annotations

import itertools
import json
import os
import smtplib
import time
from pathlib import Path
from threading import BoundedSemaphore

from locust import User, constant, task
from locust.exception import StopUser

from loadtests.mail.letters import question, thread

LOAD = json.loads(Path(os.environ["LOAD"]).read_text())
PATIENCE = 120.0
_doors = BoundedSemaphore(50)
_people = itertools.count()
_taken: dict[str, float] = {}


class Writer(User):
    """One person with one thread."""

    wait_time = constant(0)

    def on_start(self) -> None:
        """Everybody is somebody else."""
        name, mails = LOAD["people"][next(_people)]
        self.thread = thread(name, mails)

    @task
    def write(self) -> None:
        """The whole thread, without waiting for answers."""
        with _doors, smtplib.SMTP(LOAD["host"], LOAD["port"], timeout=PATIENCE) as smtp:
            for number, message_id in enumerate(self.thread.message_ids):
                content = question(self.thread, number, LOAD["mailbox"]).as_bytes()
                began = time.perf_counter()
                smtp.sendmail(self.thread.sender, [LOAD["mailbox"]], content)
                _taken[message_id] = time.time()
                self._tell(time.perf_counter() - began, len(content))
        raise StopUser

    def _tell(self, seconds: float, size: int) -> None:
        self.environment.events.request.fire(
            request_type="SMTP",
            name="mail",
            response_time=1_000 * seconds,
            response_length=size,
            exception=None,
            context={},
        )
        if len(_taken) == LOAD["total"]:
            # Whoever started this waits for the file, and ends it.
            written = Path(LOAD["report"] + ".new")
            written.write_text(json.dumps(_taken))
            written.rename(LOAD["report"])
