"""What the contexts allow, before any connection."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from aiodimse import tls


@pytest.fixture(params=["server", "client"])
def context(request: pytest.FixtureRequest, certificates) -> ssl.SSLContext:
    if request.param == "server":
        return tls.server_context(**certificates.pair("server"), ca=certificates.ca)
    return tls.client_context(certificates.ca)


def test_tls_1_2_and_up_with_ecdhe_and_aead_only(context: ssl.SSLContext) -> None:
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    suites = context.get_ciphers()
    assert {suite["protocol"] for suite in suites} == {"TLSv1.2", "TLSv1.3"}
    for suite in suites:
        assert suite["aead"], suite["name"]
        assert suite["protocol"] == "TLSv1.3" or suite["kea"] == "kx-ecdhe", suite["name"]
    assert context.options & ssl.OP_NO_COMPRESSION
    assert context.options & ssl.OP_NO_RENEGOTIATION


def test_both_sides_verify_unless_told_otherwise(certificates) -> None:
    pair = certificates.pair("server")
    assert tls.server_context(**pair, ca=certificates.ca).verify_mode == ssl.CERT_REQUIRED
    assert tls.server_context(**pair, verify_client=False).verify_mode == ssl.CERT_NONE
    client = tls.client_context(certificates.ca)
    assert (client.verify_mode, client.check_hostname) == (ssl.CERT_REQUIRED, True)
    relaxed = tls.client_context(certificates.ca, check_hostname=False)
    assert (relaxed.verify_mode, relaxed.check_hostname) == (ssl.CERT_REQUIRED, False)
    with pytest.raises(ValueError, match="verify_client=False"):
        tls.server_context(**pair)
    with pytest.raises(ValueError, match="key= without"):
        tls.client_context(certificates.ca, key=pair["key"])


def test_without_a_file_the_system_s_authorities_are_asked() -> None:
    assert tls.client_context().verify_mode == ssl.CERT_REQUIRED


def test_a_file_that_cannot_be_used_is_named(certificates, tmp_path: Path) -> None:
    missing, junk = tmp_path / "missing.pem", tmp_path / "junk.pem"
    junk.write_text("junk", encoding="ascii")
    pair, other = certificates.pair("server"), certificates.key("ct1")
    for path, make in (
        (missing, lambda: tls.client_context(missing)),
        (missing, lambda: tls.server_context(missing, verify_client=False)),
        (missing, lambda: tls.server_context(pair["certificate"], missing, verify_client=False)),
        (missing, lambda: tls.server_context(**pair, ca=missing)),
        (junk, lambda: tls.client_context(junk)),
        (junk, lambda: tls.server_context(pair["certificate"], junk, verify_client=False)),
        (other, lambda: tls.server_context(pair["certificate"], other, verify_client=False)),
    ):
        with pytest.raises(OSError, match=path.name):  # ssl.SSLError is one
            make()


def test_an_encrypted_key_never_asks_at_the_terminal(certificates, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(certificates.key("server").read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"open sesame"),
        )
    )
    with pytest.raises(ValueError, match=r"locked\.key.*password="):
        tls.server_context(certificates.server, locked, verify_client=False)
    with pytest.raises(ssl.SSLError, match=r"locked\.key"):
        tls.server_context(certificates.server, locked, verify_client=False, password="wrong")
    tls.server_context(certificates.server, locked, verify_client=False, password="open sesame")
