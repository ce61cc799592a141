"""The metrics of a worker with all its processes, and what the database knows, at one port."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector

from annotator.errors import ServiceError
from annotator.pipeline.gauges import Gauges
from annotator.store.session import Store


def serve_metrics(store: Store, port: int) -> Callable[[], None]:
    """Serve metrics from a thread; what ends that.

    Raises:
        ServiceError: the port is taken.
    """
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    registry.register(Gauges(store))
    try:
        server, thread = start_http_server(port, registry=registry)
    except OSError as error:
        raise ServiceError(f"metrics cannot be served at port {port}: {error.strerror}") from error

    def end() -> None:
        server.shutdown()
        thread.join()

    return end
