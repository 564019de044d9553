"""What get and move have in common: the counters of a retrieval, and its result in words."""

from __future__ import annotations

from argparse import Namespace
from typing import Any, Literal

import aiodimse
from aiodimse.cli import values
from aiodimse.cli.failures import FAILED, USAGE, CommandError
from aiodimse.cli.models import MODELS
from aiodimse.cli.opening import where
from aiodimse.cli.output import Output


def asked(service: Literal["get", "move"], options: Namespace) -> tuple[str, str | None]:
    """Return the SOP class and the level of the options.

    Raises:
        CommandError: Nothing of that level can be retrieved.
    """
    model = MODELS[options.model]
    try:
        level = model.level(options.level)
    except ValueError as error:
        raise CommandError(str(error), USAGE) from None
    sop_class = model.get if service == "get" else model.move
    if sop_class is None:
        raise CommandError(f"the model {model.name} has no C-{service.upper()}", USAGE)
    if not any(key.value for key in options.keys):
        unique = {"PATIENT": "PatientID", "STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID"}
        needed = unique.get(level or "", "SOPInstanceUID")
        raise CommandError(f"-k {needed}=... has to say what to retrieve (see {options.prog} --help)", USAGE)
    return sop_class, level


def total(progress: aiodimse.Progress) -> int:
    """Return the number of all sub-operations, those to come included."""
    return (progress.remaining or 0) + done(progress)


def done(progress: aiodimse.Progress) -> int:
    """Return the number of those that have ended, in any way."""
    return progress.completed + progress.failed + progress.warning


def so_far(output: Output, progress: aiodimse.Progress | None) -> dict[str, Any]:
    """Print the counters if there is no final status, and return them for a document."""
    if progress is None:
        return {}
    _line(output, progress)
    return {"progress": counters(progress)}


def counters(progress: aiodimse.Progress) -> dict[str, int]:
    """Return the counters for programs."""
    return {"completed": progress.completed, "failed": progress.failed, "warning": progress.warning}


def _line(output: Output, progress: aiodimse.Progress) -> None:
    output.line(f"{progress.completed} completed, {progress.failed} failed, {progress.warning} with a warning")


def tell(
    options: Namespace, output: Output, response: aiodimse.Response, before: aiodimse.Progress | None, **more: Any
) -> int:
    """Print the counters, the failures and the final status. `before` has the counters of the last Pending response."""
    # A provider need not repeat its counters in a response of Failure.
    progress = response.progress or aiodimse.Progress()
    if not done(progress) and before is not None:
        progress = before
    failed = list(response.failed_sop_instance_uids)
    output.document(
        {
            "status": values.status(response.status),
            "progress": counters(progress),
            "failed_sop_instance_uids": failed,
            **more,
        }
    )
    output.so_far = None
    _line(output, progress)
    for uid in failed:
        output.note(f"failed: {values.printable(uid)}")
    if response.status != 0x0000:
        output.note(f"{options.prog}: {where(options)} answers {values.outcome(response)}")
        return FAILED
    return 0
