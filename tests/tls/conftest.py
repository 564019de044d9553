"""Certificates for every test here, and a client of the bad old days."""

from __future__ import annotations

import ssl

import pytest


@pytest.fixture
def weak_context() -> ssl.SSLContext:
    """A client that believes everybody and speaks whatever old it is told to."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context
