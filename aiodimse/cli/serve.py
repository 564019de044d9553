"""Serve a folder of DICOM files: C-ECHO, C-STORE into it, C-FIND, C-GET and C-MOVE from it."""

from __future__ import annotations

import asyncio
import os
import signal
from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiodimse
from aiodimse import tls
from aiodimse.aio.words import address_words
from aiodimse.archive import Archive, ScanReport, provide
from aiodimse.cli import encryption, operating, signals, workers
from aiodimse.cli import options as shared
from aiodimse.cli.failures import FAILED, INTERRUPTED, USAGE, CommandError, system_words
from aiodimse.cli.output import Output
from aiodimse.cli.tally import Tally, tell_all, told

resource: Any
try:
    import resource
except ImportError:  # not on Windows
    resource = None

HELP = "serve a folder of DICOM files"

_OWN_FILES = 64  # Python's, the pool's, the log's
_FILES_EACH = 3  # an association, the file it saves or sends, and the store association of a C-MOVE


def arguments(parser: ArgumentParser) -> None:
    """The options of serve."""
    parser.add_argument(
        "directory", metavar="LOCATION", type=location, nargs="?",
        help="a folder, or s3://BUCKET/PREFIX with --index; C-STORE saves into it",
    )  # fmt: skip
    parser.add_argument(
        "--config", metavar="FILE", type=shared.path,
        help="TOML with any of these options by its long name, location among them; the command line wins",
    )  # fmt: skip
    parser.add_argument(
        "--index", metavar="URL",
        help="what to keep the index in: sqlite:///FILE, postgresql://USER@HOST/DATABASE, or memory:, which reads all"
        " files at each start (an SQLite database in the folder)",
    )  # fmt: skip
    parser.add_argument(
        "--duplicates", choices=("keep", "replace"), default="keep",
        help="when an instance is stored again: keep the first or the last (keep)",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=shared.count, default=1, metavar="N",
        help="processes that serve one port (1); limits are those of each process",
    )  # fmt: skip
    parser.add_argument(
        "--metrics", type=shared.listening_port, metavar="PORT",
        help="serve /metrics for Prometheus, /healthz and /readyz on this port (extra metrics); worker N on PORT + N",
    )  # fmt: skip
    parser.add_argument("--worker", type=int, help=SUPPRESS)  # what the parent of workers calls each of them with
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1; 0.0.0.0: every one)")
    parser.add_argument("--port", type=shared.listening_port, default=11112, help="port (11112; 0: any that is free)")
    parser.add_argument(
        "--ae-title", type=shared.ae_title, default="AIODIMSE", metavar="AE",
        help="ours (AIODIMSE); a peer that calls another is rejected, but for --called and --any-called",
    )  # fmt: skip
    parser.add_argument(
        "--called", type=shared.ae_title, action="append", default=[], metavar="AE",
        help="a further title that we may be called by; repeatable",
    )  # fmt: skip
    parser.add_argument("--any-called", action="store_true", help="accept whatever title we are called by")
    parser.add_argument(
        "--calling", type=shared.ae_title, action="append", default=[], metavar="AE",
        help="who may call; repeatable; without it everybody may",
    )  # fmt: skip
    parser.add_argument(
        "--strict", action="store_true", help="refuse what is tolerated otherwise: see the page on leniencies"
    )
    parser.add_argument(
        "--destination", dest="destinations", type=shared.destination, action=shared.Once, default=[],
        metavar="NAME=[tls:]HOST:PORT", help="where C-MOVE to this AE title sends; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--max-associations", type=shared.count, default=aiodimse.Limits().max_associations, metavar="N",
        help=f"at once; one more is rejected ({aiodimse.Limits().max_associations})",
    )  # fmt: skip
    shared.transcoding(parser)
    encryption.provider(parser)


def location(text: str) -> Path | str:
    """A folder, or the URL of a bucket."""
    return text if text.startswith("s3://") else shared.path(text)


async def run(options: Namespace, output: Output) -> int:
    """Serve until SIGTERM (0) or Ctrl-C (130); what runs then may end, a second signal aborts it."""
    if options.directory is None:
        raise CommandError("what is to be served? (a folder, or s3://BUCKET/PREFIX)", USAGE)
    if options.workers > 1:
        return await workers.run(options, output)
    context, outgoing = encryption.listening(options), encryption.to_destinations(options)
    if isinstance(options.directory, Path) and not await asyncio.to_thread(options.directory.is_dir):
        raise CommandError(f"not a folder: {options.directory}", USAGE)
    if options.worker is None:
        await _check_address(options)
    archive = await _open(options, output)
    limits = aiodimse.Limits(max_associations=options.max_associations)
    if warning := too_few_files(limits):
        output.note(f"{options.prog}: warning: {warning}")
    tally = Tally()
    figures = _figures(options)
    server = aiodimse.Server(
        ae_title=options.ae_title,
        accept_called=True if options.any_called else [options.ae_title, *options.called],
        accept_calling=options.calling or None,
        strict=options.strict,
        transcode=options.transcode,
        limits=limits,
        timeouts=shared.timeouts(options),
        trace=options.tracing,
        metrics=tally if figures is None else operating.Several((tally, figures)),
    )
    if options.tls_titles:
        server.on_associate(tls.titles_from_certificate(_collected(options.tls_titles)))
    destinations = {
        title: aiodimse.Destination(where.host, where.port, ssl=outgoing if where.tls else None)
        for title, where in options.destinations
    }
    provide(server, archive, destinations=destinations)
    stop = _Stop()
    with signals.heard(stop.received, signal.SIGTERM, signal.SIGINT), told(tally, output, server.environment.clock):
        try:
            async with AsyncExitStack() as stack:
                stack.push_async_callback(archive.close)
                if options.worker is not None:
                    stack.enter_context(workers.bound_to_parent(stop.received))
                with _listening_errors(options):
                    listening = await stack.enter_async_context(
                        server.listen(options.host, options.port, ssl=context, reuse_port=options.worker is not None)
                    )
                _ready(options, output, listening.port)
                if not options.worker:
                    await stack.enter_async_context(_scanned_beside(archive, options.directory, output))
                if figures is not None:
                    await stack.enter_async_context(_pages(options, operating.Pages(figures, archive), output))
                output.goes_on = True  # a service does not end because its log is not read any more
                await stop.wait()
                if listening.associations:
                    output.line(f"ending; associations that may finish what they do: {len(listening.associations)}")
        except asyncio.CancelledError:
            if not stop.is_aborting:
                raise
            output.note(f"{options.prog}: aborted what was left")
        tell_all(tally, output)
    return INTERRUPTED if stop.number == signal.SIGINT else 0


def _figures(options: Namespace) -> operating.Figures | None:
    if options.metrics is None:
        return None
    try:
        import prometheus_client
    except ModuleNotFoundError:
        raise CommandError('--metrics needs prometheus-client: pip install "aiodimse[metrics]"', USAGE) from None
    return operating.Figures(prometheus_client)


@asynccontextmanager
async def _pages(options: Namespace, pages: operating.Pages, output: Output) -> AsyncIterator[None]:
    """Figures and health over HTTP, until the associations have ended."""
    port = options.metrics + (options.worker or 0) if options.metrics else 0
    try:
        served = await pages.listen(options.host, port)
    except OSError as error:
        raise CommandError(f"--metrics: cannot listen on port {port}: {_why(error)}", FAILED) from None
    output.event({"event": "metrics", "port": served.sockets[0].getsockname()[1]})
    try:
        yield
    finally:
        pages.is_draining = True
        served.close()


@contextmanager
def _listening_errors(options: Namespace) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        why = _why(error) if isinstance(error, OSError) else "not a host name"
        raise CommandError(f"cannot listen on {address_words((options.host, options.port))}: {why}", FAILED) from None


async def _check_address(options: Namespace) -> None:
    """Say that the port is taken before a scan that may take minutes. Nobody can connect yet."""
    with _listening_errors(options):
        loop = asyncio.get_running_loop()
        server = await loop.create_server(asyncio.Protocol, options.host, options.port, start_serving=False)
        server.close()


async def _open(options: Namespace, output: Output) -> Archive:
    """Open the archive. All its files are read the first time; later the scan runs beside the service."""
    try:
        archive = await Archive.open(
            options.directory,
            index=options.index,
            duplicates=options.duplicates,
            shared=options.worker is not None,
            scan=False,
        )
    except (OSError, ValueError, ModuleNotFoundError) as error:
        words = system_words(error) if isinstance(error, OSError) and error.filename else _words(error)
        raise CommandError(words, USAGE) from None
    if not await archive.index.is_complete():
        try:
            with output.progress("files read") as advance:

                def seen(report: ScanReport) -> None:
                    advance(report.files, None)

                await archive.scan(seen)
        except OSError as error:
            raise CommandError(system_words(error), USAGE) from None
        output.line(f"{options.directory}: {archive.report}")
    return archive


def _words(error: Exception) -> str:
    return str(error.strerror if isinstance(error, OSError) and error.strerror else error)


@asynccontextmanager
async def _scanned_beside(archive: Archive, location: object, output: Output) -> AsyncIterator[None]:
    """Look for what has changed in the folder while it is served."""

    async def scan() -> None:
        try:
            output.line(f"{location}: {await archive.scan()}")
        except OSError as error:
            output.note(f"the folder cannot be read: {system_words(error)}")

    task = None if archive.report.files else asyncio.create_task(scan(), name="aiodimse serve scan")
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
            await asyncio.wait([task])


def _ready(options: Namespace, output: Output, port: int) -> None:
    """One line, flushed: who waits for it may connect now."""
    with_tls = options.tls_cert is not None
    how = " with TLS" if with_tls else ""
    output.line(
        f"{options.ae_title} serves {options.directory} on {address_words((options.host, port))}{how} (Ctrl-C ends it)"
    )
    facts = {"ae_title": options.ae_title, "host": options.host, "port": port, "tls": with_tls}
    output.event({"event": "ready", **facts})


def _collected(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    titles: dict[str, list[str]] = {}
    for name, title in pairs:
        titles.setdefault(name, []).append(title)
    return titles


def _why(error: OSError) -> str:
    # asyncio's text quotes the address once more, and from 3.13 on the number; a name that does not resolve has its
    # own text, and a number below zero.
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()
    return system_words(OSError(error.errno, error.strerror))


# --- the system -------------------------------------------------------------------------------------------------------


class _Stop:
    """The first signal ends serving, the second cancels the command, which aborts what still runs."""

    def __init__(self) -> None:
        self._task = asyncio.current_task()
        self._received = asyncio.Event()
        self.number: int | None = None
        """The first signal."""
        self.is_aborting = False

    def received(self, number: int) -> None:
        if self.number is None:
            self.number = number
            self._received.set()
        elif not self.is_aborting and self._task is not None:
            self.is_aborting = True
            self._task.cancel()

    async def wait(self) -> None:
        await self._received.wait()


def too_few_files(limits: aiodimse.Limits) -> str | None:
    """Raise the soft limit on open files to what the limits need; the warning where the hard limit is below it."""
    if resource is None:
        return None
    needed = limits.max_pending_connections + limits.max_associations * _FILES_EACH + _OWN_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return None
    most = needed if hard == resource.RLIM_INFINITY else min(hard, needed)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    except (OSError, ValueError):
        most = soft
    if most >= needed:
        return None
    return (
        f"ulimit -n is {max(soft, most)}, and {limits.max_associations} associations with"
        f" {limits.max_pending_connections} connections that wait may need {needed} files"
    )
