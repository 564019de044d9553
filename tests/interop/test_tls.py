"""DICOM over TLS with DCMTK's +tls tools, in both directions: what works, what is refused, and what each side says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from interop import dcmtk, samples
from interop.dcmtk import StoreSCP
from interop.ours import HOST, TITLE, HandlerArchive
from tls.authority import Certificates

import aiodimse
from aiodimse import sop_class, tls


def scu(certificates: Certificates, name: str = "ct1", ca: str = "ca") -> list[str]:
    """The words that make a DCMTK user show a certificate and ask for one."""
    return [
        "+tls",
        str(certificates.key(name)),
        str(getattr(certificates, name)),
        "+cf",
        str(getattr(certificates, ca)),
    ]


def listen(certificates: Certificates, archive: HandlerArchive, name: str = "server", **options: Any) -> Any:
    context = tls.server_context(**certificates.pair(name), **{"ca": certificates.ca, **options})
    return archive.server.listen(HOST, 0, ssl=context)


def connect(port: int, context: Any, *contexts: str, **options: Any) -> Any:
    return aiodimse.connect(
        HOST, port, called_ae_title="STORESCP", contexts=contexts or [sop_class.Verification], ssl=context, **options
    )


# --- DCMTK as user ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", [[], ["+px"], ["+pz"]], ids=["bcp195-nd", "bcp195", "bcp195-ex"])
async def test_echoscu(certificates: Certificates, tmp_path: Path, profile: list[str]) -> None:
    async with listen(certificates, HandlerArchive(tmp_path)) as listening:
        talk = await dcmtk.echoscu(listening.port, *scu(certificates), *profile, called=TITLE, code=0)
        assert talk.final.status == 0x0000


async def test_storescu(certificates: Certificates, tmp_path: Path) -> None:
    archive = HandlerArchive(tmp_path)
    async with listen(certificates, archive) as listening:
        talk = await dcmtk.storescu(
            listening.port, [samples.CT.path, samples.MR.path], "-xe", *scu(certificates), called=TITLE, code=0
        )
    assert talk.statuses == [0x0000, 0x0000]
    stored = {path.stem: samples.content(path) for path in archive.stored()}  # DCMTK drops what pads the end
    assert stored == {sample.instance: samples.content(sample.path) for sample in (samples.CT, samples.MR)}
    for request in archive.requests:
        assert "dns:ct1.hospital.example" in tls.certificate_names(request.association.certificate)


async def test_getscu_and_findscu_have_no_tls_but_movescu_s_destination_may(
    certificates: Certificates, tmp_path: Path, storescp: Callable[..., StoreSCP]
) -> None:
    """C-MOVE to a storescp +tls: our store association is the TLS client."""
    target = storescp(*scu(certificates, "server"), title="TARGET")
    archive = aiodimse.Server(ae_title=TITLE)

    @archive.on_c_move(sop_class.StudyRootQueryRetrieveInformationModelMove)
    async def move(request: Any) -> Any:
        context = tls.client_context(certificates.ca, **certificates.pair("ct1"))
        yield aiodimse.Destination(HOST, target.port, ssl=context)
        yield 1
        yield samples.CT.path

    async with archive.listen(HOST, 0) as listening:
        asked = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": samples.CT.study}
        talk = await dcmtk.movescu(listening.port, "-S", asked, "TARGET", called=TITLE, code=0)
    assert (talk.final.status, talk.final.completed) == (0x0000, 1)
    assert [samples.data_set_bytes(path) for path in target.files()] == [samples.CT.data]


@contextmanager
def warnings_of(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """What our server warned of meanwhile."""
    lines: list[str] = []
    caplog.clear()
    yield lines
    lines += [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_users_that_are_refused(
    certificates: Certificates, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ours = str(certificates.ca)
    key, certificate = str(certificates.key("ct1")), str(certificates.ct1)
    cases: dict[str, tuple[list[str], str]] = {
        "no certificate": (["+tla", "+cf", ours], "the peer shows no certificate"),
        "wrong authority": (scu(certificates, "stranger"), "unable to get local issuer certificate"),
        "expired": (scu(certificates, "expired"), "certificate has expired"),
        "plain": ([], "the peer does not speak TLS"),
        "retired AES profile": ([*scu(certificates), "+pa"], "no common"),
        "does not know our authority": (
            ["+tls", key, certificate, "+cf", str(certificates.other_ca)],
            "the peer does not know the authority of our certificate",
        ),
    }
    async with listen(certificates, HandlerArchive(tmp_path)) as listening:
        for name, (words, line) in cases.items():
            with warnings_of(caplog) as lines:
                talk, good = await asyncio.gather(
                    dcmtk.echoscu(listening.port, *words, called=TITLE),
                    dcmtk.echoscu(listening.port, *scu(certificates), called=TITLE),
                )
            assert talk.finished.code != 0, name
            assert good.final.status == 0x0000, name
            assert any(line in logged for logged in lines), (name, lines)


async def test_dcmtk_refuses_a_server_that_it_does_not_know(
    certificates: Certificates, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """DCMTK verifies the chain, not the name (3.6.7): a certificate for elsewhere is taken."""
    for name, code in (("stranger", 1), ("expired", 1), ("elsewhere", 0)):
        async with listen(certificates, HandlerArchive(tmp_path), name) as listening:
            talk = await dcmtk.echoscu(listening.port, *scu(certificates), called=TITLE)
        assert bool(talk.finished.code) == bool(code), talk


async def test_titles_from_certificates(certificates: Certificates, tmp_path: Path) -> None:
    archive = HandlerArchive(tmp_path)
    archive.server.on_associate(tls.titles_from_certificate({"dns:ct1.hospital.example": "CT1"}))
    async with listen(certificates, archive) as listening:
        await dcmtk.echoscu(listening.port, *scu(certificates), called=TITLE, calling="CT1", code=0)
        for name, title in (("ct1", "MR1"), ("mr1", "CT1")):
            talk = await dcmtk.echoscu(listening.port, *scu(certificates, name), called=TITLE, calling=title, code=1)
            assert "Calling AE Title Not Recognized" in str(talk)


# --- DCMTK as provider ------------------------------------------------------------------------------------------------


async def test_storescp(certificates: Certificates, storescp: Callable[..., StoreSCP]) -> None:
    provider = storescp(*scu(certificates, "server"))
    context = tls.client_context(certificates.ca, **certificates.pair("ct1"))
    async with connect(provider.port, context, sop_class.Verification, samples.CT.sop_class) as association:
        assert (await association.c_echo()).status == 0x0000
        assert (await association.c_store(samples.CT.path)).status == 0x0000
    assert [samples.data_set_bytes(path) for path in provider.files()] == [samples.CT.data]
    assert provider.output.count("TLS error") == 1, provider.output  # who asked whether it is there yet


async def test_what_storescp_refuses_is_explained(
    certificates: Certificates, storescp: Callable[..., StoreSCP]
) -> None:
    provider = storescp(*scu(certificates, "server"))
    good = tls.client_context(certificates.ca, **certificates.pair("ct1"))
    cases = {
        "no certificate": tls.client_context(certificates.ca),
        "stranger": tls.client_context(certificates.ca, **certificates.pair("stranger")),
        "expired": tls.client_context(certificates.ca, **certificates.pair("expired")),
    }
    for name, context in cases.items():
        with pytest.raises(aiodimse.TLSError) as caught:
            await connect(provider.port, context)
        assert f"{HOST}:{provider.port}" in str(caught.value), name
        assert "certificate" in str(caught.value), (name, caught.value)
        async with connect(provider.port, good) as association:
            assert (await association.c_echo()).status == 0x0000, name


async def test_a_storescp_that_we_refuse(certificates: Certificates, storescp: Callable[..., StoreSCP]) -> None:
    good = tls.client_context(certificates.ca, **certificates.pair("ct1"))
    for name, words in (
        ("stranger", "unable to get local issuer certificate"),
        ("expired", "certificate has expired"),
        ("elsewhere", "IP address mismatch"),
    ):
        provider = storescp(*scu(certificates, name))
        with pytest.raises(aiodimse.TLSError, match=words):
            await connect(provider.port, good)
    retired = storescp(*scu(certificates, "server"), "+pa")
    with pytest.raises(aiodimse.TLSError):
        await connect(retired.port, good)


async def test_tls_on_plain_and_plain_on_tls(certificates: Certificates, storescp: Callable[..., StoreSCP]) -> None:
    good = tls.client_context(certificates.ca, **certificates.pair("ct1"))
    plain = storescp()
    with pytest.raises(aiodimse.TLSError, match=r"does not speak TLS|closed the connection during the handshake"):
        await connect(plain.port, good)
    secure = storescp(*scu(certificates, "server"))
    with pytest.raises(aiodimse.AssociationAborted, match="does it want TLS"):
        await connect(secure.port, None)
