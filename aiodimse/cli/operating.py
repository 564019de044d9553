"""serve --metrics PORT: figures for Prometheus, and whether the service is alive and ready, over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from aiodimse.archive import Archive
from aiodimse.dimse.status import Status
from aiodimse.metrics import MeasuredAssociation, Metrics
from aiodimse.standard.transfer_syntax import keyword

_SECONDS = 5.0
"""Seconds for one request, and for the answer of the index."""
_MAX_HEAD = 8192
"""Bytes of a request."""


class Figures:
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
            "transcoded_seconds", "Instances whose pixels were converted for a peer, until they could be sent",
            ["source", "target", "error"], **how,
        )  # fmt: skip
        self._held = client.Gauge("archive_entities", "What the index of the archive holds", ["level"], **how)

    async def page(self, archive: Archive) -> bytes:
        """Return the figures as Prometheus reads them."""
        counts = await archive.index.counts()
        for level in ("patients", "studies", "series", "instances"):
            self._held.labels(level).set(getattr(counts, level))
        return self._generate(self._registry)

    # --- Metrics ------------------------------------------------------------------------------------------------------

    def association_opened(self, association: MeasuredAssociation) -> None:
        """Count one association more. AE titles are no labels, since a peer may use another one each time."""
        self._open.labels(association.role).inc()

    def association_ended(self, association: MeasuredAssociation, how: str, seconds: float) -> None:
        """Count one association less."""
        self._open.labels(association.role).dec()
        self._ended.labels(association.role, how).inc()

    def association_failed(self, association: MeasuredAssociation, how: str) -> None:
        """Count a connection that did not become an association."""
        self._failed.labels(association.role, how).inc()

    def operation_ended(
        self, association: MeasuredAssociation, service: str, side: str, status: int | None, seconds: float
    ) -> None:
        """Count an operation by the category of its status, of which there are six."""
        category = "none" if status is None else Status(status).category.name.lower()
        self._operations.labels(service, side, category).observe(seconds)

    def instance_transcoded(
        self, association: MeasuredAssociation, source: str, target: str, frames: int, error: str | None, seconds: float
    ) -> None:
        """By its transfer syntaxes, of which there are some dozen, and why it failed."""
        self._transcoded.labels(keyword(source), keyword(target), error or "none").observe(seconds)


class Several:
    """Tells several hooks what it is told."""

    def __init__(self, hooks: Iterable[Metrics]) -> None:
        self._hooks = list(hooks)

    def instance_transcoded(
        self, association: MeasuredAssociation, source: str, target: str, frames: int, error: str | None, seconds: float
    ) -> None:
        """See DetailedMetrics: those that are told of it."""
        for hook in self._hooks:
            if (told := getattr(hook, "instance_transcoded", None)) is not None:
                told(association, source, target, frames, error, seconds)

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

    Args:
        figures: What /metrics shows.
        archive: Ready where its storage is there and its index answers.
    """

    def __init__(self, figures: Figures, archive: Archive) -> None:
        self._figures, self._archive = figures, archive
        self.is_draining = False
        """Whether the service is ending: it is then alive, and not ready."""

    async def listen(self, host: str, port: int) -> asyncio.Server:
        """Serve until the server is closed. Raises OSError."""
        return await asyncio.start_server(self._serve, host, port, limit=_MAX_HEAD)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, and close the connection."""
        try:
            async with asyncio.timeout(_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                status, kind, body = await self._answer(head.split(b"\r\n", 1)[0])
                lines = (f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}")
                writer.write("\r\n".join((*lines, "Connection: close", "", "")).encode() + body)
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # who asks so gets nothing
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, request: bytes) -> tuple[str, str, bytes]:
        words = request.split(b" ")
        path = words[1].split(b"?")[0] if len(words) == 3 and words[0] == b"GET" else b""
        if path == b"/metrics":
            return "200 OK", self._figures.content_type, await self._figures.page(self._archive)
        if path == b"/healthz":
            return "200 OK", "text/plain", b"alive\n"
        if path == b"/readyz":
            is_ready = not self.is_draining and await self._is_ready()
            return (
                ("200 OK", "text/plain", b"ready\n") if is_ready else ("503 Unavailable", "text/plain", b"not ready\n")
            )
        return "404 Not Found", "text/plain", b"/metrics, /healthz, /readyz\n"

    async def _is_ready(self) -> bool:
        try:
            await asyncio.to_thread(self._archive.storage.check)
            await self._archive.index.is_complete()
        except Exception:  # of a driver, too: why it does not answer is in the log of who asked it
            return False
        return True
