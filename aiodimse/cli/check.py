"""Compare the files of an archive with its index, and report the differences. Nothing is changed."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from aiodimse.archive import Archive, CheckReport, check
from aiodimse.cli import serve
from aiodimse.cli.failures import FAILED, USAGE, CommandError, system_words
from aiodimse.cli.output import Output

HELP = "compare the files of an archive with its index"


def arguments(parser: ArgumentParser) -> None:
    """Add the options of check."""
    parser.add_argument(
        "location", metavar="LOCATION", type=serve.location, help="as of serve: a folder, or s3://BUCKET/PREFIX"
    )
    parser.add_argument("--index", metavar="URL", help="as of serve (an SQLite database in the folder)")
    parser.add_argument(
        "--read", action="store_true", help="read each object too, and check that it is what the index says"
    )


async def run(options: Namespace, output: Output) -> int:
    """Exit with 0 if files and index agree, otherwise with 1. --json lists the differences."""
    if options.index == "memory:":
        raise CommandError("an index in memory holds nothing to compare with", USAGE)
    try:
        archive = await Archive.open(options.location, index=options.index, scan=False, make_index=False)
    except (OSError, ValueError, ModuleNotFoundError) as error:
        raise CommandError(system_words(error) if isinstance(error, OSError) else str(error), USAGE) from None
    try:
        with output.progress("files") as advance:

            def seen(report: CheckReport) -> None:
                advance(report.files, None)

            report = await check(archive, read=options.read, progress=seen)
    except OSError:
        raise
    except Exception as error:  # an index raises what its driver raises
        if archive.index.is_damaged_by(error):
            raise CommandError("the index is damaged; the next start of serve makes a new one", USAGE) from None
        raise CommandError(f"the index does not answer ({type(error).__name__})", USAGE) from None
    finally:
        await archive.close()
    output.line(f"{options.location}: {report}")
    lists = {name: getattr(report, name) for name in ("not_indexed", "changed", "missing", "other")}
    output.document({"files": report.files, "objects": report.objects, **lists})
    return 0 if report.is_sound else FAILED
