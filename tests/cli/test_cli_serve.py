"""The options of serve, each asked over the network."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli.conftest import HOST
from cli.test_cli_processes import folder, serving  # noqa: F401
from pydicom import Dataset

import aiodimse
from aiodimse import sop_class

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind


@pytest.mark.parametrize(
    ("options", "calling", "called", "accepted"),
    [
        ((), "ANYBODY", "AIODIMSE", True),
        ((), "ANYBODY", "OTHER", False),
        (("--any-called",), "ANYBODY", "OTHER", True),
        (("--called", "SECOND", "--called", "OTHER"), "ANYBODY", "OTHER", True),
        (("--called", "SECOND"), "ANYBODY", "AIODIMSE", True),
        (("--called", "SECOND"), "ANYBODY", "OTHER", False),
        (("--calling", "CT1", "--calling", "MR1"), "MR1", "AIODIMSE", True),
        (("--calling", "CT1"), "ANYBODY", "AIODIMSE", False),
    ],
)
async def test_titles(folder: Path, options: tuple[str, ...], calling: str, called: str, accepted: bool) -> None:  # noqa: F811
    async with serving(folder, *options) as (_, port):
        connecting = aiodimse.connect(
            HOST, port, ae_title=calling, called_ae_title=called, contexts=[sop_class.Verification]
        )
        if accepted:
            async with connecting as association:
                assert (await association.c_echo()).status == 0x0000
        else:
            with pytest.raises(aiodimse.AssociationRejected):
                await connecting


@pytest.mark.parametrize(("options", "refused"), [((), False), (("--strict",), True)])
async def test_strict(folder: Path, options: tuple[str, ...], refused: bool) -> None:  # noqa: F811
    identifier = Dataset()
    identifier.QueryRetrieveLevel, identifier.SeriesInstanceUID = "SERIES", ""
    async with (
        serving(folder, *options) as (_, port),
        aiodimse.connect(HOST, port, called_ae_title="AIODIMSE", contexts=[FIND]) as association,
    ):
        if refused:
            with pytest.raises(aiodimse.DIMSEFailure, match="A900"):
                await association.c_find(identifier, FIND).collect()
        else:
            assert len(await association.c_find(identifier, FIND).collect()) == 2
