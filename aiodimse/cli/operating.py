"""serve --metrics PORT: metrics for Prometheus over HTTP, and whether the service is alive and ready."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from aiodimse.aio.files import read_off_loop
from aiodimse.archive import Archive
from aiodimse.dimse.status import Status
from aiodimse.metrics import MeasuredAssociation, Metrics
from aiodimse.standard.transfer_syntax import keyword

_SECONDS = 5.0
"""The time limit for one request in seconds, which includes the query of the index."""
_SECONDS_OF_INDEX = 3.0
"""The time limit in seconds for the index and the storage: a database may be stopped, and a disk may hang."""
_MAX_HEAD = 8192
"""The maximum length of the head of a request in bytes."""
_MAX_CONNECTIONS = 32
"""The maximum number of connections at the same time. Prometheus and an orchestrator need one each, and briefly."""


class PrometheusMetrics:
    """Metrics (aiodimse.metrics) of a Server, as instruments of prometheus-client.

    Args:
        client: The module prometheus_client, of the extra `metrics`.
    """

    def __init__(self, client: Any) -> None:
        self._registry = client.CollectorRegistry()
        self._generate: Callable[[Any], bytes] = client.generate_latest
        self.content_type: str = str(client.CONTENT_TYPE_LATEST)
        how = {"registry": self._registry, "namespace": "aiodimse"}
        self._open = client.Gauge("associations_open", "Associations that are established", ["role"], **how)
        self._ended = client.Counter("associations", "Associations by how they ended", ["role", "how"], **how)
        self._failed = client.Counter(
            "connections_failed", "Connections that came to no association", ["role", "how"], **how
        )
        self._operations = client.Histogram(
            "operation_seconds", "Operations, from the request to the final response",
            ["service", "side", "status"], **how,
        )  # fmt: skip
        self._transcoded = client.Histogram(
            "transcoded_seconds", "Time to convert the pixels of an instance for a peer",
            ["source", "target", "error"], **how,
        )  # fmt: skip
        self._held = client.Gauge("archive_entities", "What the index of the archive holds", ["level"], **how)
        self._is_up = client.Gauge("archive_index_up", "Whether the index of the archive answers", **how)
        self._is_up.set(math.nan)  # nobody knows before the archive is served, and no alert is to be raised

    async def page(self, archive: Archive | None) -> bytes:
        """Return the metrics in the text format of Prometheus. If the index does not answer, its counts are old."""
        if archive is not None:
            await self._count(archive)
        return self._generate(self._registry)

    async def _count(self, archive: Archive) -> None:
        try:
            async with asyncio.timeout(_SECONDS_OF_INDEX):
                counts = await archive.index.counts()
        except Exception:  # database drivers raise errors of their own
            self._is_up.set(0)
        else:
            self._is_up.set(1)
            for level in ("patients", "studies", "series", "instances"):
                self._held.labels(level).set(getattr(counts, level))

    # --- Metrics ------------------------------------------------------------------------------------------------------

    def association_opened(self, association: MeasuredAssociation) -> None:
        """Count one more association. AE titles are no labels, since a peer may use a new one each time."""
        self._open.labels(association.role).inc()

    def association_ended(self, association: MeasuredAssociation, how: str, seconds: float) -> None:
        """Count one association as ended."""
        self._open.labels(association.role).dec()
        self._ended.labels(association.role, how).inc()

    def association_failed(self, association: MeasuredAssociation, how: str) -> None:
        """Count a connection that did not become an association."""
        self._failed.labels(association.role, how).inc()

    def operation_ended(
        self, association: MeasuredAssociation, service: str, side: str, status: int | None, seconds: float
    ) -> None:
        """Count an operation. The label is not its status, but the category, of which there are six."""
        category = "none" if status is None else Status(status).category.name.lower()
        self._operations.labels(service, side, category).observe(seconds)

    def instance_transcoded(
        self, association: MeasuredAssociation, source: str, target: str, frames: int, error: str | None, seconds: float
    ) -> None:
        """Count an instance by its two transfer syntaxes, of which there are some dozen, and by the error, if any."""
        self._transcoded.labels(keyword(source), keyword(target), error or "none").observe(seconds)


class CombinedMetrics:
    """Passes each event to several Metrics hooks."""

    def __init__(self, hooks: Iterable[Metrics]) -> None:
        self._hooks = list(hooks)

    def instance_transcoded(
        self, association: MeasuredAssociation, source: str, target: str, frames: int, error: str | None, seconds: float
    ) -> None:
        """Pass the event to the hooks that implement DetailedMetrics."""
        for hook in self._hooks:
            if (transcoded := getattr(hook, "instance_transcoded", None)) is not None:
                transcoded(association, source, target, frames, error, seconds)

    def association_opened(self, association: MeasuredAssociation) -> None:
        """See Metrics."""
        for hook in self._hooks:
            hook.association_opened(association)

    def association_ended(self, association: MeasuredAssociation, how: str, seconds: float) -> None:
        """See Metrics."""
        for hook in self._hooks:
            hook.association_ended(association, how, seconds)

    def association_failed(self, association: MeasuredAssociation, how: str) -> None:
        """See Metrics."""
        for hook in self._hooks:
            hook.association_failed(association, how)

    def operation_ended(
        self, association: MeasuredAssociation, service: str, side: str, status: int | None, seconds: float
    ) -> None:
        """See Metrics."""
        for hook in self._hooks:
            hook.operation_ended(association, service, side, status, seconds)


class Pages:
    """Answers GET /metrics, /healthz and /readyz.

    Anybody who reaches the port may connect, so a connection has one request, whose head has a maximum length, and a
    time limit. Where there are too many connections, the one that has waited longest without a request is closed for
    the next one: clients that hold connections open cannot keep out Prometheus, which sends its request at once.

    Args:
        figures: What /metrics shows.
    """

    def __init__(self, figures: PrometheusMetrics) -> None:
        self.figures: PrometheusMetrics = figures
        self.port: int = 0
        """The port that it listens on."""
        self._archive: Archive | None = None
        self._connections: set[asyncio.StreamWriter] = set()
        self._without_request: dict[asyncio.StreamWriter, None] = {}  # the oldest is the first

    async def listen(self, host: str, port: int) -> asyncio.Server:
        """Listen until the returned server is closed. Raises OSError."""
        server = await asyncio.start_server(self._serve, host, port, limit=_MAX_HEAD)
        self.port = server.sockets[0].getsockname()[1]
        return server

    @contextmanager
    def ready(self, archive: Archive) -> Iterator[None]:
        """Be ready during the body, which serves the archive, while its storage is reachable and its index answers.

        Before the body, for example during the first scan, and after it, while associations end, the service is alive.
        """
        self._archive = archive
        try:
            yield
        finally:
            self._archive = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, and close the connection."""
        if len(self._connections) >= _MAX_CONNECTIONS:
            self._drop(next(iter(self._without_request), writer))
            if writer.transport.is_closing():
                return
        self._connections.add(writer)
        self._without_request[writer] = None
        try:
            async with asyncio.timeout(_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                self._without_request.pop(writer, None)
                status, kind, body = await self._answer(head.split(b"\r\n", 1)[0])
                lines = (f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}")
                writer.write("\r\n".join((*lines, "Connection: close", "", "")).encode() + body)
                writer.close()
                await writer.wait_closed()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, OSError):
            pass  # a client that sends no valid head, is too slow, or does not read its answer gets no more
        finally:
            self._drop(writer)

    def _drop(self, writer: asyncio.StreamWriter) -> None:
        """Close a connection without sending what is left, unless it is closed already."""
        self._connections.discard(writer)
        self._without_request.pop(writer, None)
        writer.transport.abort()

    async def _answer(self, request: bytes) -> tuple[str, str, bytes]:
        words = request.split(b" ")
        path = words[1].split(b"?")[0] if len(words) == 3 and words[0] == b"GET" else b""
        if path == b"/metrics":
            return "200 OK", self.figures.content_type, await self.figures.page(self._archive)
        if path == b"/healthz":
            return "200 OK", "text/plain", b"alive\n"
        if path == b"/readyz":
            is_ready = self._archive is not None and await _is_ready(self._archive)
            return (
                ("200 OK", "text/plain", b"ready\n") if is_ready else ("503 Unavailable", "text/plain", b"not ready\n")
            )
        return "404 Not Found", "text/plain", b"/metrics, /healthz, /readyz\n"


async def _is_ready(archive: Archive) -> bool:
    try:
        async with asyncio.timeout(_SECONDS_OF_INDEX):
            await read_off_loop(archive.storage.check)
            with archive.availability.asked(0xA700):
                await archive.index.is_complete()
    except Exception:  # database drivers raise errors of their own; the index logs why it does not answer
        return False
    return True
