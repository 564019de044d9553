"""The tables, and their queries. The columns of the worklist are named by the keywords of DICOM."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import Column, MetaData, String, Table, Text, create_engine, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

STEPS = "ScheduledProcedureStepSequence"
OF_STEP = (
    "ScheduledStationAETitle", "ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime", "Modality",
    "ScheduledPerformingPhysicianName", "ScheduledProcedureStepDescription", "ScheduledProcedureStepID",
    "ScheduledProcedureStepStatus",
)  # fmt: skip
OF_REQUEST = (
    "AccessionNumber", "ReferringPhysicianName", "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "StudyInstanceUID", "RequestedProcedureDescription", "RequestedProcedureID",
)  # fmt: skip
SUPPORTED = (*OF_REQUEST, *(f"{STEPS}.{keyword}" for keyword in OF_STEP))
OFFERED = ("SCHEDULED", "ARRIVED", "READY", "STARTED")

_metadata = MetaData()
_KEYS = ("StudyInstanceUID", "ScheduledProcedureStepID")
worklist = Table(
    "worklist",
    _metadata,
    *(Column(each, String(64), primary_key=each in _KEYS, nullable=False, default="") for each in OF_REQUEST + OF_STEP),
)
performed = Table(
    "performed",
    _metadata,
    Column("sop_instance_uid", String(64), primary_key=True),
    Column("status", String(16), nullable=False),
    Column("content", Text, nullable=False),  # the DICOM JSON Model
)
available = Table(
    "available",
    _metadata,
    Column("sop_instance_uid", String(64), primary_key=True),
    Column("study_instance_uid", String(64), nullable=False, index=True),
    Column("availability", String(16), nullable=False),
    Column("retrieve_ae_title", String(16), nullable=False),
)


class Tables:
    """The database. Its methods block on the disk, so call them in a thread.

    Args:
        url: The address of the database, for SQLAlchemy.
    """

    def __init__(self, url: str) -> None:
        self._engine = create_engine(url, hide_parameters=True)  # errors would have them, and they are patient data
        _metadata.create_all(self._engine)

    def steps(self) -> Iterator[dict[str, Any]]:
        """Yield the steps of the worklist, as attributes to match."""
        rows = select(worklist).where(worklist.c.ScheduledProcedureStepStatus.in_(OFFERED))
        with self._engine.connect() as connection:
            for row in connection.execution_options(yield_per=500).execute(rows).mappings():
                step = {keyword: (row[keyword],) for keyword in OF_STEP}
                yield {keyword: (row[keyword],) for keyword in OF_REQUEST} | {STEPS: (step,)}

    def create(self, uid: str, content: str, scheduled: Iterable[tuple[str, str]]) -> bool:
        """Store a step that has begun, and mark its scheduled steps as started. Return False if it already exists."""
        try:
            with self._engine.begin() as connection:
                connection.execute(
                    insert(performed).values(sop_instance_uid=uid, status="IN PROGRESS", content=content)
                )
                for study, step in scheduled:
                    connection.execute(_status_of(study, step, "STARTED"))
        except IntegrityError:
            return False
        return True

    def read(self, uid: str) -> tuple[str, str] | None:
        """Return the status and the content of a performed step."""
        with self._engine.connect() as connection:
            row = connection.execute(select(performed).where(performed.c.sop_instance_uid == uid)).one_or_none()
        return None if row is None else (row.status, row.content)

    def change(self, uid: str, before: str, status: str, content: str, scheduled: Iterable[tuple[str, str]]) -> bool:
        """Change a step unless somebody changed it since it was read; when it ends, change its scheduled steps too."""
        is_same = (performed.c.sop_instance_uid == uid) & (performed.c.content == before)
        with self._engine.begin() as connection:
            done = connection.execute(update(performed).where(is_same).values(status=status, content=content))
            for study, step in scheduled if done.rowcount and status != "IN PROGRESS" else ():
                connection.execute(_status_of(study, step, status))
        return bool(done.rowcount)

    def note(self, rows: Iterable[Mapping[str, str]]) -> None:
        """Store the reported availability of instances, in place of any earlier report."""
        with self._engine.begin() as connection:
            for row in rows:
                uid = row["sop_instance_uid"]
                connection.execute(delete(available).where(available.c.sop_instance_uid == uid))
                connection.execute(insert(available).values(**row))

    def add(self, rows: Iterable[Mapping[str, str]]) -> None:
        """Add steps to the worklist."""
        with self._engine.begin() as connection:
            for row in rows:
                connection.execute(insert(worklist).values(**row))

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def _status_of(study: str, step: str, status: str) -> Any:
    its = (worklist.c.StudyInstanceUID == study) & (worklist.c.ScheduledProcedureStepID == step)
    return update(worklist).where(its).values(ScheduledProcedureStepStatus=status)
