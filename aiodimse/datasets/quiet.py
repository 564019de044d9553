"""Keeps patient data that pydicom quotes out of the log.

pydicom checks a value when it is read, by whoever reads it and long after the data set was decoded. What it has to say
of one it gives to its logger and to `warnings` alike, in full: "Invalid value for VR DA: ...". Our own reading and
writing asks for no value; a handler does, and its server logs.
"""

from __future__ import annotations

import logging

LEFT_OUT = "pydicom warns of a value; its text, which quotes it, is left out here and given to the warnings module"


class WithoutValues(logging.Filter):
    """For the logger "pydicom": a line that quotes a value is logged without it. Nothing is lost: pydicom gives the
    same text to warnings.warn."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true."""
        if record.funcName == "warn_and_log":
            record.msg, record.args = LEFT_OUT, ()
        if record.exc_info:
            kind = record.exc_info[0]
            record.msg, record.args = f"{record.getMessage()} ({kind.__name__ if kind else None})", ()
            record.exc_info = record.exc_text = None
        return True


def install() -> None:
    """Once for the process, however often it is called."""
    logger = logging.getLogger("pydicom")
    if not any(isinstance(each, WithoutValues) for each in logger.filters):
        logger.addFilter(WithoutValues())
