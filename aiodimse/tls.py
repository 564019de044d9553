"""TLS contexts for DICOM, following BCP 195 (RFC 8996, RFC 9325) as PS3.15 B.9 and B.12 ask."""

from __future__ import annotations

import os
import ssl
from typing import Any

Path = str | os.PathLike[str]

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""TLS 1.2 suites: forward secrecy with AEAD only (RFC 9325 4.2); those of TLS 1.3 are all of that kind."""


def server_context(
    certificate: Path,
    key: Path | None = None,
    *,
    ca: Path | None = None,
    password: str | None = None,
    verify_client: bool = True,
) -> ssl.SSLContext:
    """A context for Server.listen: TLS 1.2 and up; the peer must show a certificate that `ca` (a PEM file) vouches for.

    verify_client=False is the one switch that lets clients in without a certificate. Raises ValueError where clients
    are to be verified and `ca` is missing, OSError and ssl.SSLError for files that cannot be used.
    """
    if verify_client and ca is None:
        raise ValueError("ca= names the PEM file that vouches for clients; verify_client=False does without")
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key, password)
    if ca is not None:
        context.load_verify_locations(ca)
    if verify_client:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(
    ca: Path | None = None,
    *,
    certificate: Path | None = None,
    key: Path | None = None,
    password: str | None = None,
    check_hostname: bool = True,
) -> ssl.SSLContext:
    """A context for connect: TLS 1.2 and up; the server's certificate and host name are verified.

    ca: a PEM file, the system's authorities when None; certificate and key: ours, where the server wants one.
    check_hostname=False is the one switch to relax: the certificate is still verified, but not for whom it is.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    if ca is not None:
        context.load_verify_locations(ca)
    else:
        context.load_default_certs()
    context.check_hostname = check_hostname
    if certificate is not None:
        context.load_cert_chain(certificate, key, password)
    return context


def _context(protocol: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    return context
