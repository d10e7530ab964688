"""What goes wrong between the service and Telegram in a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from tests.emulators.telegram.refusal import too_many

from telegram_chaos.plan import Plan

SHOWN = {"sendmessage", "editmessagetext"}


class Meddler:
    """Decides about each call of the bot, and counts the sends that it cuts."""

    def __init__(self, plan: Plan, reach: Callable[[str], bool]) -> None:
        """``reach`` says whether the service was killed at a point, just now."""
        self._plan = plan
        self._random = Random(plan.seed + 1)  # noqa: S311 - chance that can be repeated
        self._reach = reach
        self.cuts: Counter[int] = Counter()
        self.is_over = False
        """Nothing goes wrong any more."""

    async def __call__(self, method: str, fields: dict[str, Any]) -> str:
        name = method.lower()
        if name == "getupdates" and fields.get("offset") and self._reach("after the acknowledgement"):
            return ""
        if name == "sendmessage" and self._reach("between request and reply"):
            # Counted where all kills are.
            return "after"
        if name == "editmessagetext" and self._reach("between an edit and its reply"):
            return "after"
        if self.is_over:
            return ""
        fate = self._fate(name)
        return self._cut(fields, fate) if name == "sendmessage" and fate else fate

    def _fate(self, name: str) -> str:
        plan, number = self._plan, self._random.random()
        if name in SHOWN and self._random.random() < plan.flooded:
            raise too_many(self._random.randint(1, 3))
        for fate, share in (
            ("before", plan.cut_before),
            ("after", plan.cut_after),
            ("503", plan.unavailable),
        ):
            if number < share:
                return fate
            number -= share
        return ""

    def _cut(self, fields: dict[str, Any], fate: str) -> str:
        self.cuts[int(fields["chat_id"])] += 1
        return fate


class Mangler:
    """Doubles updates, and lets some of them be overtaken by the next."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._random = Random(plan.seed + 2)  # noqa: S311 - chance that can be repeated
        self._held: list[dict[str, Any]] = []

    def __call__(self, fresh: list[dict[str, Any]]) -> list[dict[str, Any]]:
        given = [update for update in fresh for _ in range(1 + (self._random.random() < self._plan.doubled))]
        if not self._plan.reordered:
            return given
        if not self._plan.webhook:
            self._random.shuffle(given)
            return given
        given += self._held
        self._held = [given.pop(0)] if fresh and self._random.random() < 0.4 else []
        return given
