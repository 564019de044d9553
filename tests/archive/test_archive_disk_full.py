"""A disk that is full: the peer is told, and the log says which error it was, but no file: a name may be a patient."""

from __future__ import annotations

import errno
import logging
from pathlib import Path
from typing import Any

import pydicom
import pytest

import aiodimse
from aiodimse.archive import Archive, provide

HOST = "127.0.0.1"
CT = Path(pydicom.__file__).parent / "data" / "test_files" / "CT_small.dcm"


@pytest.mark.parametrize(("number", "comment"), [("ENOSPC", "disk full"), ("EDQUOT", "disk full"), ("EIO", None)])
@pytest.mark.parametrize("served", ["by an archive", "by a handler"])
async def test_a_store_that_cannot_be_saved(
    served: str,
    number: str,
    comment: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def save(self: object, directory: object, name: object = None, **options: object) -> Path:
        raise OSError(getattr(errno, number), "no", "/Doe^Jane/1.2.dcm")

    monkeypatch.setattr(aiodimse.StoreRequest, "save", save)
    server = aiodimse.Server()
    if served == "by an archive":
        provide(server, await Archive.open(tmp_path, index="memory:"))
    else:
        comment = None

        @server.on_c_store
        async def store(request: Any) -> int:
            await request.save(tmp_path)
            return 0x0000

    with caplog.at_level(logging.ERROR, "aiodimse"):
        async with server.listen(HOST, 0) as listening:
            contexts = aiodimse.contexts_for([CT])
            async with aiodimse.connect(HOST, listening.port, called_ae_title="AIODIMSE", contexts=contexts) as peer:
                response = await peer.c_store(CT)
    assert response.status.category is aiodimse.Category.FAILURE
    assert response.error_comment == comment
    (line,) = caplog.messages
    assert number in line
    assert "Doe" not in line
