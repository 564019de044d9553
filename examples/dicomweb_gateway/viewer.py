"""The static files of a viewer, such as OHIF, set up for the gateway."""

from __future__ import annotations

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope


class Viewer(StaticFiles):
    """Static files. A path that is not a file is a page of the viewer, whose program is in index.html."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return a file, the settings of the viewer, or its page."""
        if path == "app-config.js":
            return FileResponse(Path(__file__).with_name(path))
        try:
            return await super().get_response(path, scope)
        except HTTPException:
            return await super().get_response("index.html", scope)
