"""How the cores are shared among the engines that compute."""

from __future__ import annotations

from collections.abc import Sequence


def share_cores(cores: int, active: Sequence[str]) -> dict[str, int]:
    """Threads for each active engine: equal shares, what is left over to the first ones.

    The sum is at most ``cores``, because two engines that compete for a core both lose more than
    half of it. No engine gets less than one thread, so more engines than cores get one each.

    Raises:
        ValueError: ``cores`` is below 1, or a name appears twice.
    """
    if cores < 1:
        raise ValueError(f"there must be at least one core to share, not {cores}")
    if len(set(active)) != len(active):
        raise ValueError("each engine is named once")
    if not active:
        return {}
    share, left_over = divmod(cores, len(active))
    return {name: max(1, share + (index < left_over)) for index, name in enumerate(active)}
