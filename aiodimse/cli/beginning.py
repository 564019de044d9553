"""What serve checks at once, because the first scan may take minutes: folders, ports, the file of --audit."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiodimse.aio.files import read_off_loop
from aiodimse.cli import auditing, listening
from aiodimse.cli.failures import FAILED, USAGE, CommandError


async def check(options: Namespace) -> None:
    """Check the options of serve against the system.

    Raises:
        CommandError: A folder is not there, a port is taken, or a file cannot be written.
    """
    if options.directory is None:
        raise CommandError("give the LOCATION to serve: a folder, or s3://BUCKET/PREFIX", USAGE)
    if not isinstance(options.directory, Path) and options.index is None:
        raise CommandError("an archive in a bucket needs --index, for example postgresql://USER@HOST/DATABASE", USAGE)
    for folder in folders(options):
        if not await read_off_loop(folder.is_dir):
            raise CommandError(f"not a folder: {folder}", USAGE)
    (await listening.bound(options)).close()
    for place in range(options.workers if options.metrics else 0):
        await _check_port(options, metrics_port(options, place))
    if isinstance(options.audit, Path):
        auditing.check_file(options.audit)


def folders(options: Namespace) -> list[Path]:
    """Return the folders that the options name: that of the location, and those of called titles."""
    named = (options.directory, *(folder for _, folder in options.called))
    return [folder for folder in named if isinstance(folder, Path)]


def metrics_port(options: Namespace, place: int) -> int:
    """Return the port of --metrics of the worker in this place; 0: any.

    Raises:
        CommandError: There is no such port, or callers use it.
    """
    port: int = options.metrics + place if options.metrics else 0
    if port > 65535:
        raise CommandError(f"--metrics: worker {place} would use port {port}, which does not exist", USAGE)
    if port and port == options.port:
        raise CommandError(f"--metrics: worker {place} would use port {port}, which is that of --port", USAGE)
    return port


@contextmanager
def errors_of_metrics(port: int) -> Iterator[None]:
    """Raise CommandError for what listening on a port of --metrics raises in the body."""
    try:
        yield
    except OSError as error:
        raise CommandError(f"--metrics: cannot listen on port {port}: {listening.why_not(error)}", FAILED) from None


async def _check_port(options: Namespace, port: int) -> None:
    with errors_of_metrics(port):
        loop = asyncio.get_running_loop()
        (await loop.create_server(asyncio.Protocol, options.host, port, start_serving=False)).close()
