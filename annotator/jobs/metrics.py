"""What workers count for Prometheus; what the database knows is counted when it is asked (``pipeline.gauges``)."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

MODEL_SECONDS = Histogram(
    "annotator_model_seconds",
    "Seconds of one call of a model, by its version and device",
    ["model", "device"],
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100),
)
BATCH_SECONDS = Histogram(
    "annotator_batch_seconds",
    "Seconds of one attempt at a batch, by step and outcome",
    ["step", "outcome"],
    buckets=(0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000),
)
IMAGES = Counter("annotator_worker_images", "Images that workers have pre-labelled")
FAILURES = Counter("annotator_worker_failures", "Images that workers could not pre-label, by reason", ["reason"])
