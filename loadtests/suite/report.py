"""The run as a page: what was promised, what each part took, and where locust's own pages are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from loadtests.suite.costs import Cost
from loadtests.suite.promises import Line

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
    "background:Canvas;color:CanvasText;color-scheme:light dark}"
    "table{border-collapse:collapse;width:100%}td,th{padding:.3rem .6rem;border-bottom:1px solid #8885;"
    "text-align:left;vertical-align:top}td.n{text-align:right;font-variant-numeric:tabular-nums}"
    ".pass{color:#18794e;font-weight:600}.miss{color:#ce2c31;font-weight:600}"
)


def cost_lines(costs: Mapping[str, Cost]) -> list[str]:
    """As they are printed; what stands in parentheses is not the suite's."""
    return [
        f"      {part:24} {cost.cpu:7.1f} s of CPU ({cost.share:.2f} cores) {cost.memory:7.0f} MB"
        for part, cost in costs.items()
    ]


def page(title: str, lines: Sequence[Line], costs: Mapping[str, Cost], locust: Path) -> str:
    """HTML that needs nothing else."""
    promised = "".join(
        f"<tr><td>{_verdict(line)}</td><td>{escape(line.what)}</td><td>{escape(line.figure)}</td></tr>"
        for line in lines
    )
    taken = "".join(
        f"<tr><td>{escape(part)}</td><td class=n>{cost.cpu:.1f} s</td><td class=n>{cost.share:.2f}</td>"
        f"<td class=n>{cost.memory:.0f} MB</td></tr>"
        for part, cost in costs.items()
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1><table>{promised}</table>"
        "<h2>What each part took</h2><table><tr><th>part<th>processor<th>cores<th>memory at most</tr>"
        f"{taken}</table><p>In parentheses: not of the suite, but on the same machine.</p>"
        f'<p><a href="{escape(locust.name)}">Each kind of request over time</a> (locust). '
        "loadtests/README.md says how to read this.</p></html>\n"
    )


def _verdict(line: Line) -> str:
    if line.passed is None:
        return ""
    return '<span class="pass">pass</span>' if line.passed else '<span class="miss">MISS</span>'
