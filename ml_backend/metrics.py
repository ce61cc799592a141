"""Counters for Prometheus; one registry for each application, so that two of them in one process do not mix."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """What ``/metrics`` shows."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.tasks = Counter(
            "annotator_tasks",
            "Tasks that were answered, by outcome: done, remembered, late, or the reason of a failure",
            ["outcome"],
            registry=self.registry,
        )
        self.requests = Histogram(
            "annotator_predict_seconds",
            "Seconds that a /predict request took",
            buckets=(0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 20, 95),
            registry=self.registry,
        )
        self.images = Histogram(
            "annotator_image_seconds",
            "Seconds that one image took, fetched and pre-labelled",
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=self.registry,
        )
        self.webhooks = Counter("annotator_webhooks", "Webhooks that were heard", ["action"], registry=self.registry)
        self.pending = Gauge("annotator_pending_images", "Images that wait or are worked on", registry=self.registry)

    def watch_pending(self, count: Callable[[], int]) -> None:
        """Show the number that ``count`` returns at the time of asking."""
        self.pending.set_function(count)

    def text(self) -> bytes:
        """The exposition format of Prometheus."""
        return generate_latest(self.registry)
