"""Print the DICOM conformance statement (PS3.2) of the provider that `aiodimse serve` is."""

from __future__ import annotations

import tempfile
from argparse import ArgumentParser, Namespace
from dataclasses import asdict

import aiodimse
from aiodimse import conformance
from aiodimse.archive import Archive, provide
from aiodimse.cli import options as shared
from aiodimse.cli.output import Output

HELP = "print the conformance statement of `serve`"


def arguments(parser: ArgumentParser) -> None:
    """Add the options of conformance."""
    parser.add_argument(
        "--ae-title", type=shared.ae_title, default="AIODIMSE", metavar="AE", help="the AE title of serve (AIODIMSE)"
    )
    parser.add_argument(
        "--max-associations", type=shared.count, default=aiodimse.Limits().max_associations, metavar="N",
        help=f"that of serve ({aiodimse.Limits().max_associations})",
    )  # fmt: skip
    parser.add_argument("--strict", action="store_true", help="with --strict of serve")


async def server_of_serve(
    ae_title: str = "AIODIMSE", *, limits: aiodimse.Limits | None = None, strict: bool = False
) -> aiodimse.Server:
    """Make a server with the handlers of `serve`. Its archive is empty and closed, and must not be used."""
    server = aiodimse.Server(ae_title=ae_title, limits=limits, strict=strict)
    with tempfile.TemporaryDirectory() as folder:
        async with await Archive.open(folder) as archive:
            provide(server, archive)
    return server


async def run(options: Namespace, output: Output) -> int:
    """Print the statement. The server listens on no port."""
    limits = aiodimse.Limits(max_associations=options.max_associations)
    server = await server_of_serve(options.ae_title, limits=limits, strict=options.strict)
    found = conformance.accepted(server)
    output.document({"sop_classes": [asdict(each) | {"keyword": each.sop_class.keyword} for each in found]})
    output.line(conformance.statement(server, name="aiodimse serve", version=aiodimse.__version__).rstrip())
    return 0
