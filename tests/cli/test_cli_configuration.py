"""serve --config FILE.toml."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli.conftest import HOST
from cli.test_cli_processes import aiodimse_command, folder, start  # noqa: F401

import aiodimse
from aiodimse import sop_class
from aiodimse.cli import configuration, options
from aiodimse.cli.failures import CommandError
from aiodimse.cli.main import _parsed, main, parser


def test_the_words_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "archive.toml"
    file.write_text(
        'location = "/data"\nae_title = "ARCHIVE"\nport = 104\nstrict = true\nany-called = false\n'
        'calling = ["CT1", "MR1"]\n[destination]\nVIEWER = "192.0.2.7:11112"\n'
    )
    assert configuration.words(file) == [
        "/data", "--ae-title=ARCHIVE", "--port=104", "--strict", "--calling=CT1", "--calling=MR1",
        "--destination=VIEWER=192.0.2.7:11112",
    ]  # fmt: skip
    assert "/data" not in configuration.words(file, location=False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "no such file"),
        ("port = ", "Invalid value"),
        ("day = 2024-01-01", "neither text"),
        ("host = 5", "host takes text, not 5; use quotes"),
        ("tls_cert = false", "tls_cert takes text, not false"),
        ("calling = 4711", "calling takes text, not 4711"),
        ('ae_title = "A"\nport = 104\nae-title = "B"', "ae_title and ae-title are the same option; remove one"),
        ("keep-days = 1\nkeep_days = 1", "keep-days and keep_days are the same option"),
    ],
)
def test_a_file_that_does_not_do(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "archive.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(CommandError, match=said):
        configuration.words(file)


def test_an_option_that_there_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "archive.toml"
    file.write_text("prot = 104\n")
    with pytest.raises(SystemExit):
        main(["serve", "--config", str(file)])
    assert f"{file}: no option prot; did you mean port?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("metrics = true", "metrics: needs a value"),
        ("metrics = false", "metrics: not a port (0 to 65535): 'false'"),
        ("any-caled = false", "no option any-caled; did you mean any-called"),
        ('strict = "no"', "strict: takes no value; in a file it is true or false"),
        ('audit = "tls:audit.example"', "audit: not FILE or tls:HOST:PORT: 'tls:audit.example'"),
    ],
)
def test_a_value_of_another_kind(tmp_path: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "archive.toml"
    file.write_text(f'location = "/data"\n{text}\nport = 104\n')
    with pytest.raises(SystemExit):
        main(["serve", "--config", str(file)])
    assert said in capsys.readouterr().err


def test_the_options_whose_kind_the_reader_knows() -> None:
    """They are those of serve: with text, with no value, and repeatable; all others take a number."""
    actions = [each for each in parser().parsers["serve"]._actions if each.option_strings]
    of_name = {each.option_strings[-1].removeprefix("--"): each for each in actions}
    for name in ("help", "config", "inherited"):
        del of_name[name]
    switches = {name for name, each in of_name.items() if each.nargs == 0}
    numbers = {options.port, options.listening_port, options.count, options.workers, options.seconds}
    numbers |= {options.size, options.most}
    texts = {name for name, each in of_name.items() if name not in switches and each.type not in numbers}
    assert switches == set(configuration.SWITCHES)
    assert texts == {*configuration.TEXTS, *configuration.REPEATABLE}


def test_the_location_of_the_command_line_wins(tmp_path: Path) -> None:
    file = tmp_path / "archive.toml"
    file.write_text('location = "/data"\nport = 104\n')
    for words in (["serve", "/other", "--config", str(file)], ["serve", "--config", str(file), "/other"]):
        assert str(_parsed(words).directory) == "/other"
    assert str(_parsed(["serve", "--config", str(file)]).directory) == "/data"


def test_a_byte_order_mark(tmp_path: Path) -> None:
    """Editors of Windows write one."""
    file = tmp_path / "archive.toml"
    file.write_text('location = "/data/ä"\n', encoding="utf-8-sig")
    assert configuration.words(file) == ["/data/ä"]


def test_a_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell replaces ~ on the command line; in a file nobody else does."""
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "archive.toml"
    file.write_text('location = "~/dicom"\naudit = "~/audit.log"\ntls-cert = "~/a.pem"\n[called]\nB = "~/b"\n')
    options = _parsed(["serve", "--config", "~/archive.toml"])
    assert options.directory == tmp_path / "dicom"
    assert (options.audit, options.tls_cert) == (tmp_path / "audit.log", tmp_path / "a.pem")
    assert options.called == [("B", tmp_path / "b")]


def test_a_home_folder_of_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "archive.toml"
    file.write_text('location = "~no-such-user/dicom"\n')
    with pytest.raises(SystemExit):
        main(["serve", "--config", str(file)])
    assert "location: there is no such home folder: '~no-such-user/dicom'" in capsys.readouterr().err


async def test_serve_by_a_file(folder: Path, tmp_path: Path) -> None:  # noqa: F811
    file = tmp_path / "archive.toml"
    file.write_text(f'location = "{folder}"\nport = 0\nae-title = "FILED"\ncalling = ["CT1"]\n')
    process = await start(*aiodimse_command("serve", "--config", file, "--json", "--ae-title", "SAID"))
    try:
        assert process.stdout is not None
        ready = json.loads(await process.stdout.readline())
        assert ready["ae_title"] == "SAID"  # the command line wins
        async with aiodimse.connect(
            HOST, ready["port"], ae_title="CT1", called_ae_title="SAID", contexts=[sop_class.Verification]
        ) as association:
            assert (await association.c_echo()).status == 0x0000
        with pytest.raises(aiodimse.AssociationRejected):
            await aiodimse.connect(HOST, ready["port"], called_ae_title="SAID", contexts=[sop_class.Verification])
    finally:
        process.kill()
        await process.wait()


async def test_nothing_to_serve() -> None:
    process = await start(*aiodimse_command("serve"))
    _, said = await process.communicate()
    assert (process.returncode, b"give the LOCATION to serve" in said) == (2, True)
