"""Percentiles and rates of what a load did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Exchange:
    """One request as its client saw it. Times are seconds of one monotonic clock."""

    sent: float
    chunks: list[float] = field(default_factory=list)
    """When each piece of text arrived."""
    done: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    status: int = 0
    error: str = ""

    @property
    def answered(self) -> bool:
        return self.status == 200 and self.done is not None and not self.error

    @property
    def time_to_first_token(self) -> float:
        return self.chunks[0] - self.sent

    @property
    def gaps(self) -> list[float]:
        """Seconds between pieces of text: the inter-token latencies."""
        return [later - earlier for earlier, later in zip(self.chunks, self.chunks[1:], strict=False)]


def percentile(values: Sequence[float], percent: float) -> float:
    """Nearest-rank percentile; NaN of nothing."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    rank = max(0, min(len(ordered) - 1, round(percent / 100 * len(ordered) + 0.5) - 1))
    return ordered[rank]


def median(values: Sequence[float]) -> float:
    return percentile(values, 50)


def summary(exchanges: Sequence[Exchange]) -> dict[str, float]:
    """What a load achieved: tokens per second over its whole duration, latencies in milliseconds."""
    answered = [exchange for exchange in exchanges if exchange.answered and exchange.chunks]
    if not answered:
        return {"requests": len(exchanges), "answered": 0}
    begin = min(exchange.sent for exchange in exchanges)
    end = max(exchange.done or 0.0 for exchange in answered)
    first = [exchange.time_to_first_token * 1e3 for exchange in answered]
    gaps = [gap * 1e3 for exchange in answered for gap in exchange.gaps]
    return {
        "requests": len(exchanges),
        "answered": len(answered),
        "output_tokens_per_second": sum(e.completion_tokens for e in answered) / (end - begin),
        "prompt_tokens": sum(e.prompt_tokens for e in answered),
        "ttft_p50_ms": median(first),
        "ttft_p95_ms": percentile(first, 95),
        "itl_p50_ms": median(gaps),
        "itl_p99_ms": percentile(gaps, 99),
    }
