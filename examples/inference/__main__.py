"""python -m inference inference.toml"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
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

import aiodimse

from .config import Config
from .service import Service


def application(service: Service) -> Starlette:
    """Make the application: health and readiness."""

    async def alive(request: Request) -> PlainTextResponse:
        return _answer(service.is_alive, "alive")

    async def ready(request: Request) -> PlainTextResponse:
        return _answer(service.is_ready, "ready")

    return Starlette(routes=[Route("/healthz", alive), Route("/readyz", ready)])


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


async def serve(config: Config) -> None:
    """Serve until SIGTERM or Ctrl-C, and drain."""
    service = Service(config)
    with observed():
        async with service.running():
            web = uvicorn.Config(application(service), config.http_host, config.http_port, access_log=False)
            server = uvicorn.Server(web)
            # After a signal has ended it, uvicorn raises the signal again, for the handlers that it found. The default
            # ones would end the process before the block is left.
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, server.handle_exit)
            await server.serve()


if __name__ == "__main__":  # not in a worker process
    logging.basicConfig(level=logging.INFO)
    if not sys.argv[1:]:
        sys.exit(f"usage: python -m {__package__} FILE.toml")
    try:
        asyncio.run(serve(msgspec.toml.decode(Path(sys.argv[1]).read_bytes(), type=Config)))
    # A mistake in the file, a port that is taken, a folder that cannot be made.
    except (OSError, ValueError, aiodimse.AiodimseError) as error:
        sys.exit(f"{sys.argv[1]}: {error}")
