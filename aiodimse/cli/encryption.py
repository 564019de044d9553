"""TLS on the command line: the contexts of commands that connect, of serve, and of the destinations of serve."""

from __future__ import annotations

import argparse
import ssl
import time
from collections.abc import Callable

from aiodimse import tls
from aiodimse.cli import options as shared
from aiodimse.cli.failures import USAGE, CommandError, system_words

_FILES = ("tls_ca", "tls_cert", "tls_key")


def user(parser: argparse.ArgumentParser) -> None:
    """Add the TLS options of a command that connects."""
    group = parser.add_argument_group("TLS")
    group.add_argument("--tls", action="store_true", help="encrypt; the port is often 2762")
    group.add_argument("--tls-ca", type=shared.file, metavar="PEM", help="authorities to trust (those of the system)")
    group.add_argument("--tls-cert", type=shared.file, metavar="PEM", help="our certificate, if the peer wants one")
    group.add_argument(
        "--tls-key", type=shared.file, metavar="PEM", help="the key of our certificate, if it is not in the same file"
    )
    group.add_argument(
        "--tls-no-hostname", action="store_true", help="accept a certificate of the peer that names another host"
    )


def provider(parser: argparse.ArgumentParser) -> None:
    """Add the TLS options of serve."""
    group = parser.add_argument_group("TLS")
    group.add_argument(
        "--tls-cert", type=shared.file, metavar="PEM", help="our certificate; with it, serve accepts TLS only"
    )
    group.add_argument(
        "--tls-key", type=shared.file, metavar="PEM", help="the key of our certificate, if it is not in the same file"
    )
    group.add_argument(
        "--tls-ca", type=shared.file, metavar="PEM", help="authorities to trust, for callers and for TLS destinations"
    )
    group.add_argument("--tls-no-client-cert", action="store_true", help="let callers in without a certificate")
    group.add_argument(
        "--tls-title", dest="tls_titles", type=title, action="append", default=[], metavar="NAME=AE",
        help="the certificate for NAME (dns:, ip: or cn:) may use this AE title; callers that are not listed may then"
        " use none; repeatable",
    )  # fmt: skip
    group.add_argument(
        "--tls-no-hostname", action="store_true", help="accept a certificate of a destination that names another host"
    )


def title(text: str) -> tuple[str, str]:
    """Read NAME=AE."""
    name, equals, ae_title = text.partition("=")
    if not (equals and name):
        raise argparse.ArgumentTypeError(f"not NAME=AE: {text!r}")
    try:
        tls.titles_from_certificate({name: ae_title})
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not NAME=AE: {text!r}: {error}") from None
    return name, shared.ae_title(ae_title)


def connecting(options: argparse.Namespace) -> ssl.SSLContext | None:
    """Make the TLS context of a command that connects; None: the command uses no TLS.

    Raises:
        CommandError: The options contradict each other, or name files that cannot be used.
    """
    if not options.tls:
        _only_with("--tls", options, *_FILES, "tls_no_hostname")
        return None
    if options.tls_cert is None:
        _only_with("--tls-cert", options, "tls_key")
    return _client(options)


def listening(options: argparse.Namespace) -> ssl.SSLContext | None:
    """Make the TLS context with which serve listens; None: serve uses no TLS.

    Raises:
        CommandError: The options contradict each other, or name files that cannot be used.
    """
    if options.tls_cert is None:
        _only_with("--tls-cert", options, "tls_key", "tls_no_client_cert", "tls_titles")
        if not _to_tls(options):
            _only_with("--tls-cert or a TLS destination", options, "tls_ca")
        return None
    if options.tls_no_client_cert:
        if options.tls_titles:
            raise CommandError("--tls-title needs the certificate that --tls-no-client-cert does not ask for", USAGE)
        if options.tls_ca is not None and not _to_tls(options):
            raise CommandError("--tls-ca checks the certificate that --tls-no-client-cert does not ask for", USAGE)
    elif options.tls_ca is None:
        raise CommandError("--tls-cert needs --tls-ca, which checks callers, or --tls-no-client-cert", USAGE)
    return _made(
        lambda: tls.server_context(
            options.tls_cert, options.tls_key, ca=options.tls_ca, verify_client=not options.tls_no_client_cert
        )
    )


def renew(context: ssl.SSLContext, options: argparse.Namespace) -> None:
    """Have the listener use the certificate, key and authorities that its files hold now.

    An SSLContext can load more authorities, and forget none. So each new connection is switched to another context in
    its handshake, in the callback that OpenSSL calls with the server name, which may be None.

    Args:
        context: The context that the listener has.
        options: The options of serve.

    Raises:
        CommandError: The files cannot be used.
    """
    new, renewed = listening(options), time.time()

    def switch(connection: ssl.SSLObject, name: str | None, old: ssl.SSLContext) -> int | None:
        assert new is not None
        if connection.session_reused and (connection.session is None or connection.session.time <= renewed):
            # The certificate of the peer was verified by the old authorities. The next session is a new one.
            return ssl.ALERT_DESCRIPTION_CERTIFICATE_EXPIRED
        connection.context = new
        return None

    context.sni_callback = switch


def to_destinations(options: argparse.Namespace) -> ssl.SSLContext | None:
    """Make the TLS context with which serve connects to destinations; None: no destination uses TLS.

    Raises:
        CommandError: The options contradict each other, or name files that cannot be used.
    """
    if _to_tls(options):
        return _client(options)
    _only_with("a TLS destination (--destination NAME=tls:HOST:PORT)", options, "tls_no_hostname")
    return None


def to_collector(options: argparse.Namespace) -> ssl.SSLContext:
    """Make the TLS context for sending audit messages. Raises CommandError."""
    return _client(options)


def _to_tls(options: argparse.Namespace) -> bool:
    is_collector = isinstance(options.audit, shared.Where)
    return is_collector or any(where.tls for _, where in options.destinations)


def _only_with(what: str, options: argparse.Namespace, *names: str) -> None:
    for name in names:
        if getattr(options, name):
            option = "--" + name.rstrip("s" if name == "tls_titles" else "").replace("_", "-")
            raise CommandError(f"{option} has no effect without {what}", USAGE)


def _client(options: argparse.Namespace) -> ssl.SSLContext:
    return _made(
        lambda: tls.client_context(
            options.tls_ca,
            certificate=options.tls_cert,
            key=options.tls_key,
            check_hostname=not options.tls_no_hostname,
        )
    )


def _made(make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    try:
        return make()
    except ssl.SSLError as error:
        why = str(error.args[-1])
    except OSError as error:
        why = system_words(error)
    # The context asks for the password of an encrypted key. OpenSSL would prompt for it at the terminal, which serve
    # often does not have.
    except ValueError:
        why = "the key is encrypted; openssl pkey -in KEY -out PLAIN decrypts it"
    raise CommandError(f"TLS: {why}", USAGE)
