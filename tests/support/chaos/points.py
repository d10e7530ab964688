"""Where a service's process ends itself. Installed in that process alone, around its ports: the code that is
tried knows nothing of it.

What happens is also written to a file, line by line, so that it can be told after a kill which sends were
under way.
"""

from __future__ import annotations

import functools
import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from servicekit.journal.lane import LaneLost
from servicekit.journal.records import Part, PartState

Around = tuple[type, str, str, str]
"""A class, one of its methods, and the points before and after a call; empty: none."""
ASKED, REFUSED, DOUBTED = "asked", "refused", "doubted"
"""Beside the journal's own states: it is asked to store that a part goes out, did not, or may have."""


@dataclass
class Trace:
    """Writes what happens, and ends the process where it is due."""

    file: int
    point: str = ""
    times: int = 0
    passed: Counter[str] = field(default_factory=Counter)

    def reach(self, point: str) -> None:
        """A point is passed, or is the end."""
        if not point:
            return
        self.passed[point] += 1
        if point == self.point and self.passed[point] == self.times:
            self.write({"killed": point})
            os.kill(os.getpid(), signal.SIGKILL)

    def write(self, line: dict[str, Any]) -> None:
        """A line that survives the process."""
        os.write(self.file, json.dumps(line).encode() + b"\n")


def install(places: Iterable[Around], trace: Trace) -> None:
    """Around all of these, for the rest of this process's life."""
    for owner, method, before, after in places:
        setattr(owner, method, _around(getattr(owner, method), trace, before, after))


def _around(original: Callable[..., Any], trace: Trace, before: str, after: str) -> Callable[..., Any]:
    @functools.wraps(original)
    async def around(*args: Any, **kwargs: Any) -> Any:
        trace.reach(before)
        asked = args[1] if original.__name__ == "sending" else None
        if asked is not None:
            # The database may have stored it when the process ends, and nobody has written that down.
            trace.write(_line(asked, ASKED))
        try:
            result = await original(*args, **kwargs)
        except BaseException as error:
            if asked is not None:
                # Whether the database stored it before it went away, nobody knows.
                trace.write(_line(asked, REFUSED if isinstance(error, LaneLost) else DOUBTED))
            raise
        if isinstance(result, Part):
            trace.write(_line(result, result.state))
        if result is not None or original.__name__ != "claim":
            trace.reach(after)
        return result

    return around


def _line(part: Part, state: str) -> dict[str, Any]:
    return {"part": part.id, "entry": part.entry_id, "state": state}


def traced(path: Path) -> list[dict[str, Any]]:
    """What a run's processes wrote; lines with ``killed`` say where each of them ended."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@dataclass(frozen=True, slots=True)
class Sends:
    """What a run's kills and outages left open: entries, one for each such send."""

    under_way: list[int] = field(default_factory=list)
    """The journal had it that they were going out when the process was killed."""
    in_doubt: list[int] = field(default_factory=list)
    """The journal was about to note that, and may have done so: nothing of them is out."""


def open_sends(lines: Iterable[dict[str, Any]]) -> Sends:
    """The answers of which a process that starts later cannot know whether they are out."""
    sends = Sends()
    latest: dict[int, tuple[int, str]] = {}
    for line in lines:
        if "killed" in line:
            sends.under_way.extend(entry for entry, state in latest.values() if state == PartState.SENDING)
            sends.in_doubt.extend(entry for entry, state in latest.values() if state == ASKED)
            latest.clear()
            continue
        if line["state"] == DOUBTED:
            sends.in_doubt.append(line["entry"])
        latest[line["part"]] = line["entry"], line["state"]
    return sends
