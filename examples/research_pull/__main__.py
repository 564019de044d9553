"""python -m research_pull pull.toml"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import aiodimse

from .config import Config
from .manifest import Manifest, accession_numbers
from .pull import FIND, MOVE, Pull


async def pull(config: Config, numbers: list[str], manifest: Manifest, progress: Progress) -> int:
    """Pull what is missing. Return the number of images that arrived."""
    images = 0
    bar = progress.add_task("", total=len(numbers), images=0)

    def saved() -> None:
        nonlocal images
        images += 1
        progress.update(bar, images=images)

    receiver = aiodimse.Server(ae_title=config.ae_title)
    pool = aiodimse.Pool(
        config.archive_host,
        config.archive_port,
        ae_title=config.ae_title,
        called_ae_title=config.archive_ae_title,
        contexts=[FIND, MOVE],
        max_size=config.moves,
        timeouts=aiodimse.Timeouts(move_response=config.silence),
    )
    async with receiver.listen(config.host, config.port), pool:
        # The pool waits for an archive that is down, which is right in the middle of a pull. At its start, the address
        # or a title may be wrong, and each study would wait for more than a minute.
        async with aiodimse.connect(
            config.archive_host,
            config.archive_port,
            ae_title=config.ae_title,
            called_ae_title=config.archive_ae_title,
            contexts=[FIND, MOVE],
        ):
            pass
        await Pull(config, pool, receiver, manifest, saved).run(numbers, lambda: progress.advance(bar))
    return images


def main() -> int:
    """Run the pull. Return 0 if nothing is missing any more, else 1."""
    if not sys.argv[1:]:
        sys.exit(f"usage: python -m {__package__} FILE.toml")
    try:
        config = msgspec.toml.decode(Path(sys.argv[1]).read_bytes(), type=Config)
        numbers = accession_numbers(Path(config.accession_numbers))
    except (OSError, ValueError) as error:  # no such file, a key or a value that is wrong
        sys.exit(f"{sys.argv[1]}: {error}")
    folder = Path(config.folder)
    folder.mkdir(parents=True, exist_ok=True)
    manifest = Manifest(folder)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.fields[images]} images"))
    try:
        with Progress(*columns, console=Console(stderr=True)) as progress:
            images = asyncio.run(pull(config, numbers, manifest, progress))
    finally:
        states = manifest.close()
    print(f"{images} images came; studies:", ", ".join(f"{count} {state}" for state, count in sorted(states.items())))
    return 0 if states.keys() <= {"complete"} else 1


try:
    sys.exit(main())
except KeyboardInterrupt:  # the next start fetches the rest
    sys.exit(130)
except (OSError, aiodimse.AiodimseError) as error:  # a port that is taken, a full disk, an archive that is not there
    sys.exit(f"{error}")
