"""The association of a command."""

from __future__ import annotations

import logging
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiodimse
from aiodimse.aio.words import address_words
from aiodimse.cli import encryption
from aiodimse.cli import options as shared
from aiodimse.cli.failures import CommandError, unreachable

_log = logging.getLogger("aiodimse.cli")


def arguments(parser: ArgumentParser, waits: str = "the association ({:g}), and for each response ({:g})") -> None:
    """Add the options of how a command connects. `waits` is as in options.network."""
    encryption.user(parser)
    shared.network(parser, waits)


@asynccontextmanager
async def association(
    options: Namespace, contexts: Sequence[str | aiodimse.PresentationContext], **more: Any
) -> AsyncIterator[aiodimse.Association]:
    """Open an association as the options ask for it, and release it after the body.

    Raises what connect() raises, except that an OSError of connecting becomes a CommandError. An OSError of the body is
    left as it is, because it is about something else.
    """
    connect = aiodimse.connect(
        options.host,
        options.port,
        contexts=contexts,
        ae_title=options.ae_title,
        called_ae_title=options.called,
        timeouts=shared.timeouts(options),
        ssl=options.ssl,
        trace=options.tracing,
        **more,
    )
    async with AsyncExitStack() as stack:
        try:
            opened = await stack.enter_async_context(connect)
        except aiodimse.AiodimseError:
            raise
        except OSError as error:
            raise CommandError(unreachable(error, options.host, options.port)) from error
        negotiated = opened.negotiated
        opened.logger(_log).info(
            "association with %s (%s): %d of %d presentation contexts accepted",
            peer_words(options), implementation(negotiated),
            len(negotiated.contexts), len(negotiated.rq.contexts),
        )  # fmt: skip
        yield opened


def implementation(negotiated: aiodimse.Negotiated) -> str:
    """Return the name that the peer gives its implementation (PS3.7 D.3.3.2)."""
    name = negotiated.peer_implementation_version_name
    return ascii(name or negotiated.peer_implementation_class_uid or "it does not say what it is").strip("'")


def peer_words(options: Namespace) -> str:
    """Return title and address of the peer, for messages."""
    return f"{options.called} at {address_words((options.host, options.port))}"
