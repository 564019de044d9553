"""SIGHUP: serve reads its configuration again, and no association is lost."""

from __future__ import annotations

import asyncio
import ssl
from argparse import Namespace

from aiodimse.cli import encryption
from aiodimse.cli.archives import Archives
from aiodimse.cli.failures import CommandError
from aiodimse.cli.output import Output
from aiodimse.cli.peers import Peers

RELOADED = (
    "any_called", "called", "calling", "destinations", "keep_days", "max_bytes", "min_free",
    "tls_ca", "tls_cert", "tls_key", "tls_no_hostname",
)  # fmt: skip
"""Options that take effect at once; the others need a restart."""
_NO_OPTIONS = ("argv", "read_again", "module", "prog", "tracing", "worker")


class Reloading:
    """Takes what the configuration says now; where it is wrong, all stays as it was.

    Args:
        options: Of serve, as they were given.
        archives: That are open.
        peers: Who is served.
        context: What is listened with; None without TLS.
        output: Where it is told.
    """

    def __init__(
        self, options: Namespace, archives: Archives, peers: Peers, context: ssl.SSLContext | None, output: Output
    ) -> None:
        self._options, self._archives, self._peers = options, archives, peers
        self._context, self._output = context, output
        self._asked = asyncio.Event()

    def asked(self, number: int) -> None:
        """A signal came."""
        self._asked.set()

    async def run(self) -> None:
        """Read the configuration again whenever it is asked for, until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            try:
                options = again(self._options)
                await self._take(options)
            except CommandError as error:
                not_taken(self._options, error, self._output)
            else:
                taken(self._options, options, self._output)

    async def _take(self, options: Namespace) -> None:
        self._peers.take(options, await self._archives.take(options))
        self._archives.scan()
        if self._context is not None and options.tls_cert is not None:
            encryption.renew(self._context, options)


def again(options: Namespace) -> Namespace:
    """Read the configuration again.

    Raises:
        CommandError: It is wrong.
    """
    new: Namespace = options.read_again()
    encryption.listening(new)
    encryption.to_destinations(new)
    if (new.tls_cert is None) != (options.tls_cert is None):
        raise CommandError("TLS on or off needs a restart")
    for title, folder in new.called:
        if folder is not None and not folder.is_dir():
            raise CommandError(f"{title} is to have what is not a folder: {folder}")
    return new


def taken(before: Namespace, now: Namespace, output: Output) -> None:
    """Say that the configuration was taken, and what of it was not."""
    waiting = [name for name in vars(now) if name not in _NO_OPTIONS and getattr(before, name) != getattr(now, name)]
    waiting = ["--" + name.replace("_", "-") for name in waiting if name not in RELOADED]
    output.line(f"configuration read again{'; these need a restart: ' if waiting else ''}{', '.join(waiting)}")
    output.event({"event": "configuration", "taken": True})


def not_taken(options: Namespace, error: CommandError, output: Output) -> None:
    """Say that the configuration is wrong."""
    output.note(f"{options.prog}: what was read before stays: {error}")
    output.event({"event": "configuration", "taken": False})
