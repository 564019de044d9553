"""Images come in, series are measured in worker processes, reports go out."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from opentelemetry import metrics, trace

import aiodimse
from aiodimse import sop_class
from aiodimse.telemetry import OpenTelemetryMetrics

from .config import Config
from .model import analyze, begin
from .spool import Spool

_log = logging.getLogger("inference")


class Service:
    """The service: `async with service.running()`. Spans and figures hold no patient data."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._spool = Spool(Path(config.spool))
        self._series: aiodimse.Completeness[str] = aiodimse.Completeness(
            quiet=config.quiet, quiet_after_end=config.quiet_after_end
        )
        self._tracer = trace.get_tracer("inference")
        self._outcomes = metrics.get_meter("inference").create_counter("inference.series", description="by outcome")
        self._processes = self._new_processes()
        self._at_work: set[asyncio.Task[None]] = set()
        self._workers: list[asyncio.Task[None]] = []
        self._is_draining = False
        self.port = 0
        """Where it receives images, while it runs."""

    @property
    def is_alive(self) -> bool:
        """Whether all workers work."""
        return not any(worker.done() for worker in self._workers)

    @property
    def is_ready(self) -> bool:
        """Whether it takes images."""
        return bool(self._workers) and not self._is_draining and self._series.waiting < self._config.most_waiting

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run until the block is left; then take no image any more, and end what is at work."""
        config = self._config
        for series in await self._spool.open():  # of a service that was killed
            self._series.arrived(series)
        pool = aiodimse.Pool(
            config.archive_host,
            config.archive_port,
            ae_title=config.ae_title,
            called_ae_title=config.archive_ae_title,
            contexts=[sop_class.ComprehensiveSRStorage],
            metrics=OpenTelemetryMetrics(),
            timeouts=aiodimse.Timeouts(cancel_drain=1.0),  # after the drain, the next start sends it again
        )
        async with pool:
            async with self._server().listen(config.host, config.port) as listening:
                self.port = listening.port
                self._workers = [asyncio.create_task(self._work(pool)) for _ in range(config.processes)]
                yield
                self._is_draining = True
            await self._drain()
        await self._spool.close()

    def _server(self) -> aiodimse.Server:
        server = aiodimse.Server(ae_title=self._config.ae_title, metrics=OpenTelemetryMetrics())

        @server.on_c_echo
        async def echo(request: aiodimse.EchoRequest) -> int:
            return 0x0000

        @server.on_c_store(sop_class.CTImageStorage)
        async def store(request: aiodimse.StoreRequest) -> int:
            if self._series.waiting >= self._config.most_waiting:
                raise aiodimse.DIMSEFailure(0xA700, "busy")
            path = await request.save(self._spool.folder)
            self._series.arrived(await self._spool.add(path), request.association)
            return 0x0000

        @server.on_association_end
        async def ended(association: aiodimse.ProviderAssociation, error: BaseException | None) -> None:
            self._series.ended(association)

        return server

    async def _work(self, pool: aiodimse.Pool) -> None:
        task = asyncio.current_task()
        assert task is not None
        while not self._is_draining:
            series = await anext(self._series)
            self._at_work.add(task)
            await self._report(series, pool)
            self._at_work.discard(task)

    async def _report(self, series: str, pool: aiodimse.Pool) -> None:
        with self._tracer.start_as_current_span("series") as span:
            paths = await self._spool.paths(series)
            if not paths:
                return
            span.set_attribute("images", len(paths))
            try:
                with self._tracer.start_as_current_span("model"):
                    report = await self._analyzed(paths)
            except Exception as error:  # of the model: the next series is not to suffer for it
                _log.error("a series of %d images has no report: %s", len(paths), type(error).__name__)
                self._outcomes.add(1, {"outcome": "failed"})
                return  # it is tried again at the next start, or when another image of it comes
            try:
                with self._tracer.start_as_current_span("store"):
                    await self._stored(report, pool)
            except aiodimse.DIMSEFailure as error:
                _log.error("the archive refuses a report: status 0x%04X", error.status)
                self._outcomes.add(1, {"outcome": "refused"})
                return
            await self._spool.reported(paths, self._config.keep_hours)
            self._outcomes.add(1, {"outcome": "reported"})

    async def _analyzed(self, paths: list[str]) -> bytes:
        """The report; a worker process that was killed is replaced, and the model tried once more."""
        loop = asyncio.get_running_loop()
        processes = self._processes
        try:
            return await loop.run_in_executor(processes, analyze, paths)
        except BrokenProcessPool:
            if self._processes is processes:
                processes.shutdown(wait=False)
                self._processes = self._new_processes()
            return await loop.run_in_executor(self._processes, analyze, paths)

    def _new_processes(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self._config.processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=begin,
        )

    async def _stored(self, report: bytes, pool: aiodimse.Pool) -> None:
        """Send until the archive has it or refuses it; the images wait on the disk meanwhile."""

        async def chunks() -> AsyncIterator[bytes]:
            yield report

        pause = self._config.pause
        while True:
            try:
                response = await pool.c_store(await aiodimse.Instance.from_part10(chunks()))
                response.raise_for_status()
                return
            except aiodimse.AiodimseError as error:
                if isinstance(error, aiodimse.DIMSEFailure) and not 0xA700 <= error.status < 0xA800:
                    raise  # other than out of resources, it stays so
                _log.warning("the archive has not stored a report: %s", error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, 300.0)

    async def _drain(self) -> None:
        """End what is at work. What is not at work, and what takes too long, is on the disk for the next start."""
        for worker in self._workers:
            if worker not in self._at_work:
                worker.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._config.drain):
                await asyncio.gather(*self._workers, return_exceptions=True)
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        await asyncio.to_thread(self._processes.shutdown, cancel_futures=True)
