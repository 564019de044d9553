"""TLS options: users and serve with certificates, who may use which AE title, and one line for what is wrong."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import CT, HOST, Command
from cli.test_cli_processes import serving
from tls.authority import Certificates

import aiodimse
from aiodimse import tls
from aiodimse.cli import encryption
from aiodimse.cli.failures import CommandError
from aiodimse.cli.main import parser
from aiodimse.cli.options import Where


@pytest.fixture
def known(certificates: Certificates) -> dict[str, str]:
    """What options are given: {ca} and so on."""
    names = ("ca", "other_ca", "server", "ct1", "elsewhere")
    pems = {name: str(getattr(certificates, name)) for name in names}
    pems["empty"] = str(certificates.ca.with_name("empty.pem"))
    Path(pems["empty"]).touch()
    return pems | {f"{name}_key": str(certificates.key(name)) for name in names}


@asynccontextmanager
async def provider(certificates: Certificates, name: str = "server", **options: Any) -> AsyncIterator[int]:
    server = aiodimse.Server(ae_title="ANY-SCP")
    options = {"ca": certificates.ca, **options}
    context = tls.server_context(**certificates.pair(name), **options)
    async with server.listen(HOST, 0, ssl=context) as listening:
        yield listening.port


OURS = ("--tls-cert", "{ct1}", "--tls-key", "{ct1_key}")


def filled(words: tuple[str, ...], known: dict[str, str]) -> list[str]:
    return [word.format(**known) for word in words]


STUDY = ("-k", "StudyInstanceUID=1.2")


# --- users ------------------------------------------------------------------------------------------------------------


async def test_echo_over_tls_with_a_certificate_of_ours(
    certificates: Certificates, known: dict[str, str], command: Command
) -> None:
    async with provider(certificates) as port:
        ended = await command("echo", HOST, port, *filled(("--tls", "--tls-ca", "{ca}", *OURS), known))
    assert (ended.code, ended.err) == (0, "")
    assert "answers 0x0000" in ended.out


@pytest.mark.parametrize("told", [False, True])
async def test_a_certificate_of_another_host_is_refused_unless_told(
    certificates: Certificates, known: dict[str, str], command: Command, told: bool
) -> None:
    words = filled(("--tls", "--tls-ca", "{ca}", *OURS), known) + ["--tls-no-hostname"] * told
    async with provider(certificates, "elsewhere") as port:
        ended = await command("echo", HOST, port, *words)
    if told:
        assert ended.code == 0
    else:
        ended.failed(1, "IP address mismatch")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--tls", "--tls-ca", "{other_ca}", *OURS), "not accepted"),
        (("--tls", *OURS), "; --tls-ca names the authorities to trust"),
        (("--tls", "--tls-ca", "{ca}"), "no association with"),
        ((), "does it want TLS?"),
    ],
    ids=["another authority", "the system's authorities", "no certificate", "no TLS"],
)
async def test_refused(
    certificates: Certificates, known: dict[str, str], command: Command, words: tuple[str, ...], said: str
) -> None:
    async with provider(certificates) as port:
        (await command("echo", HOST, port, *filled(words, known))).failed(1, "aiodimse echo: ", said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--tls-ca", "{ca}"), "--tls-ca has no effect without --tls"),
        (("--tls-no-hostname",), "--tls-no-hostname has no effect without --tls"),
        (("--tls", "--tls-key", "{ct1_key}"), "--tls-key has no effect without --tls-cert"),
        (("--tls", "--tls-ca", "nowhere.pem"), "TLS: nowhere.pem: no such file or directory"),
        (("--tls", "--tls-ca", "{ct1_key}"), "ct1.key: no PEM file of certificates"),
        (("--tls", "--tls-cert", "{ct1}", "--tls-key", "{server_key}"), "that belong together"),
        (("--tls", "--tls-cert", "{ct1}"), "that belong together; the key may be a file of its own"),
        (("--tls", "--tls-cert", "{empty}"), "empty.pem: no PEM certificate and key that belong together"),
    ],
)
@pytest.mark.parametrize("name", ["echo", "store", "find", "get", "move", "explain"])
async def test_users_wrong_options(
    known: dict[str, str], command: Command, tmp_path: Path, name: str, words: tuple[str, ...], said: str
) -> None:
    more = {"store": [CT], "move": [*STUDY, "--destination", "X"], "get": [*STUDY, "--output", tmp_path]}.get(name, [])
    ended = await command(name, HOST, 1, *more, *filled(words, known))
    ended.failed(2, f"aiodimse {name}: ", said)
    assert "None" not in ended.err


async def test_a_port_that_says_nothing(command: Command, mute: int) -> None:
    ended = await command("echo", HOST, mute, "--tls", "--timeout", "0.3")
    ended.failed(1, f"{HOST}:{mute} did not end the TLS handshake within 0.3 s")


# --- serve ------------------------------------------------------------------------------------------------------------

SERVE = ("--tls-cert", "{server}", "--tls-key", "{server_key}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (SERVE, "--tls-cert needs --tls-ca, which checks callers, or --tls-no-client-cert"),
        (("--tls-key", "{server_key}"), "--tls-key has no effect without --tls-cert"),
        (("--tls-no-client-cert",), "--tls-no-client-cert has no effect without --tls-cert"),
        (("--tls-title", "a=A"), "--tls-title has no effect without --tls-cert"),
        (("--tls-ca", "{ca}"), "--tls-ca has no effect without --tls-cert or a TLS destination"),
        (("--tls-no-hostname",), "--tls-no-hostname has no effect without a TLS destination"),
        ((*SERVE, "--tls-no-client-cert", "--tls-title", "a=A"), "--tls-title needs the certificate that"),
        ((*SERVE, "--tls-no-client-cert", "--tls-ca", "{ca}"), "--tls-ca checks the certificate that"),
        ((*SERVE, "--tls-title", "A"), "not NAME=AE: 'A'"),
        ((*SERVE, "--tls-title", "ds:ct1.example=A"), "'ds:ct1.example' begins with neither dns:, ip: nor cn:"),
        ((*SERVE, "--tls-title", "ip:ct1=A"), "not NAME=AE: 'ip:ct1=A': 'ct1' does not appear to be an IPv4"),
        ((*SERVE, "--tls-ca", "nowhere.pem"), "TLS: nowhere.pem: no such file or directory"),
        (("--destination", "V=tls:h:104", "--tls-key", "{ct1_key}"), "--tls-key has no effect without --tls-cert"),
        (("--destination", "V=tls:h:0"), "not a port"),
    ],
)
async def test_serve_wrong_options(
    known: dict[str, str], command: Command, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    (await command("serve", tmp_path, "--port", 0, *filled(words, known))).failed(2, "aiodimse serve: ", said)


def test_a_key_that_is_encrypted(certificates: Certificates, tmp_path: Path) -> None:
    """serve often has no terminal to be asked at."""
    from cryptography.hazmat.primitives import serialization as s

    key = s.load_pem_private_key(certificates.key("ct1").read_bytes(), None)
    locked = tmp_path / "locked.key"
    form = s.BestAvailableEncryption(b"secret")
    locked.write_bytes(key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, form))
    words = ["echo", HOST, "104", "--tls", "--tls-cert", str(certificates.ct1), "--tls-key", str(locked)]
    with pytest.raises(CommandError, match="the key is encrypted; openssl pkey") as caught:
        encryption.connecting(parser().parse_args(words))
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("V=10.0.0.8:104", Where("10.0.0.8", 104)),
        ("V=tls:10.0.0.8:2762", Where("10.0.0.8", 2762, True)),
        ("V=tls:[::1]:2762", Where("::1", 2762, True)),
        ("V=[::1]:104", Where("::1", 104)),
        ("V=tls:104", Where("tls", 104)),
    ],
)
def test_destinations(text: str, where: Where) -> None:
    options = parser().parse_args(["serve", ".", "--destination", text])
    assert options.destinations == [("V", where)]


async def test_the_certificates_of_the_page(command: Command, tmp_path: Path) -> None:
    """The page's lines of openssl make what its commands want."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on this machine")
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "tls.md").read_text(encoding="utf-8")
    lines = page.split('title="certificates"\n')[1].split("```")[0]
    made = await asyncio.create_subprocess_shell(
        f"set -e\n{lines}", cwd=tmp_path, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await made.communicate()
    assert made.returncode == 0, said.decode()
    (folder := tmp_path / "served").mkdir()
    pem = {name: tmp_path / name for name in ("archive.pem", "archive.key", "ct1.pem", "ct1.key", "hospital-ca.pem")}
    ca = ("--tls-ca", pem["hospital-ca.pem"])
    theirs = ("--tls-cert", pem["archive.pem"], "--tls-key", pem["archive.key"], *ca)
    ours = ("--tls", "--tls-cert", pem["ct1.pem"], "--tls-key", pem["ct1.key"], *ca)
    async with serving(folder, *theirs) as (_, port):
        ended = await command("echo", "localhost", port, "--called", "AIODIMSE", *ours)
    assert (ended.code, ended.err) == (0, "")


async def test_serve_with_certificates_titles_and_a_destination(
    certificates: Certificates, known: dict[str, str], command: Command, tmp_path: Path
) -> None:
    """CT1 alone has a title; it stores, and has the archive send to a viewer that wants TLS too."""
    viewer, arrived = aiodimse.Server(ae_title="VIEWER"), []

    @viewer.on_c_store
    async def store(request: Any) -> int:
        arrived.append(tls.certificate_names(request.association.certificate))
        await request.discard()
        return 0x0000

    folder = tmp_path / "served"
    folder.mkdir()
    shutil.copy(CT, folder)
    context = tls.server_context(**certificates.pair("server"), ca=certificates.ca)
    async with viewer.listen(HOST, 0, ssl=context) as there:
        words = filled((*SERVE, "--tls-ca", "{ca}", "--tls-title", "dns:ct1.hospital.example=CT1"), known)
        words += ["--destination", f"VIEWER=tls:{HOST}:{there.port}"]
        async with serving(folder, *words) as (_, port):
            ours = ("--called", "AIODIMSE", *filled(("--tls", "--tls-ca", "{ca}", *OURS), known))
            (await command("echo", HOST, port, *ours)).failed(1, "1/1/3")
            ended = await command("store", HOST, port, "--ae-title", "CT1", *ours, CT)
            assert (ended.code, ended.out) == (0, "1 stored\n")
            key = ("-k", "PatientID=1CT1", "-k", "StudyInstanceUID")
            found = await command("find", HOST, port, "--ae-title", "CT1", *ours, *key)
            study = found.out.splitlines()[2].split()[-1]
            key = ("-k", f"StudyInstanceUID={study}")
            moved = await command("move", HOST, port, "--ae-title", "CT1", *ours, "--destination", "VIEWER", *key)
            assert moved.code == 0, moved
    assert arrived == [{"dns:localhost", "ip:127.0.0.1"}]
