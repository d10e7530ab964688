"""An AI core that answers at once, in a process of its own: prints its address, and serves until its input
ends."""

from __future__ import annotations

import asyncio
import sys

from mail_chaos.core import MailCore


async def main() -> None:
    """Until the input ends."""
    async with MailCore(pause=0.0).listening() as core:
        print(core.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
