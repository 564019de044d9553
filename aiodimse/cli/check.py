"""Compare the files of an archive with its index, and report the differences. Nothing is changed."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aiodimse.archive import Archive, CheckReport, check
from aiodimse.cli import options as shared
from aiodimse.cli import serve
from aiodimse.cli.failures import FAILED, USAGE, CommandError, system_words
from aiodimse.cli.output import Output

HELP = "compare the files of an archive with its index"


def arguments(parser: ArgumentParser) -> None:
    """Add the options of check."""
    parser.add_argument(
        "location", metavar="LOCATION", type=serve.location, nargs="?",
        help="the location of serve: a folder, or s3://BUCKET/PREFIX",
    )  # fmt: skip
    parser.add_argument(
        "--config", metavar="FILE", type=shared.file,
        help="the file of serve --config: checks its location and the folders of its called titles",
    )  # fmt: skip
    parser.add_argument(
        "--index", type=shared.index, metavar="URL", help="the index of serve (an SQLite database in the folder)"
    )
    parser.add_argument(
        "--read", action="store_true", help="read each object too, and check that it is what the index says"
    )


async def run(options: Namespace, output: Output) -> int:
    """Exit with 0 if files and index agree, with 1 if they do not, with 2 if that cannot be told.

    --json lists the differences. With --config, an archive that cannot be checked does not keep the others from it.
    """
    documents: list[dict[str, Any]] = []
    code = 0
    for location, index in _archives(options):
        try:
            report = await _checked(location, index, options, output)
        except CommandError as error:
            if options.config is None:
                raise
            output.note(f"{options.prog}: {error}")
            documents.append({"location": str(location), "error": str(error)})
            code = max(code, error.code)
            continue
        output.line(f"{location}: {report}")
        documents.append(_document(location, report))
        code = max(code, 0 if report.is_sound else FAILED)
    output.document({"archives": documents} if options.config is not None else documents[0])
    return code


def _archives(options: Namespace) -> Iterator[tuple[Path | str, str | None]]:
    """Yield the location and the index of each archive that the options name."""
    configured: Namespace | None = options.configured
    location, index = options.location, options.index
    if configured is not None:
        location, index = location or configured.directory, index or configured.index
    if location is None:
        raise CommandError("give the LOCATION to check: a folder, or s3://BUCKET/PREFIX; or --config FILE", USAGE)
    if index == "memory:":
        raise CommandError("an index in memory holds nothing to compare with", USAGE)
    yield location, index
    if configured is not None and options.location is None:
        yield from ((folder, None) for _, folder in configured.called if folder is not None)


async def _checked(location: Path | str, index: str | None, options: Namespace, output: Output) -> CheckReport:
    try:
        archive = await Archive.open(location, index=index, scan=False, make_index=False)
    except (OSError, ValueError, ModuleNotFoundError) as error:
        raise CommandError(system_words(error) if isinstance(error, OSError) else str(error), USAGE) from None
    try:
        with output.progress("files") as advance:

            def seen(report: CheckReport) -> None:
                advance(report.files, None)

            return await check(archive, read=options.read, progress=seen)
    except OSError:
        raise
    except Exception as error:  # an index raises what its driver raises
        if archive.index.is_damaged_by(error):
            raise CommandError("the index is damaged; the next start of serve makes a new one", USAGE) from None
        raise CommandError(f"the index does not answer ({type(error).__name__})", USAGE) from None
    finally:
        await archive.close()


def _document(location: Path | str, report: CheckReport) -> dict[str, Any]:
    lists = {name: getattr(report, name) for name in ("not_indexed", "changed", "missing", "other")}
    return {
        "location": str(location),
        "files": report.files,
        "objects": report.objects,
        "outdated": report.outdated,
        "unreadable": report.unreadable,
        **lists,
    }
