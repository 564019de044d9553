"""The routes: QIDO-RS, WADO-RS and STOW-RS (PS3.18 10)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route

import aiodimse
from aiodimse import dicomweb

from .archive import Archive
from .client import Clients, streamed
from .config import Config
from .render import rendered
from .viewer import Viewer

JSON = ("application/dicom+json", "application/json")
OCTETS = "application/octet-stream"
FILES = 'multipart/related; type="application/dicom"'
ROOT = "/dicomweb"


def root_of(request: Request) -> str:
    """Return the URL of the service."""
    return str(request.base_url).removesuffix("/") + ROOT


def described(path: Path, root: str) -> str:
    """Return the metadata of an instance as JSON."""
    return dicomweb.to_json(dicomweb.read_metadata(path), root)


@contextmanager
def asked() -> Iterator[None]:
    """Answer 400 or 415 if what the client sent raises ValueError. Elsewhere it is the archive's fault: 502."""
    try:
        yield
    except ValueError as error:
        raise HTTPException(415 if isinstance(error, dicomweb.UnsupportedMediaType) else 400, f"{error}\n") from error


def uids_of(request: Request) -> dict[str, str]:
    """Return the UIDs in the path, by their keywords."""
    with asked():
        return dicomweb.path_uids(request.path_params)


def media_type_for(request: Request, *offered: str) -> str:
    """Choose the media type of the response, or answer 406. The query parameter precedes the header (PS3.18 8.7.5)."""
    accept = request.query_params.get("accept") or ", ".join(request.headers.getlist("accept"))
    if (chosen := dicomweb.choose_media_type(accept, offered)) is None:
        raise HTTPException(406, f"this can be had as {' or '.join(offered)}\n")
    return chosen


class Gateway:
    """The endpoints of the gateway."""

    def __init__(self, archive: Archive, folder: Path) -> None:
        """Args: folder: Temporary files of instances whose frames or metadata are being read."""
        self._archive, self._folder, self._names = archive, folder, map(str, count())
        self._renderers = asyncio.Semaphore(2)  # limits the decoded frames that are in memory at once

    def search(self, level: str) -> Callable[[Request], Awaitable[Response]]:
        """Return the endpoint for searches on this level (QIDO-RS)."""

        async def endpoint(request: Request) -> Response:
            media_type, parameters, uids = media_type_for(request, *JSON), request.query_params, uids_of(request)
            with asked():
                identifier = dicomweb.query_identifier(level, parameters.multi_items(), uids)
                offset = dicomweb.whole_number(parameters.get("offset", "0"))
                limit = dicomweb.whole_number(parameters.get("limit", str(sys.maxsize)))
                headers = dicomweb.fuzzy_warning(parameters.multi_items(), root_of(request))

            async def matches() -> AsyncGenerator[str, None]:
                async with aclosing(dicomweb.page(self._archive.find(identifier), offset, limit)) as found:
                    async for match in found:
                        yield dicomweb.to_json(match, root_of(request))

            response = await streamed(dicomweb.json_array(matches()), media_type, Response(status_code=204))
            response.headers.update(headers)
            return response

        return endpoint

    async def retrieve(self, request: Request) -> Response:
        """Answer with the instances of a study, of a series, or with one instance, as DICOM files (WADO-RS)."""
        uids = uids_of(request)
        kind = media_type_for(request, FILES, *(["application/dicom"] if len(uids) == 3 else []))
        instances = self._archive.retrieve(uids)
        if kind != FILES:
            return await streamed(dicomweb.whole_file(instances), kind)
        content_type, body = dicomweb.multipart("application/dicom", dicomweb.whole_instances(instances))
        return await streamed(body, content_type)

    async def metadata(self, request: Request) -> Response:
        """Answer with the attributes of the instances of a study, of a series, or of one instance."""

        media_type, uids = media_type_for(request, *JSON), uids_of(request)

        async def objects() -> AsyncGenerator[str, None]:
            async with aclosing(self._archive.retrieve(uids)) as instances:
                async for instance in instances:
                    path = await self._save(instance, next(self._names))
                    try:
                        yield await asyncio.to_thread(described, path, root_of(request))
                    finally:
                        await asyncio.to_thread(path.unlink)

        return await streamed(dicomweb.json_array(objects()), media_type)

    async def frames(self, request: Request) -> Response:
        """Answer with frames of an instance, as they are stored, by their numbers."""
        with asked():
            numbers = [dicomweb.whole_number(number) for number in request.path_params["frames"].split(",")]

        async def parts() -> AsyncGenerator[tuple[str, bytes], None]:
            async with self._one(uids_of(request)) as path:
                if len(numbers) > 1:  # so that one that is not there is an error before the answer begins
                    for number in (min(numbers), max(numbers)):
                        await asyncio.to_thread(dicomweb.read_frame, path, number)
                for number in numbers:
                    yield await asyncio.to_thread(dicomweb.read_frame, path, number)

        source = parts()
        try:
            (media_type, _), found = await dicomweb.begun(source)
            name, _, parameters = media_type.partition("; ")
            either = {f'multipart/related; type="{kind}"; {parameters}': kind for kind in (name, OCTETS)}
            content_type, body = dicomweb.multipart(either[media_type_for(request, *either)], found)
            return await streamed(body, content_type)
        except BaseException:
            await source.aclose()
            raise

    async def rendered(self, request: Request) -> Response:
        """Answer with one frame of an instance as JPEG or PNG."""
        media_type = media_type_for(request, "image/jpeg", "image/png")
        number, uids = int(request.path_params.get("frame", 1)), uids_of(request)
        with asked():
            window = dicomweb.window(text) if (text := request.query_params.get("window")) is not None else None
        async with self._one(uids) as path, self._renderers:
            try:
                picture = await asyncio.to_thread(rendered, path, number, media_type, window)
            except dicomweb.NoSuchFrame:
                raise
            except (AttributeError, NotImplementedError, RuntimeError, ValueError) as error:
                raise HTTPException(406, "the instance cannot be rendered with these parameters\n") from error
        return Response(picture, media_type=media_type)

    async def store(self, request: Request) -> Response:
        """Send each part to the archive while it arrives (STOW-RS)."""
        media_type, uids = media_type_for(request, *JSON), uids_of(request)
        with asked():
            answer = await dicomweb.store(
                request.stream(),
                request.headers.get("content-type", ""),
                self._archive.storing.c_store,
                root=root_of(request),
                study_instance_uid=uids.get("StudyInstanceUID"),
            )
        return Response(answer.body, answer.status, media_type=media_type)

    async def health(self, request: Request) -> Response:
        """Answer 200 if the archive answers a C-ECHO."""
        (await self._archive.searching.c_echo()).raise_for_status()
        return PlainTextResponse("the archive answers\n")

    @asynccontextmanager
    async def _one(self, uids: dict[str, str]) -> AsyncIterator[Path]:
        """Retrieve an instance into a file, which exists while the block runs."""
        path = self._folder / next(self._names)
        try:
            async with aclosing(self._archive.retrieve(uids)) as instances:
                async for instance in instances:
                    await self._save(instance, path.name)
            if not await asyncio.to_thread(path.exists):
                raise HTTPException(404, "the archive has no such instance\n")
            yield path
        finally:
            await asyncio.to_thread(path.unlink, missing_ok=True)

    async def _save(self, instance: aiodimse.Instance, name: str) -> Path:
        """Save an instance in the folder. That this fails is not the fault of the archive."""
        try:
            return await instance.save(self._folder, name, durable=False)
        except TimeoutError:
            raise
        except OSError as error:
            raise HTTPException(507, "the gateway cannot save the instance\n") from error


def answer(status: int) -> Callable[[Request, Exception], Response]:
    """Return a handler that answers an exception with this status."""
    return lambda request, error: PlainTextResponse(f"{error}\n", status)


@asynccontextmanager
async def create(config: Config) -> AsyncIterator[Starlette]:
    """Make the application. It has its associations and its folder while the block runs."""
    with TemporaryDirectory(prefix="dicomweb-gateway-") as folder:
        async with Archive(config) as archive:
            yield Starlette(
                routes=routes(Gateway(archive, Path(folder)), config.viewer),
                middleware=[Middleware(Clients, seconds=config.client_timeout)],
                exception_handlers={
                    dicomweb.NoSuchFrame: answer(404),
                    aiodimse.AssociationTimeout: answer(504),
                    aiodimse.AiodimseError: answer(502),
                    TimeoutError: answer(504),
                    ValueError: answer(502),  # what the archive sent cannot be read
                    OSError: answer(502),
                },
            )


def routes(gateway: Gateway, viewer: str | None) -> list[BaseRoute]:
    """Return the routes of the service and of the viewer."""
    study = "/studies/{StudyInstanceUID}"
    series = study + "/series/{SeriesInstanceUID}"
    instance = series + "/instances/{SOPInstanceUID}"
    found = [
        Route("/studies", gateway.store, methods=["POST"]),
        Route(study, gateway.store, methods=["POST"]),
        Route("/studies", gateway.search("STUDY")),
        *(Route(path, gateway.search("SERIES")) for path in ("/series", f"{study}/series")),
        *(Route(path, gateway.search("IMAGE")) for path in ("/instances", f"{study}/instances", f"{series}/instances")),
        *(Route(path, gateway.retrieve) for path in (study, series, instance)),
        *(Route(f"{path}/metadata", gateway.metadata) for path in (study, series, instance)),
        Route(f"{instance}/frames/{{frames}}", gateway.frames),
        Route(f"{instance}/rendered", gateway.rendered),
        Route(f"{instance}/frames/{{frame:int}}/rendered", gateway.rendered),
    ]
    top: list[BaseRoute] = [Mount(ROOT, routes=found), Route("/healthz", gateway.health)]
    return [*top, Mount("/", Viewer(directory=viewer, html=True))] if viewer else top
