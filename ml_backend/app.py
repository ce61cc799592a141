"""The HTTP door that Label Studio calls an ML backend: routes only, the work is in ``service``."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from prometheus_client.registry import Collector
from starlette.background import BackgroundTask

from annotator.images.fetch import Fetcher, FetchRules
from annotator.labelstudio.client import Credentials
from annotator.labelstudio.server import require_free
from annotator.pipeline.review.studio import SECRET_HEADER
from annotator.settings import Settings
from ml_backend.auth import Guard
from ml_backend.engine import Prelabeller
from ml_backend.protocol import PredictRequest, Refused, SetupRequest, WebhookEvent, parse
from ml_backend.service import Service

log = logging.getLogger(__name__)

MAX_PREDICT_BYTES = 256_000_000
"""10,000 tasks are about 45 MB; each carries all its annotations and predictions."""
MAX_WEBHOOK_BYTES = 16_000_000
SMALL_BYTES = 64_000
"""A request up to this size is read on the event loop: one task with a few annotations is about 10 kB."""

SWITCH_SECONDS = 0.0005
"""How soon a thread that computes lets the one that answers go on; Python's own 5 ms would be most of an answer."""

Handler = Callable[[Request], Awaitable[Response]]


def create_app(
    settings: Settings, engine: Prelabeller, fetcher: Fetcher | None = None, collectors: Sequence[Collector] = ()
) -> FastAPI:
    """The application; ``fetcher`` reads task images, by default with the rules of the settings.

    ``collectors`` are shown at ``/metrics`` beside what the application counts itself.

    Raises:
        ConfigurationError: only one of backend_user and backend_password is set.
    """
    guard = Guard.from_settings(settings)
    service = Service(settings, engine, fetcher or default_fetcher(settings))
    for collector in collectors:
        service.metrics.registry.register(collector)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(service.stop)

    app = FastAPI(title="annotator", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_exception_handler(Refused, _refused)
    _add_routes(app, service, guard)
    return app


def run(settings: Settings, engine: Prelabeller, host: str, port: int, collectors: Sequence[Collector] = ()) -> None:
    """Serve until interrupted.

    Raises:
        ServiceError: the port is taken.
    """
    require_free(port)
    if host not in ("127.0.0.1", "localhost", "::1") and settings.backend_user is None:
        log.warning("everybody who reaches %s:%d is served; set backend_user and backend_password", host, port)
    app = create_app(settings, engine, collectors=collectors)
    sys.setswitchinterval(SWITCH_SECONDS)
    uvicorn.run(app, host=host, port=port, log_level="warning", log_config=None, server_header=False)


def default_fetcher(settings: Settings) -> Fetcher:
    """The guarded client with the project's rules and its Label Studio key."""
    url, key = settings.label_studio_url, settings.label_studio_api_key
    headers = Credentials(url, key.get_secret_value()).headers if url and key else None
    return Fetcher(FetchRules.from_settings(settings), headers)


def _add_routes(app: FastAPI, service: Service, guard: Guard) -> None:
    """Plain Starlette routes: those with dependencies cost a millisecond more, and Label Studio asks often."""

    async def health(_: Request) -> Response:
        told = {"status": "UP", "model_class": "annotator", "model_version": service.known_version}
        return JSONResponse(told)

    async def setup(request: Request) -> Response:
        body = await _body(request, MAX_PREDICT_BYTES)
        return JSONResponse(await run_in_threadpool(lambda: service.setup(parse(SetupRequest, body))))

    async def predict(request: Request) -> Response:
        body = await _body(request, MAX_PREDICT_BYTES)
        asked = parse(PredictRequest, body) if len(body) <= SMALL_BYTES else None
        answer = service.remembered(asked) if asked else None
        if answer is None:
            # reading and answering a batch takes seconds: off the event loop, so that /health is not kept waiting
            answer = await run_in_threadpool(lambda: service.predict(asked or parse(PredictRequest, body)))
        return Response(answer, media_type="application/json")

    async def webhook(request: Request) -> Response:
        if not guard.admits_webhook(request.headers.get("authorization"), request.headers.get(SECRET_HEADER)):
            return _unauthorized()
        event = parse(WebhookEvent, await _body(request, MAX_WEBHOOK_BYTES))
        # Label Studio waits one second, a busy database may take longer
        return JSONResponse({"status": "heard"}, background=BackgroundTask(service.hear, event))

    async def versions(_: Request) -> Response:
        return JSONResponse({"versions": [await run_in_threadpool(service.version)]})

    async def metrics(_: Request) -> Response:
        text = await run_in_threadpool(service.metrics.text)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    guarded = {"/": health, "/health": health, "/setup": setup, "/predict": predict, "/versions": versions,
               "/metrics": metrics}  # fmt: skip
    for path, handler in guarded.items():
        method = "POST" if path in ("/setup", "/predict") else "GET"
        app.add_route(path, _for_those_signed_in(guard, handler), methods=[method])
    app.add_route("/webhook", webhook, methods=["POST"])


def _for_those_signed_in(guard: Guard, handler: Handler) -> Handler:
    async def check(request: Request) -> Response:
        if not guard.admits(request.headers.get("authorization")):
            return _unauthorized()
        return await handler(request)

    return check


def _unauthorized() -> Response:
    headers = {"WWW-Authenticate": 'Basic realm="annotator"'}
    return JSONResponse({"detail": "user and password are needed"}, status_code=401, headers=headers)


async def _body(request: Request, limit: int) -> bytes:
    """The request's body, read no further than the limit.

    Raises:
        Refused: 413, it is larger.
    """
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise Refused(413, f"the body is larger than {limit:,} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


async def _refused(_: Request, error: Exception) -> JSONResponse:
    status = error.status if isinstance(error, Refused) else 500
    log.warning("refused: %s", error)
    return JSONResponse({"detail": str(error)}, status_code=status)
