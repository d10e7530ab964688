"""Makes Grafana's dashboards, deploy/grafana/dashboards, from the descriptions below: `make dashboards`.

A panel is a question in plain words, and what answers it. Grafana's own form (its JSON model,
https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/) says the same
in a hundred lines each.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TARGET = Path(__file__).resolve().parent.parent / "deploy" / "grafana" / "dashboards"
SOURCE = {"type": "prometheus", "uid": "prometheus"}
WIDTH = 24
"""Columns of a dashboard."""


@dataclass(frozen=True)
class Panel:
    """One question. ``lines``: legend to expression; a legend may name labels, as ``{{model}}``."""

    title: str
    lines: dict[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    height: int = 7
    limits: tuple[tuple[float, str], ...] = ()
    """From which value on which colour is shown; below, green."""
    most: float | None = None
    about: str = ""


@dataclass(frozen=True)
class Row:
    """Panels that belong together."""

    title: str
    panels: list[Panel] = field(default_factory=list)


def quantiles(metric: str, by: str = "") -> dict[str, str]:
    """The median, and what one in twenty and one in a hundred exceed."""
    labels = f"le, {by}" if by else "le"
    prefix = f"{{{{{by}}}}} " if by else ""
    return {
        f"{prefix}{name}": f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket[5m])))"
        for name, share in (("median", 0.5), ("p95", 0.95), ("p99", 0.99))
    }


def seldom(expression: str, label: str) -> str:
    """Of what happens only when something is wrong: a line at 0 instead of an empty panel."""
    return f'{expression} or on() label_replace(vector(0), "{label}", "none", "", "")'


def both(metric: str) -> str:
    """Of both channels together, whichever of them is on. Each of their processes knows it for all."""
    return " + ".join(f"(max(neo_{channel}_{metric}) or vector(0))" for channel in ("telegram", "mail"))


def stat(title: str, expression: str, unit: str, *limits: tuple[float, str], about: str = "") -> Panel:
    """One number."""
    return Panel(title, {"": expression}, unit, "stat", 4, 4, limits, about=about)


# One fires always.
FIRING = 'ALERTS{alertstate="firing",alertname!="Watchdog"}'
ANSWERS = 'route=~"/api/v1/(chat|generate)|/v1/.+"'
# Who has not been asked has not failed.
FAILED = (
    f'(sum(increase(neo_requests_total{{{ANSWERS},status=~"5.."}}[30d])) or vector(0)) '
    f"/ (sum(increase(neo_requests_total{{{ANSWERS}}}[30d])) > 0)"
)
GIVEN_UP = "The rest was given up, or nobody knows whether it arrived."
# The same over a month as deploy/prometheus/rules/recording.yml has over an hour.
_COMPLETED = "sum(increase(neo_telegram_answer_duration_seconds_count[30d]))"
_DEAD = (
    "max(max_over_time(neo_telegram_dead_letters[30d])) - min(min_over_time(neo_telegram_dead_letters[30d]))"
)
TELEGRAM_ANSWERED = f"{_COMPLETED} / ({_COMPLETED} + {_DEAD} > 0) or vector(1)"
MAIL_ANSWERED = (
    '(sum(increase(neo_mail_steps_total{step=~"sent|drafted"}[30d])) or vector(0)) '
    '/ (sum(increase(neo_mail_steps_total{step=~"sent|drafted|dead|unknown"}[30d])) > 0) or vector(1)'
)
OVERVIEW = [
    Row(
        "Are people served?",
        [
            stat(
                "Answers that succeed (30 d)",
                f"1 - {FAILED} or vector(1)",
                "percentunit",
                about="The objective: 99.9 %.",
            ),
            stat(
                "Error budget left (30 d)",
                f"1 - {FAILED} / 0.001 or vector(1)",
                "percentunit",
                about="Below zero, the objective of the month is missed.",
            ),
            stat(
                "Doors open (30 d)",
                'avg(avg_over_time(probe_success{job="door"}[30d]))',
                "percentunit",
                about="As strangers find the domains: what nginx refuses for a service that is away counts.",
            ),
            stat("Telegram: answered (30 d)", TELEGRAM_ANSWERED, "percentunit", about=GIVEN_UP),
            stat("Mails: answered (30 d)", MAIL_ANSWERED, "percentunit", about=GIVEN_UP),
            stat("Alerts", f"count({FIRING}) or vector(0)", "short", (1, "red")),
            stat("Services up", 'sum(up{job=~"ai-core|telegram|mail"})', "short"),
            stat(
                "Oldest on Telegram", "max(neo_telegram_queue_age_seconds)", "s", (60, "orange"), (300, "red")
            ),
            stat("Oldest mail", "max(neo_mail_queue_age_seconds)", "s", (600, "orange"), (1800, "red")),
            Panel(
                "Doors open, and what is behind them",
                {
                    "{{domain}} from outside": "neo:door_open:ratio1h",
                    "{{domain}} inside": "neo:origin_open:ratio1h",
                },
                "percentunit",
                width=12,
                most=1,
                about="Inside and not outside: the name, the way here, a CDN, or a certificate.",
            ),
            Panel(
                "Answered in the end",
                {
                    "AI core": "1 - neo:requests_failed:ratio_rate1h",
                    "Telegram": "neo:telegram_answered:ratio1h",
                    "mail": "neo:mail_answered:ratio1h",
                },
                "percentunit",
                width=12,
                most=1,
                about=GIVEN_UP,
            ),
        ],
    ),
    Row(
        "How much, how fast",
        [
            Panel(
                "Requests for answers",
                {"{{status}}": f"sum by (status) (rate(neo_requests_total{{{ANSWERS}}}[5m]))"},
                "reqps",
            ),
            Panel("Until the first word", quantiles("neo_time_to_first_token_seconds"), "s"),
            Panel("Until the whole answer", quantiles("neo_request_duration_seconds"), "s"),
            Panel(
                "Tokens",
                {
                    "read": "sum(rate(neo_prompt_tokens_total[5m]))",
                    "written": "sum(rate(neo_generated_tokens_total[5m]))",
                },
                "short",
            ),
            Panel("Telegram: until the whole answer", quantiles("neo_telegram_answer_duration_seconds"), "s"),
            Panel("Mail: until the answer", quantiles("neo_mail_answer_seconds"), "s"),
        ],
    ),
    Row(
        "Machine",
        [
            Panel(
                "Processors",
                {"busy": '1 - avg(rate(node_cpu_seconds_total{mode="idle"}[5m]))'},
                "percentunit",
                most=1,
            ),
            Panel(
                "Memory",
                {
                    "free": "node_memory_MemAvailable_bytes",
                    "models": "sum(neo_model_memory_bytes)",
                    "budget of the models": "sum(neo_model_memory_budget_bytes)",
                },
                "bytes",
            ),
            Panel(
                "Disk",
                {
                    "{{mountpoint}} free": 'node_filesystem_avail_bytes{fstype!~"tmpfs|overlay|squashfs"}',
                },
                "bytes",
            ),
        ],
    ),
    Row(
        "What it stands on",
        [
            stat("PostgreSQL", "min(pg_up)", "short"),
            stat("Redis", "min(redis_up)", "short"),
            stat(
                "Last backup",
                "time() - max(neo_backup_last_success_timestamp_seconds)",
                "s",
                (93_600, "orange"),
                (129_600, "red"),
            ),
            stat("Certificate", "min(probe_ssl_earliest_cert_expiry) - time()", "s"),
            stat(
                "Dead letters",
                both("dead_letters"),
                "short",
                (1, "orange"),
            ),
            stat("Sends that nobody is sure of", both("unknown_sends"), "short"),
        ],
    ),
]
AI_CORE = [
    Row(
        "Answers",
        [
            Panel(
                "Until the first word", quantiles("neo_time_to_first_token_seconds", "model"), "s", width=12
            ),
            Panel("Between two words", quantiles("neo_inter_token_latency_seconds", "model"), "s", width=12),
            Panel(
                "Tokens written",
                {"{{model}}": "sum by (model) (rate(neo_generated_tokens_total[5m]))"},
                "short",
            ),
            Panel(
                "Tokens read", {"{{model}}": "sum by (model) (rate(neo_prompt_tokens_total[5m]))"}, "short"
            ),
            Panel("In the queue", quantiles("neo_queue_seconds"), "s"),
        ],
    ),
    Row(
        "Engines",
        [
            Panel(
                "Sequences",
                {
                    "{{model}} running": "sum by (model) (neo_requests_running)",
                    "{{model}} waiting": "sum by (model) (neo_requests_waiting)",
                    "{{model}} paused": "sum by (model) (neo_requests_paused)",
                },
            ),
            Panel(
                "KV cache held by running sequences",
                {"{{model}}": "max by (model) (neo_kv_cache_usage_ratio)"},
                "percentunit",
                most=1,
            ),
            Panel(
                "Prompt tokens that were there already",
                {
                    "{{model}}": "sum by (model) (rate(neo_prefix_cache_hits_total[5m])) "
                    "/ sum by (model) (rate(neo_prefix_cache_queries_total[5m]))"
                },
                "percentunit",
                most=1,
            ),
            Panel(
                "A step takes",
                {
                    "{{model}}": "sum by (model) (rate(neo_engine_step_seconds_total[5m])) "
                    "/ sum by (model) (rate(neo_engine_steps_total[5m]))"
                },
                "s",
            ),
            Panel(
                "Engines that were replaced",
                {
                    "{{model}} {{reason}}": seldom(
                        "sum by (model, reason) (increase(neo_engine_restarts_total[15m]))", "reason"
                    )
                },
            ),
            Panel("Memory by model", {"{{model}}": "sum by (model) (neo_model_memory_bytes)"}, "bytes"),
        ],
    ),
    Row(
        "Models in and out of memory",
        [
            Panel(
                "Loads",
                {"{{model}} {{outcome}}": "sum by (model, outcome) (increase(neo_model_loads_total[15m]))"},
            ),
            Panel("A load takes", quantiles("neo_model_load_seconds"), "s"),
            Panel("Requests wait for memory", quantiles("neo_model_wait_seconds"), "s"),
        ],
    ),
    Row(
        "Errors and limits",
        [
            Panel(
                "Errors", {"{{code}}": seldom("sum by (code) (rate(neo_errors_total[5m]))", "code")}, "reqps"
            ),
            Panel(
                "Limits",
                {"{{kind}}": seldom("sum by (kind) (rate(neo_limits_hit_total[5m]))", "kind")},
                "reqps",
            ),
            Panel(
                "Answers found in the cache",
                {"{{outcome}}": "sum by (outcome) (rate(neo_response_cache_requests_total[5m]))"},
                "reqps",
            ),
        ],
    ),
]
TELEGRAM = [
    Row(
        "Now",
        [
            stat("People today", "max(neo_telegram_active_users)", "short"),
            stat("Waiting", "max(neo_telegram_queue_length)", "short", (50, "orange"), (150, "red")),
            stat("Oldest", "max(neo_telegram_queue_age_seconds)", "s", (60, "orange"), (300, "red")),
            stat("To be sent", "max(neo_telegram_outbox_length)", "short"),
            stat("Given up", "max(neo_telegram_dead_letters)", "short", (1, "orange")),
            stat(
                "Strain",
                "max(neo_telegram_strain)",
                "short",
                (1, "orange"),
                (2, "red"),
                about="1: answers are short; 2: and shown when complete.",
            ),
        ],
    ),
    Row(
        "Messages and answers",
        [
            Panel("Messages", {"{{kind}}": "sum by (kind) (rate(neo_telegram_messages_total[5m]))"}, "short"),
            Panel("Until the first text", quantiles("neo_telegram_time_to_first_text_seconds"), "s"),
            Panel("Until the whole answer", quantiles("neo_telegram_answer_duration_seconds"), "s"),
            Panel("Update stored", quantiles("neo_telegram_intake_seconds"), "s"),
            Panel("Models", {"{{model}}": "sum by (model) (rate(neo_telegram_answers_total[5m]))"}, "short"),
            Panel(
                "Over a limit",
                {
                    "{{limit}}": seldom(
                        "sum by (limit) (rate(neo_telegram_refused_messages_total[5m]))", "limit"
                    )
                },
            ),
        ],
    ),
    Row(
        "Telegram and the AI core",
        [
            Panel(
                "Calls to Telegram",
                {"{{outcome}}": "sum by (outcome) (rate(neo_telegram_calls_total[5m]))"},
                "reqps",
            ),
            Panel(
                "What went wrong",
                {"{{kind}}": seldom("sum by (kind) (rate(neo_telegram_errors_total[5m]))", "kind")},
            ),
            Panel(
                "Put off, by what for",
                {"{{reason}}": seldom("max by (reason) (neo_telegram_waiting_messages)", "reason")},
            ),
        ],
    ),
    Row(
        "Sends that nobody is sure of",
        [
            stat("Unknown", "max(neo_telegram_unknown_sends)", "short"),
            stat("Perhaps twice", "max(neo_telegram_repeated_sends)", "short"),
        ],
    ),
]
MAIL = [
    Row(
        "Now",
        [
            stat("Folders watched", "sum(neo_mail_mailbox_connected)", "short"),
            stat("Waiting", "max(neo_mail_queue_length)", "short"),
            stat("Oldest", "max(neo_mail_queue_age_seconds)", "s", (600, "orange"), (1800, "red")),
            stat("To be sent", "max(neo_mail_outbox_length)", "short"),
            stat("Given up", "max(neo_mail_dead_letters)", "short", (1, "orange")),
            stat("Answered of the hour", "min(neo_mail_success_ratio)", "percentunit"),
        ],
    ),
    Row(
        "Mails",
        [
            Panel("Steps", {"{{step}}": "sum by (step) (rate(neo_mail_steps_total[15m]))"}, "short"),
            Panel(
                "Not answered, and why",
                {
                    "{{step}} {{reason}}": seldom(
                        "sum by (step, reason) "
                        '(increase(neo_mail_steps_total{step=~"ignored|held|dead"}[1h]))',
                        "step",
                    )
                },
                "short",
            ),
            Panel("From arrival to answer", quantiles("neo_mail_answer_seconds"), "s"),
        ],
    ),
    Row(
        "SMTP servers",
        [
            Panel(
                "How the last sign-in went",
                {"{{server}} {{state}}": "max by (server, state) (neo_mail_smtp_state)"},
            )
        ],
    ),
    Row(
        "Sends that nobody is sure of",
        [
            stat("Unknown", "max(neo_mail_unknown_sends)", "short"),
            stat("Sent twice", "max(neo_mail_repeated_sends)", "short"),
        ],
    ),
]
DASHBOARDS = {
    "overview": ("Neo: overview", OVERVIEW),
    "ai-core": ("Neo: AI core", AI_CORE),
    "telegram": ("Neo: Telegram", TELEGRAM),
    "mail": ("Neo: mail", MAIL),
}


def dashboard(name: str) -> dict[str, Any]:
    """One dashboard in Grafana's form."""
    title, rows = DASHBOARDS[name]
    panels: list[dict[str, Any]] = []
    top = 0
    for row in rows:
        panels.append({"type": "row", "title": row.title, "gridPos": {"x": 0, "y": top, "w": WIDTH, "h": 1}})
        top += 1
        left = tallest = 0
        for panel in row.panels:
            if left + panel.width > WIDTH:
                left, top = 0, top + tallest
                tallest = 0
            place = {"x": left, "y": top, "w": panel.width, "h": panel.height}
            panels.append(_panel(panel) | {"gridPos": place})
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest
    for number, made in enumerate(panels, 1):
        made["id"] = number
    return {
        "uid": f"neo-{name}",
        "title": title,
        "tags": ["neo"],
        "timezone": "browser",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "editable": False,
        "graphTooltip": 1,
        "panels": panels,
    }


def _panel(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    steps += [{"color": colour, "value": value} for value, colour in panel.limits]
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "min": 0,
        "thresholds": {"mode": "absolute", "steps": steps},
    }
    if panel.unit == "percentunit" and panel.kind == "stat":
        del defaults["min"]
        defaults["decimals"] = 2
    if panel.most is not None:
        defaults["max"] = panel.most
    options: dict[str, Any] = {
        "legend": {"displayMode": "list", "placement": "bottom"},
        "tooltip": {"mode": "multi"},
    }
    if panel.kind == "stat":
        options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "area"}
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {
                "refId": chr(65 + number),
                "expr": expression,
                "legendFormat": legend or "__auto",
                "datasource": SOURCE,
            }
            for number, (legend, expression) in enumerate(panel.lines.items())
        ],
    }


def text_of(name: str) -> str:
    """The file's content."""
    return json.dumps(dashboard(name), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write all of them."""
    for name in DASHBOARDS:
        (TARGET / f"{name}.json").write_text(text_of(name), encoding="utf-8")
        print(f"{name}.json written")


if __name__ == "__main__":
    main()
