"""Work that takes as long as a mail is large: in a thread of its own, unless the mail is small."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

SMALL_BYTES = 16_384
"""Up to here a few milliseconds: handing it to a thread and back would take longer than the rest waits."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def aside(size: int, work: Callable[_P, _T], *arguments: _P.args, **named: _P.kwargs) -> _T:
    """What ``work`` returns for a mail of ``size`` bytes. Raises what it raises."""
    if size <= SMALL_BYTES:
        return work(*arguments, **named)
    return await asyncio.to_thread(work, *arguments, **named)
