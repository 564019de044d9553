"""python -m inference inference.toml"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from .config import Config
from .service import Service


def application(service: Service) -> Starlette:
    """Make the application: health and readiness. Its startup and shutdown start and stop the service."""

    async def alive(request: Request) -> PlainTextResponse:
        return _answer(service.is_alive, "alive")

    async def ready(request: Request) -> PlainTextResponse:
        return _answer(service.is_ready, "ready")

    @asynccontextmanager
    async def running(app: Starlette) -> AsyncIterator[None]:
        with observed():
            async with service.running():
                yield

    return Starlette(routes=[Route("/healthz", alive), Route("/readyz", ready)], lifespan=running)


def _answer(good: bool, word: str) -> PlainTextResponse:
    return PlainTextResponse(word if good else f"not {word}", 200 if good else 503)


@contextmanager
def observed() -> Iterator[None]:
    """Export spans and metrics if OTEL_EXPORTER_OTLP_ENDPOINT is set."""
    if "OTEL_EXPORTER_OTLP_ENDPOINT" not in os.environ:
        yield
        return
    tracer, meter = TracerProvider(), MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())])
    tracer.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(tracer)
    metrics.set_meter_provider(meter)
    try:
        yield
    finally:
        tracer.shutdown()
        meter.shutdown()


if __name__ == "__main__":  # not in a worker process
    logging.basicConfig(level=logging.INFO)
    if not sys.argv[1:]:
        sys.exit(f"usage: python -m {__package__} FILE.toml")
    try:
        config = Config.load(sys.argv[1])
    except (OSError, TypeError, ValueError) as error:  # no such file, a key that is unknown or missing, a wrong value
        sys.exit(f"{sys.argv[1]}: {error}")
    # On SIGTERM uvicorn shuts the application down, which drains the service.
    uvicorn.run(
        application(Service(config)), host=config.http_host, port=config.http_port, access_log=False, lifespan="on"
    )
