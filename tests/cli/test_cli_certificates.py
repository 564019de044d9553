"""SIGHUP with other certificates in the same files: new associations see them, open ones go on."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import signal
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cli.conftest import HOST
from cli.test_cli_processes import folder  # noqa: F401
from cli.test_cli_reloading import Service, configured
from tls.authority import Certificates

import aiodimse
from aiodimse import sop_class, tls

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP on this system")

WORKERS = pytest.mark.parametrize("words", [(), ("--workers", "2")], ids=["one", "workers"])


class Files:
    """The certificate files of a service, and what is put into them."""

    def __init__(self, folder: Path) -> None:  # noqa: F811
        folder.mkdir()
        self.certificate, self.key, self.ca = (folder / name for name in ("archive.pem", "archive.key", "ca.pem"))

    def put(self, certificates: Certificates, name: str) -> None:
        shutil.copy(getattr(certificates, name), self.certificate)
        shutil.copy(certificates.key(name), self.key)

    @property
    def text(self) -> str:
        return f'tls-cert = "{self.certificate}"\ntls-key = "{self.key}"\ntls-ca = "{self.ca}"\n'


@pytest.fixture
def files(tmp_path: Path, certificates: Certificates) -> Files:
    files = Files(tmp_path / "tls")
    files.put(certificates, "server")
    shutil.copy(certificates.ca, files.ca)
    return files


def connect(service: Service, certificates: Certificates, name: str = "ct1", ca: str = "ca") -> aiodimse.Connect:
    context = tls.client_context(getattr(certificates, ca), **certificates.pair(name), check_hostname=False)
    contexts = [sop_class.Verification]
    return aiodimse.connect(HOST, service.port, called_ae_title="AIODIMSE", contexts=contexts, ssl=context)


async def echo(association: aiodimse.Association) -> int:
    return (await association.c_echo()).status


async def shown(service: Service, certificates: Certificates) -> str:
    """The fingerprint of the certificate that a newcomer is shown."""
    context = tls.client_context(certificates.ca, **certificates.pair("ct1"), check_hostname=False)
    context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(HOST, service.port, ssl=context)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    assert await reader.read() == b""
    return hashlib.sha256(der).hexdigest()


def fingerprint(pem: Path) -> str:
    first = pem.read_text().partition("-----END CERTIFICATE-----")
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first[0] + first[1])).hexdigest()


@asynccontextmanager
async def serving(folder: Path, files: Files, *words: str) -> AsyncIterator[Service]:  # noqa: F811
    async with configured(folder, files.text, *words) as service:
        yield service


async def seen_by_all(service: Service, certificates: Certificates, wanted: str) -> None:
    """Newcomers see it, whichever worker they come to. A worker reads its files a little later than the others."""
    for _ in range(4):
        assert await shown(service, certificates) == wanted


async def renew(service: Service, files: Files, certificates: Certificates) -> None:
    """Put another certificate into the files that the service names, and let it read them."""
    files.put(certificates, "elsewhere")
    assert await service.reload(files.text)
    await seen_by_all(service, certificates, fingerprint(certificates.elsewhere))


@WORKERS
async def test_newcomers_see_the_new_certificate_and_old_associations_live(
    folder: Path,  # noqa: F811
    files: Files,
    certificates: Certificates,
    words: tuple[str, ...],
) -> None:
    async with serving(folder, files, *words) as service, connect(service, certificates) as old:
        await seen_by_all(service, certificates, fingerprint(certificates.server))
        await renew(service, files, certificates)
        assert await echo(old) == 0x0000
        async with connect(service, certificates) as new:
            assert await echo(new) == 0x0000


@WORKERS
@pytest.mark.parametrize("wrong", ["no certificate", "another key", "no file"])
async def test_a_wrong_certificate_changes_nothing(
    folder: Path,  # noqa: F811
    files: Files,
    certificates: Certificates,
    wrong: str,
    words: tuple[str, ...],
) -> None:
    async with serving(folder, files, *words) as service, connect(service, certificates) as old:
        if wrong == "no certificate":
            files.certificate.write_text("nothing of the kind")
        elif wrong == "another key":
            shutil.copy(certificates.key("elsewhere"), files.key)
        else:
            files.certificate.unlink()
        assert not await service.reload(files.text)
        await seen_by_all(service, certificates, fingerprint(certificates.server))
        assert await echo(old) == 0x0000
        await renew(service, files, certificates)


@WORKERS
async def test_other_files_and_another_authority(
    folder: Path,  # noqa: F811
    files: Files,
    certificates: Certificates,
    words: tuple[str, ...],
    tmp_path: Path,
) -> None:
    async with serving(folder, files, *words) as service:
        with pytest.raises(aiodimse.AssociationError):
            await connect(service, certificates, "stranger").__aenter__()
        others = Files(tmp_path / "other")
        others.put(certificates, "elsewhere")
        others.ca.write_text(certificates.ca.read_text() + certificates.other_ca.read_text())
        assert await service.reload(others.text)
        await seen_by_all(service, certificates, fingerprint(certificates.elsewhere))
        for name in ("stranger", "ct1"):
            async with connect(service, certificates, name) as association:
                assert await echo(association) == 0x0000


@WORKERS
async def test_an_authority_that_is_named_no_more(
    folder: Path,  # noqa: F811
    files: Files,
    certificates: Certificates,
    words: tuple[str, ...],
) -> None:
    """Whom it vouches for is let in no more; who is in stays."""
    files.ca.write_text(certificates.ca.read_text() + certificates.other_ca.read_text())
    async with serving(folder, files, *words) as service, connect(service, certificates, "stranger") as old:
        shutil.copy(certificates.ca, files.ca)
        assert await service.reload(files.text)
        for _ in range(4):
            with pytest.raises(aiodimse.AssociationError):
                await connect(service, certificates, "stranger").__aenter__()
        async with connect(service, certificates) as association:
            assert await echo(association) == 0x0000
        assert await echo(old) == 0x0000


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=str)
async def test_a_session_from_before_does_not_let_in(
    folder: Path,  # noqa: F811
    files: Files,
    certificates: Certificates,
    version: ssl.TLSVersion,
) -> None:
    """Whoever resumes a session (RFC 5246 F.1.4, RFC 8446 2.2) shows no certificate again."""
    files.ca.write_text(certificates.ca.read_text() + certificates.other_ca.read_text())
    context = tls.client_context(certificates.ca, **certificates.pair("stranger"), check_hostname=False)
    context.maximum_version = version

    def talk(port: int, session: ssl.SSLSession | None = None) -> ssl.SSLSession | None:
        with (
            socket.create_connection((HOST, port), 10) as plain,
            context.wrap_socket(plain, server_hostname=HOST, session=session) as secured,
        ):
            secured.sendall(b"\x07\0\0\0\0\4\0\0\0\0")  # A-ABORT, which ends the connection
            assert secured.recv(100) == b""  # and, before it, what belongs to the session
            return secured.session

    async with serving(folder, files) as service:
        session = await asyncio.to_thread(talk, service.port)
        if session is not None:
            await asyncio.to_thread(talk, service.port, session)
        shutil.copy(certificates.ca, files.ca)
        assert await service.reload(files.text)
        with pytest.raises(ssl.SSLError):
            await asyncio.to_thread(talk, service.port, session)
        async with connect(service, certificates) as association:
            assert await echo(association) == 0x0000
