"""Serve a folder of DICOM files: C-ECHO, C-STORE into it, C-FIND, C-GET and C-MOVE from it."""

from __future__ import annotations

import asyncio
import signal
from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path

import aiodimse
from aiodimse import tls
from aiodimse.aio.threads import not_ended
from aiodimse.aio.words import address_words
from aiodimse.archive import provide
from aiodimse.cli import beginning, encryption, operating, process_settings, signals, workers
from aiodimse.cli import listening as listening_on
from aiodimse.cli import options as shared
from aiodimse.cli.archives import Archives
from aiodimse.cli.auditing import Auditing
from aiodimse.cli.ending import Stop
from aiodimse.cli.failures import FAILED, INTERRUPTED, USAGE, CommandError
from aiodimse.cli.output import Output
from aiodimse.cli.peers import Peers
from aiodimse.cli.reloading import Reloader
from aiodimse.cli.sharing import SharedPort, Worker
from aiodimse.cli.tally import Tally, report_totals, reported_each_minute

HELP = "serve a folder of DICOM files"

_MIN_FREE = 256 << 20
_HANGS = 1.0
"""How long a thread may still work when everything else has ended, in seconds. Longer, and it hangs."""


def arguments(parser: ArgumentParser) -> None:
    """Add the options of serve."""
    parser.add_argument(
        "directory", metavar="LOCATION", type=location, nargs="?",
        help="a folder, or s3://BUCKET/PREFIX with --index; C-STORE saves into it",
    )  # fmt: skip
    parser.add_argument(
        "--config", metavar="FILE", type=shared.file,
        help="TOML file with any of these options by its long name, and the location; the command line wins;"
        " SIGHUP reads it again",
    )  # fmt: skip
    parser.add_argument(
        "--index", type=shared.index, metavar="URL",
        help="where to keep the index: sqlite:///FILE, postgresql://USER@HOST/DATABASE, or memory:, which reads all"
        " files at each start (an SQLite database in the folder)",
    )  # fmt: skip
    parser.add_argument(
        "--duplicates", choices=("keep", "replace"), default="keep",
        help="when an instance is stored again: keep the first or the last (keep)",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=shared.workers, default=1, metavar="N",
        help="number of processes that serve the port (1); each process has limits of its own",
    )  # fmt: skip
    parser.add_argument(
        "--metrics", type=shared.listening_port, metavar="PORT",
        help="serve /metrics for Prometheus, /healthz and /readyz on this port (needs the extra metrics); worker N uses"
        " PORT + N",
    )  # fmt: skip
    parser.add_argument(
        "--audit", type=shared.audit, metavar="FILE|tls:HOST:PORT",
        help="report who queried, sent and received what (PS3.15 A.5), to a file or to a syslog collector",
    )  # fmt: skip
    # The parent process starts each worker with this. Its name is not the beginning of another's, which users mistype.
    parser.add_argument("--inherited", dest="worker", type=Worker.read, help=SUPPRESS)
    parser.add_argument(
        "--strict", action="store_true", help="refuse what is otherwise tolerated; see the page on leniencies"
    )
    parser.add_argument(
        "--max-associations", type=shared.count, default=aiodimse.Limits().max_associations, metavar="N",
        help=f"number of associations at a time; one more is rejected ({aiodimse.Limits().max_associations})",
    )  # fmt: skip
    shared.transcoding(parser)
    _peers(parser)
    _room(parser)
    encryption.provider(parser)
    shared.network(parser, "an association with a destination ({:g}), and for each of its responses ({:g})")


def _peers(parser: ArgumentParser) -> None:
    """Add the options that say where to listen, who may call, and where C-MOVE sends."""
    group = parser.add_argument_group("peers")
    group.add_argument(
        "--host", type=shared.listening_host, default="127.0.0.1",
        help="address to listen on (127.0.0.1); 0.0.0.0 means every address",
    )  # fmt: skip
    group.add_argument(
        "--port", type=shared.listening_port, default=11112, help="port to listen on (11112); 0 means any that is free"
    )
    group.add_argument(
        "--ae-title", type=shared.ae_title, default="AIODIMSE", metavar="AE",
        help="our AE title (AIODIMSE); an association with another called title is rejected, except for those of"
        " --called and with --any-called",
    )  # fmt: skip
    group.add_argument(
        "--called", type=shared.called, action=shared.Once, default=[], metavar="AE[=FOLDER]",
        help="another title that callers may use for us, with an archive of its own if FOLDER is given; repeatable",
    )  # fmt: skip
    group.add_argument("--any-called", action="store_true", help="accept every called title")
    group.add_argument(
        "--calling", type=shared.caller, action=shared.Once, default=[], metavar="AE[=SERVICE,...]",
        help=f"who may call, and for which services ({', '.join(shared.SERVICES)}; all, if none is named); repeatable;"
        " without it everybody may call",
    )  # fmt: skip
    group.add_argument(
        "--destination", dest="destinations", type=shared.destination, action=shared.Once, default=[],
        metavar="NAME=[tls:]HOST:PORT", help="where C-MOVE to this AE title sends; repeatable",
    )  # fmt: skip


def _room(parser: ArgumentParser) -> None:
    """Add the options that limit how much is kept."""
    group = parser.add_argument_group("room")
    group.add_argument(
        "--keep-days",
        type=shared.count,
        metavar="N",
        help="remove studies whose last file was received more than N days ago (never)",
    )
    group.add_argument(
        "--max-bytes",
        type=shared.most,
        metavar="SIZE",
        help="remove the oldest studies while the archive has more bytes than that, for example 500G (never)",
    )
    group.add_argument(
        "--min-free", type=shared.size, default=_MIN_FREE, metavar="SIZE",
        help="refuse each C-STORE (A700) while the disk has fewer free bytes than that (256M)",
    )  # fmt: skip


def location(text: str) -> Path | str:
    """Read a location: the path of a folder, or the URL of a bucket."""
    return text if text.startswith("s3://") else shared.path(text)


async def run(options: Namespace, output: Output) -> int:
    """Serve until SIGTERM (exit status 0) or Ctrl-C (130); without --config SIGHUP does the same as SIGTERM.

    Operations that run at that time may finish. A second signal aborts them. Work that waits for a disk or a database
    that does not answer is left behind and reported (exit status 1).
    """
    if options.worker is None:
        await beginning.check(options)
    if options.workers > 1:
        return await workers.run(options, output)
    async with _pages(options) as pages:
        with ExitStack() as handling:
            return await _serve(options, output, pages, handling)


async def _serve(options: Namespace, output: Output, pages: operating.Pages | None, handling: ExitStack) -> int:
    context = encryption.listening(options)
    tally, stop = Tally(), Stop(options.ending, shared.timeouts(options))
    peers, archives = Peers(options), Archives(options, output)
    reloader, requests = Reloader(options, archives, peers, context, output), signals.Requests()
    if options.config is not None:  # what is requested during the first scan is done after it
        handling.enter_context(signals.handled(requests.note, *signals.HANGUP))
    try:
        archive = await archives.open()
        peers.take(options, await archives.take(options))
        auditing = None if options.audit is None else Auditing(options, peers)
        hooks: list[aiodimse.Metrics] = [
            tally,
            *([pages.figures] if pages else []),
            *([auditing.trail.metrics()] if auditing else []),
        ]
        server = _server(options, peers, operating.CombinedMetrics(hooks) if len(hooks) > 1 else tally, output)
        if auditing is not None:
            auditing.attach(server)
        provide(server, archive, destinations=peers.destinations, called=peers.archives, observer=auditing)
    except BaseException:
        await archives.close()
        raise
    with (
        signals.handled(stop.received, *signals.stopping(options)),
        reported_each_minute(tally, output, server.environment.clock),
    ):
        try:
            async with AsyncExitStack() as serving:
                serving.push_async_callback(archives.close)
                if auditing is not None:
                    await serving.enter_async_context(auditing.trail)
                if options.worker is not None:
                    serving.enter_context(workers.bound_to_parent(stop.received, output))
                with listening_on.errors(options):
                    listening = await serving.enter_async_context(
                        server.listen(options.host, options.port, ssl=context, network=_network(options))
                    )
                serving.enter_context(process_settings.lasting_objects())
                serving.enter_context(process_settings.short_turns())
                if options.config is not None:
                    archive.background(requests.answer(reloader.reload), "aiodimse serve configuration")
                if pages is not None:
                    serving.enter_context(pages.ready(archive))
                _ready(options, output, listening.port, pages)
                archives.scan()
                output.goes_on = True  # a service does not end because nobody reads its log any more
                await stop.wait()
                if listening.associations:
                    output.line(f"ending; associations that may finish what they do: {len(listening.associations)}")
        except asyncio.CancelledError:
            if not stop.is_aborting:
                raise
            output.note(f"{options.prog}: aborted what was left")
        stop.end()
        report_totals(tally.total, output)
        return await _exit_status(options, output, stop)


async def _exit_status(options: Namespace, output: Output, stop: Stop) -> int:
    """Return the exit status once everything has ended but what hangs, which is reported."""
    if left := await not_ended(_HANGS):
        output.note(f"{options.prog}: a disk or a database does not answer; left behind: {left}")
        return FAILED
    return INTERRUPTED if stop.number == signal.SIGINT else 0


def _server(options: Namespace, peers: Peers, metrics: aiodimse.Metrics, output: Output) -> aiodimse.Server:
    """Make the server that the options ask for, without handlers."""
    limits = aiodimse.Limits(max_associations=options.max_associations)
    if warning := process_settings.too_few_files(limits):
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
    if peers.are_limited or options.config is not None:  # a changed configuration may limit peers
        server.authorize(peers.may)
    return server


def _network(options: Namespace) -> SharedPort | None:
    """Return the network of a worker, which listens on sockets that it inherited; None for a process of its own."""
    return None if options.worker is None else SharedPort(options.worker)


@asynccontextmanager
async def _pages(options: Namespace) -> AsyncIterator[operating.Pages | None]:
    """Serve metrics and health over HTTP while the body runs, which includes a first scan; None without --metrics."""
    if options.metrics is None:
        yield None
        return
    try:
        import prometheus_client
    except ModuleNotFoundError:
        raise CommandError('--metrics needs prometheus-client: pip install "aiodimse[metrics]"', USAGE) from None
    pages = operating.Pages(operating.PrometheusMetrics(prometheus_client))
    port = beginning.metrics_port(options, 0 if options.worker is None else options.worker.place)
    with beginning.errors_of_metrics(port):
        served = await pages.listen(options.host, port)
    try:
        yield pages
    finally:
        served.close()


def _ready(options: Namespace, output: Output, port: int, pages: operating.Pages | None) -> None:
    """Print that the server is ready. The line is flushed: a process that waits for it may connect now."""
    with_tls = options.tls_cert is not None
    how = " with TLS" if with_tls else ""
    output.line(
        f"{options.ae_title} serves {options.directory} on {address_words((options.host, port))}{how} (Ctrl-C ends it)"
    )
    facts = {"ae_title": options.ae_title, "host": options.host, "port": port, "tls": with_tls}
    output.event({"event": "ready", **facts})
    if pages is not None:
        output.event({"event": "metrics", "port": pages.port})


def _collected(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    titles: dict[str, list[str]] = {}
    for name, title in pairs:
        titles.setdefault(name, []).append(title)
    return titles
