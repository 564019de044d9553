"""Makes TLS contexts for DICOM by BCP 195 (RFC 8996, RFC 9325), as PS3.15 B.12 requires, and checks which AE titles a
certificate may use.

context = tls.server_context("archive.pem", "archive.key", ca="hospital-ca.pem")
async with server.listen("0.0.0.0", 2762, ssl=context): ...
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Awaitable, Callable, Collection, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeAlias

from aiodimse.aio.words import address_words
from aiodimse.errors import AssociationRejected
from aiodimse.standard.values import trimmed_ae_title

_log = logging.getLogger("aiodimse.tls")

FilePath: TypeAlias = "str | os.PathLike[str]"
Certificate: TypeAlias = Mapping[str, Any]
"""A certificate as ssl.SSLSocket.getpeercert() returns it, and request.association.certificate has it."""

PORT = 2762
"""dicom-tls, the registered port (PS3.15 B.12)."""

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:!PSK:@SECLEVEL=2"
"""The suites of TLS 1.2: only those with forward secrecy and AEAD (RFC 9325 4.2), as all of TLS 1.3 are. Security level
2 requires keys with a strength of 112 bits, as RSA 2048, and no SHA-1 in signatures (RFC 9325 4.5)."""


# --- contexts ---------------------------------------------------------------------------------------------------------


def server_context(
    certificate: FilePath,
    key: FilePath | None = None,
    *,
    ca: FilePath | None = None,
    password: str | None = None,
    verify_client: bool = True,
) -> ssl.SSLContext:
    """Make a context for `Server.listen`: TLS 1.2 and later, and clients must show a certificate.

    Args:
        certificate: A PEM file with our certificate and those between it and its authority.
        key: A PEM file with its private key; None: it is in the same file.
        ca: A PEM file with the authorities that verify clients.
        password: The password of the key, if it is encrypted.
        verify_client: Whether clients need a certificate. Only False lets them in without one.

    Returns:
        The context (PS3.15 B.12).

    Raises:
        ValueError: Clients are to be verified and `ca` is missing, or the key is encrypted and there is no password.
        OSError: A file cannot be read.
        ssl.SSLError: A file has other contents than it must have; the text names it.
    """
    if verify_client and ca is None:
        raise ValueError(
            "ca= is missing, the PEM file with the authorities that verify clients; verify_client=False needs none"
        )
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    _load_chain(context, certificate, key, password)
    if verify_client and ca is not None:
        _load_authorities(context, ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(
    ca: FilePath | None = None,
    *,
    certificate: FilePath | None = None,
    key: FilePath | None = None,
    password: str | None = None,
    check_hostname: bool = True,
) -> ssl.SSLContext:
    """Make a context for `connect`: TLS 1.2 and later; the certificate of the server and its host name are verified.

    Args:
        ca: A PEM file with the authorities that verify servers; None: those of the system.
        certificate: A PEM file with our certificate, if the server wants one.
        key: A PEM file with its private key; None: it is in the same file.
        password: The password of the key, if it is encrypted.
        check_hostname: Whether the certificate must be for this host. It is verified in any case.

    Returns:
        The context (PS3.15 B.12).

    Raises:
        ValueError: There is a key and no certificate, or the key is encrypted and there is no password.
        OSError: A file cannot be read.
        ssl.SSLError: A file has other contents than it must have; the text names it.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    if ca is not None:
        _load_authorities(context, ca)
    else:
        context.load_default_certs()
    context.check_hostname = check_hostname
    if certificate is not None:
        _load_chain(context, certificate, key, password)
    elif key is not None:
        raise ValueError("key= without certificate=")
    return context


def _context(protocol: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION  # RFC 9325 3.5
    return context


def _load_authorities(context: ssl.SSLContext, ca: FilePath) -> None:
    _look(ca)
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError as error:
        raise ssl.SSLError(f"{os.fspath(ca)}: no PEM file of certificates{_reason(error)}") from error


def _load_chain(context: ssl.SSLContext, certificate: FilePath, key: FilePath | None, password: str | None) -> None:
    def no_password() -> NoReturn:  # Otherwise OpenSSL asks at the terminal.
        raise ValueError(f"{os.fspath(key or certificate)}: the key is encrypted, password= opens it")

    files = [certificate] if key is None else [certificate, key]
    for path in files:
        _look(path)
    try:
        context.load_cert_chain(certificate, key, no_password if password is None else password)
    except ssl.SSLError as error:
        names = " with ".join(os.fspath(path) for path in files)
        hint = "; the key may be a file of its own" if key is None else ""
        raise ssl.SSLError(f"{names}: no PEM certificate and key that belong together{_reason(error)}{hint}") from error


def _reason(error: ssl.SSLError) -> str:
    return f" ({error.reason})" if error.reason else ""


def _look(path: FilePath) -> None:
    """Raise OSError if a file cannot be read. That of the ssl module would not name it."""
    with Path(path).open("rb"):
        pass


# --- certificates and AE titles ---------------------------------------------------------------------------------------


class Asking(Protocol):
    """The part of an AssociationRequest that these checks need."""

    @property
    def address(self) -> tuple[str, int] | None:
        """The address and the port of the peer."""

    @property
    def calling_ae_title(self) -> str:
        """The calling AE title."""

    @property
    def tls_certificate(self) -> Certificate | None:
        """The certificate of the peer; None if it sent none."""

    def logger(self, logger: logging.Logger) -> Any:
        """Return a logger for lines about this association.

        Args:
            logger: The logger that the lines go to.
        """


def certificate_names(certificate: Certificate | None) -> frozenset[str]:
    """Return the names for which a certificate is.

    Args:
        certificate: The certificate; None or {} for a peer without a verified one.

    Returns:
        The names of its subjectAltName in small letters, with their kind: "dns:" or "ip:". If it has none, the common
        name of its subject, with "cn:". Beside a subjectAltName the common name does not count (RFC 6125 6.4.4).
    """
    if not certificate:
        return frozenset()
    alternatives = certificate.get("subjectAltName", ())
    names = [f"{_KINDS[kind]}:{value}" for kind, value in alternatives if kind in _KINDS]
    if not alternatives:
        names = [
            f"cn:{value}" for part in certificate.get("subject", ()) for kind, value in part if kind == "commonName"
        ]
    return frozenset(map(_normalized, names))


_KINDS = {"DNS": "dns", "IP Address": "ip"}


def _normalized(name: str) -> str:
    """Return a name with its kind, in one spelling. A name without a kind is a host name or an IP address.

    Raises:
        ValueError: The address is not valid, or there is no such kind.
    """
    kind, colon, value = name.partition(":")
    kind = kind.strip().lower()
    if not colon or kind not in ("dns", "ip", "cn"):
        kind, value = _kind_of(name), name
    value = value.strip().lower()
    return f"{kind}:{ip_address(value)}" if kind == "ip" else f"{kind}:{value}"


def _kind_of(name: str) -> str:
    try:
        ip_address(name.strip())
    except ValueError:
        if ":" in name:  # no DNS name has one, so the kind is misspelled
            raise ValueError(f"{name!r} begins with neither dns:, ip: nor cn:") from None
        return "dns"
    return "ip"


def titles_from_certificate(
    titles: Mapping[str, str | Collection[str]],
) -> Callable[[Asking], Awaitable[None]]:
    """Make an on_associate hook that allows each certificate its calling AE titles.

    A certificate may use the titles of all its names. A peer without a certificate, or with none of these names, may
    use none. Other titles are rejected with 1/1/3, calling-AE-title-not-recognized (PS3.8 9.3.4).

    Args:
        titles: One AE title or several for each name of a certificate (see `certificate_names`), as
            "dns:ct-1.hospital.example", "ip:10.0.0.7" or "cn:CT One". A name without a kind is an IP address or a DNS
            name, never a common name.

    Returns:
        The hook.

    Raises:
        ValueError: A name is empty or of no such kind, or an "ip:" is not an address.

    Examples:
        >>> titles = {"dns:ct-1.hospital.example": "CT1", "ip:10.0.0.7": ["MR1", "MR2"]}
        >>> server.on_associate(tls.titles_from_certificate(titles))
    """
    allowed: dict[str, frozenset[str]] = {}
    for name, some in titles.items():
        key = _normalized(name)
        if key.endswith(":"):
            raise ValueError(f"{name!r} names nobody")
        each = frozenset(trimmed_ae_title(title) for title in ([some] if isinstance(some, str) else some))
        allowed[key] = allowed.get(key, frozenset()) | each

    async def check(request: Asking) -> None:
        names = certificate_names(request.tls_certificate)
        title = trimmed_ae_title(request.calling_ae_title)
        if any(title in allowed.get(name, ()) for name in names):
            return
        whose = ascii(", ".join(sorted(names))) if names else "no certificate"
        log = request.logger(_log)
        where = address_words(request.address) if request.address is not None else "a peer"
        log.warning("%s calls itself %s, which is not for %s", where, ascii(title), whose)
        raise AssociationRejected(1, 1, 3)

    return check
