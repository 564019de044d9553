"""SIGHUP: serve reads its configuration again and loses no association."""

from __future__ import annotations

import ssl
from argparse import Namespace

from aiodimse.cli import encryption
from aiodimse.cli.archives import Archives
from aiodimse.cli.failures import CommandError, system_words
from aiodimse.cli.output import Output
from aiodimse.cli.peers import Peers
from aiodimse.cli.sharing import Configuration, Worker

RELOADED = (
    "any_called", "called", "calling", "destinations", "keep_days", "max_bytes", "min_free",
    "tls_ca", "tls_cert", "tls_key", "tls_no_hostname",
)  # fmt: skip
"""The options that take effect at once. The others need a restart."""
_NOT_OPTIONS = ("configured", "ending", "module", "prog", "read_again", "tracing", "version", "words", "worker")
"""Attributes of the parsed options that are no options of the user."""
_NAMES = {"directory": "location", "tls_titles": "--tls-title", "transcode": "--no-transcode"}
"""Options that the user knows by another name than that of their attribute."""


class Reloader:
    """Applies a changed configuration. If the new one is wrong, the old one stays in force.

    That of a worker comes from its parent, which is told whether it was applied.

    Args:
        options: The options of serve, as they were at its start.
        archives: The archives that are open.
        peers: What the options say about peers.
        context: The TLS context of the listener; None: there is no TLS.
        output: Where the result is reported.
    """

    def __init__(
        self, options: Namespace, archives: Archives, peers: Peers, context: ssl.SSLContext | None, output: Output
    ) -> None:
        self._options, self._archives, self._peers = options, archives, peers
        self._context, self._output = context, output

    async def reload(self) -> None:
        """Read the configuration again, apply it, and report the result."""
        options = self._options
        try:
            options = _asked(self._options)  # what is reported if the rest cannot even be read
            options = read_again(self._options)
            await self._apply(options)
        except Exception as error:  # database drivers raise errors of their own; the next request is heard, too
            report_rejected(options, error, self._output)
        else:
            report_applied(self._options, options, self._output)

    async def _apply(self, new: Namespace) -> None:
        options = in_force(self._options, new)
        self._peers.take(options, await self._archives.take(options))
        self._archives.scan()
        if self._context is not None and options.tls_cert is not None:
            encryption.renew(self._context, options)


def in_force(before: Namespace, new: Namespace) -> Namespace:
    """Return the options of the start, with those of a new configuration that take effect at once.

    The others stay as they were until a restart, so that no part of the service has one of them and another has not.
    """
    return Namespace(**{**vars(before), **{name: value for name, value in vars(new).items() if name in RELOADED}})


def _asked(options: Namespace) -> Namespace:
    """Return options with the version that a parent has asked its worker to apply.

    If it asks for another one meanwhile, its signal comes again, and so does the answer.
    """
    worker: Worker | None = getattr(options, "worker", None)
    if worker is None:
        return options
    return Namespace(**{**vars(options), "version": Configuration(worker.configuration).read().version})


def read_again(options: Namespace) -> Namespace:
    """Read the configuration again and check it, also together with what stays as it was until a restart.

    Raises:
        CommandError: The configuration is wrong, or changes what needs a restart.
    """
    new: Namespace = options.read_again()
    for each in (new, in_force(options, new)):
        encryption.listening(each)
        encryption.to_destinations(each)
    if (new.tls_cert is None) != (options.tls_cert is None):
        raise CommandError("turning TLS on or off needs a restart")
    for title, folder in new.called:
        if folder is not None and not folder.is_dir():
            raise CommandError(f"the folder for {title} is not a folder: {folder}")
    return new


def report_applied(before: Namespace, now: Namespace, output: Output) -> None:
    """Report that the configuration was applied, and which of its changes need a restart."""
    changed = [name for name in vars(now) if name not in _NOT_OPTIONS and getattr(before, name) != getattr(now, name)]
    waiting = [_NAMES.get(name, "--" + name.replace("_", "-")) for name in changed if name not in RELOADED]
    output.line(f"configuration read again{'; these need a restart: ' if waiting else ''}{', '.join(waiting)}")
    output.event({"event": "configuration", "taken": True, **_version(now)})


def report_rejected(options: Namespace, error: Exception, output: Output) -> None:
    """Report that the new configuration is wrong. The text of an error that nobody expected may have a password."""
    words: object = error if isinstance(error, CommandError) else type(error).__name__
    if isinstance(error, OSError):
        words = system_words(error)
    output.note(f"{options.prog}: the configuration stays as it was: {words}")
    output.event({"event": "configuration", "taken": False, **_version(options)})


def _version(options: Namespace) -> dict[str, int]:
    """Return the part of an event that tells the parent of a worker which configuration it is about."""
    return {} if getattr(options, "worker", None) is None else {"version": options.version}
