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
from aiodimse.archive import provide
from aiodimse.cli import encryption, operating, signals, workers
from aiodimse.cli import options as shared
from aiodimse.cli.archives import Archives
from aiodimse.cli.auditing import Auditing
from aiodimse.cli.failures import FAILED, INTERRUPTED, USAGE, CommandError, system_words
from aiodimse.cli.output import Output
from aiodimse.cli.peers import Peers
from aiodimse.cli.reloading import Reloading
from aiodimse.cli.tally import Tally, tell_all, told

resource: Any
try:
    import resource
except ImportError:  # not on Windows
    resource = None

HELP = "serve a folder of DICOM files"

_MIN_FREE = 256 << 20
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
        help="TOML with any of these options by its long name, location among them; the command line wins;"
        " SIGHUP reads it again",
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
    parser.add_argument(
        "--audit", type=shared.audit, metavar="FILE|tls:HOST:PORT",
        help="report who asked for, sent and got what (PS3.15 A.5): into a file, or to a syslog collector",
    )  # fmt: skip
    parser.add_argument("--worker", type=int, help=SUPPRESS)  # what the parent of workers calls each of them with
    parser.add_argument(
        "--strict", action="store_true", help="refuse what is tolerated otherwise: see the page on leniencies"
    )
    parser.add_argument(
        "--max-associations", type=shared.count, default=aiodimse.Limits().max_associations, metavar="N",
        help=f"at once; one more is rejected ({aiodimse.Limits().max_associations})",
    )  # fmt: skip
    shared.transcoding(parser)
    _peers(parser)
    _room(parser)
    encryption.provider(parser)


def _peers(parser: ArgumentParser) -> None:
    """Where we are, and who may call."""
    group = parser.add_argument_group("peers")
    group.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1; 0.0.0.0: every one)")
    group.add_argument("--port", type=shared.listening_port, default=11112, help="port (11112; 0: any that is free)")
    group.add_argument(
        "--ae-title", type=shared.ae_title, default="AIODIMSE", metavar="AE",
        help="ours (AIODIMSE); a peer that calls another is rejected, but for --called and --any-called",
    )  # fmt: skip
    group.add_argument(
        "--called", type=shared.called, action=shared.Once, default=[], metavar="AE[=FOLDER]",
        help="a further title that we may be called by, with an archive of its own in FOLDER; repeatable",
    )  # fmt: skip
    group.add_argument("--any-called", action="store_true", help="accept whatever title we are called by")
    group.add_argument(
        "--calling", type=shared.caller, action=shared.Once, default=[], metavar="AE[=SERVICE,...]",
        help=f"who may call, and for what ({', '.join(shared.SERVICES)}; all of them); repeatable;"
        " without it everybody may",
    )  # fmt: skip
    group.add_argument(
        "--destination", dest="destinations", type=shared.destination, action=shared.Once, default=[],
        metavar="NAME=[tls:]HOST:PORT", help="where C-MOVE to this AE title sends; repeatable",
    )  # fmt: skip


def _room(parser: ArgumentParser) -> None:
    """How much is kept."""
    group = parser.add_argument_group("room")
    group.add_argument(
        "--keep-days", type=shared.count, metavar="N", help="remove studies that got nothing new for so long (never)"
    )
    group.add_argument(
        "--max-bytes",
        type=shared.size,
        metavar="SIZE",
        help="remove the oldest studies above that, 500G for one (never)",
    )
    group.add_argument(
        "--min-free", type=shared.size, default=_MIN_FREE, metavar="SIZE",
        help="refuse each C-STORE (A700) while the disk has less free (256M)",
    )  # fmt: skip


def location(text: str) -> Path | str:
    """A folder, or the URL of a bucket."""
    return text if text.startswith("s3://") else shared.path(text)


async def run(options: Namespace, output: Output) -> int:
    """Serve until SIGTERM (0) or Ctrl-C (130); what runs then may end, a second signal aborts it."""
    if options.directory is None:
        raise CommandError("what is to be served? (a folder, or s3://BUCKET/PREFIX)", USAGE)
    if options.workers > 1:
        return await workers.run(options, output)
    context = encryption.listening(options)
    if options.worker is None:
        await _check_address(options)
    tally, figures, stop = Tally(), _figures(options), _Stop()
    peers, archives = Peers(options), Archives(options, output)
    try:
        archive = await archives.open()
        peers.take(options, await archives.take(options))
        auditing = None if options.audit is None else Auditing(options, peers)
        hooks: list[aiodimse.Metrics] = [
            tally,
            *([figures] if figures else []),
            *([auditing.trail.metrics()] if auditing else []),
        ]
        server = _server(options, peers, operating.Several(hooks) if len(hooks) > 1 else tally, output)
        if auditing is not None:
            auditing.attach(server)
        provide(server, archive, destinations=peers.destinations, called=peers.archives, observer=auditing)
    except BaseException:
        await archives.close()
        raise
    with signals.heard(stop.received, signal.SIGTERM, signal.SIGINT), told(tally, output, server.environment.clock):
        try:
            async with AsyncExitStack() as serving:
                serving.push_async_callback(archives.close)
                if auditing is not None:
                    await serving.enter_async_context(auditing.trail)
                if options.worker is not None:
                    serving.enter_context(workers.bound_to_parent(stop.received))
                with _listening_errors(options):
                    listening = await serving.enter_async_context(
                        server.listen(options.host, options.port, ssl=context, reuse_port=options.worker is not None)
                    )
                reloading = Reloading(options, archives, peers, context, output)
                if options.config is not None:
                    archive.background(reloading.run(), "aiodimse serve configuration")
                    serving.enter_context(signals.heard(reloading.asked, *signals.HANGUP))
                _ready(options, output, listening.port)
                archives.scan()
                if figures is not None:
                    await serving.enter_async_context(_pages(options, operating.Pages(figures, archive), output))
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


def _server(options: Namespace, peers: Peers, metrics: aiodimse.Metrics, output: Output) -> aiodimse.Server:
    """The server that the options ask for, without handlers."""
    limits = aiodimse.Limits(max_associations=options.max_associations)
    if warning := too_few_files(limits):
        output.note(f"{options.prog}: warning: {warning}")
    server = aiodimse.Server(
        ae_title=options.ae_title,
        accept_called=peers.is_called,
        accept_calling=peers.may_call,
        strict=options.strict,
        transcode=options.transcode,
        limits=limits,
        timeouts=shared.timeouts(options),
        trace=options.tracing,
        metrics=metrics,
    )
    if options.tls_titles:
        server.on_associate(tls.titles_from_certificate(_collected(options.tls_titles)))
    if peers.are_limited or options.config is not None:  # which may say so when it is read again
        server.authorize(peers.may)
    return server


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
