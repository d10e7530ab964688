"""The metrics of answers. Names follow the field's, so that existing dashboards can be adapted."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

FIRST_TOKEN_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 300)
INTER_TOKEN_BUCKETS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2.5, 5)
DURATION_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)


class AnswerMetrics:
    """The families, registered once where the application is put together."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.first_token = Histogram(
            "neo_time_to_first_token_seconds",
            "From a request's arrival to the first text of its answer.",
            ["model"],
            buckets=FIRST_TOKEN_BUCKETS,
            registry=registry,
        )
        self.inter_token = Histogram(
            "neo_inter_token_latency_seconds",
            "Between two pieces of text of one answer.",
            ["model"],
            buckets=INTER_TOKEN_BUCKETS,
            registry=registry,
        )
        self.duration = Histogram(
            "neo_request_duration_seconds",
            "From a request's arrival to the end of its answer.",
            ["model"],
            buckets=DURATION_BUCKETS,
            registry=registry,
        )
        self.queue = Histogram(
            "neo_queue_seconds",
            "What a request waited in the engine before its prompt was computed.",
            ["model"],
            buckets=DURATION_BUCKETS,
            registry=registry,
        )
        self.prompt_tokens = Counter(
            "neo_prompt_tokens", "Prompt tokens of finished requests.", ["model"], registry=registry
        )
        self.generated_tokens = Counter(
            "neo_generated_tokens", "Tokens generated, for whomever.", ["model"], registry=registry
        )

    def of(self, model: str) -> ModelMetrics:
        """The series of one model, looked up once."""
        return ModelMetrics(self, model)


class ModelMetrics:
    """The series of one model."""

    def __init__(self, families: AnswerMetrics, model: str) -> None:
        self.first_token = families.first_token.labels(model)
        self.inter_token = families.inter_token.labels(model)
        self.duration = families.duration.labels(model)
        self.queue = families.queue.labels(model)
        self.prompt_tokens = families.prompt_tokens.labels(model)
        self.generated_tokens = families.generated_tokens.labels(model)
