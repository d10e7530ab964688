"""The table at the end, with what each figure is held against."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Results = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """One row: how to find the figure in the results, and what it should be."""

    figure: str
    value: Callable[[Results], float]
    at_least: float | None = None
    at_most: float | None = None

    def row(self, results: Results) -> tuple[str, str, str, str]:
        try:
            value = self.value(results)
        except (KeyError, TypeError, ZeroDivisionError):
            return (self.figure, "not measured", self._wanted(), "")
        met = (self.at_least is None or value >= self.at_least) and (
            self.at_most is None or value <= self.at_most
        )
        return (self.figure, f"{value:.3g}", self._wanted(), "yes" if met and math.isfinite(value) else "NO")

    def _wanted(self) -> str:
        return f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}"


def _over_peer(load: str, figure: str) -> Callable[[Results], float]:
    return lambda r: float(r["loads"]["neo"][load][figure] / r["loads"]["llama-server"][load][figure])


RATE = "output_tokens_per_second"


def _engines(load: str, first: str, second: str, second_load: str = "") -> Callable[[Results], float]:
    """The rate of one engine in a load, over that of another one (in another load, if one is named)."""

    def ratio(r: Results) -> float:
        by_engine = r["engines"]["by_engine"]
        return float(by_engine[first][load][RATE] / by_engine[second][second_load or load][RATE])

    return ratio


TARGETS = (
    Target("engine decode ÷ bare loop, 1 sequence", lambda r: r["decode"]["greedy at 1"]["ratio"], 0.95),
    Target("engine decode ÷ bare loop, 8 sequences", lambda r: r["decode"]["greedy at 8"]["ratio"], 0.97),
    Target("engine decode ÷ bare loop, 16 sequences", lambda r: r["decode"]["greedy at 16"]["ratio"], 0.97),
    Target(
        "default sampling ÷ greedy, 16 sequences",
        lambda r: r["decode"]["default sampling at 16 over greedy"]["ratio"],
        0.9,
    ),
    Target("shared: output tok/s ÷ llama-server", _over_peer("shared", "output_tokens_per_second"), 2.5),
    Target("shared: TTFT p95 ÷ llama-server", _over_peer("shared", "ttft_p95_ms"), at_most=0.12),
    Target("unlike: output tok/s ÷ llama-server", _over_peer("unlike", "output_tokens_per_second"), 0.97),
    Target(
        "mixed: ITL p99 ÷ undisturbed median",
        lambda r: r["loads"]["neo"]["mixed"]["itl_p99_over_undisturbed"],
        at_most=3,
    ),
    Target("shared on OpenVINO ÷ llama-server", _engines("shared", "openvino", "llama-server"), 4),
    Target("unlike on OpenVINO ÷ llama-server", _engines("unlike", "openvino", "llama-server"), 2),
    Target(
        "shared on OpenVINO: with coalescing ÷ without",
        _engines("shared", "openvino", "openvino without coalescing"),
        1.7,
    ),
    Target(
        "shared on llama.cpp: with coalescing ÷ without",
        _engines("shared", "llama.cpp", "llama.cpp without coalescing"),
        1.7,
    ),
    Target(
        "mixed on OpenVINO: ITL p99 ÷ undisturbed median (3 is the stretch)",
        lambda r: r["engines"]["by_engine"]["openvino"]["mixed"]["itl_p99_over_undisturbed"],
        at_most=4,
    ),
    Target("alone on OpenVINO ÷ llama-server", _engines("alone", "openvino", "llama-server"), 0.75),
    Target("alone on llama.cpp ÷ llama-server", _engines("alone", "llama.cpp", "llama-server"), 0.95),
    Target(
        "converted safetensors: 8 clients ÷ 1 client",
        _engines("unlike", "converted safetensors", "converted safetensors", "alone"),
        2,
    ),
    Target("edge: added p50, ms", lambda r: r["edge"]["added_p50_ms"], at_most=3),
    Target("keys, limits and log: p50, ms", lambda r: r["edge"]["access_p50_ms"], at_most=2),
    Target("… with limits in Redis", lambda r: r["edge"]["access_p50_redis_ms"], at_most=4),
    Target("edge: added p99, ms", lambda r: r["edge"]["added_p99_ms"], at_most=15),
    Target("overload: latency at 3× ÷ at 1×, p50", lambda r: r["overload"]["3x_over_1x_p50"], at_most=1.5),
    Target("overload: latency at 3× ÷ at 1×, p95", lambda r: r["overload"]["3x_over_1x_p95"], at_most=1.5),
    Target("overload: wait ÷ Retry-After, p50", lambda r: r["overload"]["wait_over_retry_after_p50"], 0.5),
    Target("… the same", lambda r: r["overload"]["wait_over_retry_after_p50"], at_most=2),
    Target(
        "… within a factor of two, of those who return",
        lambda r: r["overload"]["retry_after_within_factor_two"],
        0.9,
    ),
    Target(
        "burst of 100: answered",
        lambda r: r["loads"]["neo"]["burst"]["answered"] / r["loads"]["neo"]["burst"]["requests"],
        1,
    ),
    Target("cache hit: p50, ms", lambda r: r["repetition"]["cache_hit_p50_ms"], at_most=3),
    Target(
        "50 at once: tokens generated ÷ one answer's",
        lambda r: r["repetition"]["single_flight_tokens_over_one"],
        at_most=1,
    ),
    Target("API memory, 10,000 requests ÷ 100", lambda r: r["edge"]["rss_ratio"], at_most=1.1),
)


def targets_table(results: Results) -> str:
    """Figure, measured, wanted, met."""
    return table(("figure", "measured", "wanted", "met"), [target.row(results) for target in TARGETS])


def loads_table(results: Results) -> str:
    """Every load with our figures and the peer's side by side."""
    rows: list[tuple[str, ...]] = []
    ours = results.get("loads", {}).get("neo", {})
    peer = results.get("loads", {}).get("llama-server", {})
    for load, figures in ours.items():
        for figure, value in figures.items():
            other = peer.get(load, {}).get(figure)
            ratio = f"{value / other:.3g}" if other else ""
            rows.append((load, figure, f"{value:.4g}", "" if other is None else f"{other:.4g}", ratio))
    return table(("load", "figure", "neo", "llama-server", "ratio"), rows)


def engines_table(results: Results) -> str:
    """Every load on each engine: the figures that the targets are made of."""
    rows = [
        (load, name, *(f"{figures[key]:.4g}" if key in figures else "" for key in _ENGINE_FIGURES))
        for name, loads in results.get("engines", {}).get("by_engine", {}).items()
        for load, figures in loads.items()
    ]
    return table(("load", "engine", *_ENGINE_FIGURES), sorted(rows))


def chunks_table(results: Results) -> str:
    """What the size of a step is worth on OpenVINO, and what it costs those who are being answered."""
    rows: list[tuple[str, ...]] = [
        (
            chunk,
            f"{loads['mixed']['itl_p99_over_undisturbed']:.3g}",
            f"{loads['mixed']['itl_p99_ms']:.4g}",
            f"{loads['mixed']['long_prompt_ttft_s']:.3g}",
            f"{loads['unlike'][RATE]:.4g}",
        )
        for chunk, loads in results.get("engines", {}).get("by_chunk", {}).items()
    ]
    return table(
        ("tokens in a step", "ITL p99 ÷ undisturbed", "ITL p99, ms", "long TTFT, s", "unlike tok/s"), rows
    )


_ENGINE_FIGURES = (RATE, "ttft_p95_ms", "itl_p50_ms", "itl_p99_ms", "itl_p99_over_undisturbed")


def overload_table(results: Results) -> str:
    """What became of those who were admitted, and of those who were not."""
    rows = [(figure, f"{value:.4g}") for figure, value in results.get("overload", {}).items()]
    return table(("overload", "neo"), [*rows])


def repetition_table(results: Results) -> str:
    """What answers cost that need not be computed."""
    rows = [(figure, f"{value:.4g}") for figure, value in results.get("repetition", {}).items()]
    return table(("repetition", "neo"), [*rows])


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table, padded so that a terminal shows it well."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]

    def line(cells: tuple[str, ...]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([line(head), rule, *(line(row) for row in rows)])
