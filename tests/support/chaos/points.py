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

from servicekit.journal.records import Part, PartState
from servicekit.storage.database import StorageUnavailable

Around = tuple[type, str, str, str]
"""A class, one of its methods, and the points before and after a call; empty: none."""


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
        try:
            result = await original(*args, **kwargs)
        except StorageUnavailable:
            if original.__name__ == "sending":
                # Whether the database stored it before it went away, nobody knows.
                trace.write({"doubted": args[1].entry_id})
            raise
        if isinstance(result, Part):
            trace.write({"part": result.id, "entry": result.entry_id, "state": result.state})
        if result is not None or original.__name__ != "claim":
            trace.reach(after)
        return result

    return around


def traced(path: Path) -> list[dict[str, Any]]:
    """What a run's processes wrote; lines with ``killed`` say where each of them ended."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def sends_under_way(lines: Iterable[dict[str, Any]]) -> list[int]:
    """The entries whose answer was being sent when the process was killed, or whose sending the database cut
    off while it was announced: once for each such send."""
    sending: dict[int, int] = {}
    found: list[int] = []
    for line in lines:
        if "killed" in line:
            found += sending.values()
            sending.clear()
        elif "doubted" in line:
            found.append(line["doubted"])
        elif line["state"] == PartState.SENDING:
            sending[line["part"]] = line["entry"]
        else:
            sending.pop(line["part"], None)
    return found
