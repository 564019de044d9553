"""A viewer's static files, such as those of OHIF, set up for the gateway."""

from __future__ import annotations

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope


class Viewer(StaticFiles):
    """Static files; what is none of them is a page of the viewer, which is a program in index.html."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file, the settings of the viewer, or its page."""
        if path == "app-config.js":
            return FileResponse(Path(__file__).with_name(path))
        try:
            return await super().get_response(path, scope)
        except HTTPException:
            return await super().get_response("index.html", scope)
