"""Stores under faults, then a look at who is there: python tests/durable/identities.py [STORES] prints one line.

`aiodimse serve` is sent what a bad day brings: instances under another UID than their own or under none, cut off ones,
one UID of two patients, the same instance again, releases and aborts in the middle; it is killed with SIGKILL and
started again over the same folder. Every instance that was answered 0000 must then be found and retrieved under its own
identity, and none under another's.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from durable.kills import HOST, kill
from durable.material import STORAGE, pattern
from pydicom.dataset import Dataset
from scripted import wire
from scripted.peer import ScriptedPeer, ScriptedPeerError

import aiodimse
from aiodimse import sop_class

TITLE = "AIODIMSE"
FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
SENDERS = 4
PATIENTS = 40
SIZES = (300, 3000, 40_000, 300_000)
KILLS_PER_STORE = 1 / 200


class Sent(NamedTuple):
    """An instance as a sender has it."""

    uid: str
    patient: int
    data: bytes


@dataclass
class Tally:
    """What came of it."""

    stores: int = 0
    kills: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    acknowledged: dict[str, int] = field(default_factory=dict)
    """SOP Instance UID -> patient, of every store answered 0x0000."""
    sent: dict[tuple[str, int], set[str]] = field(default_factory=lambda: defaultdict(set))
    """Digests of what was sent for a UID and a patient."""
    lost: list[str] = field(default_factory=list)
    swapped: list[str] = field(default_factory=list)
    until: int = 0
    enough: asyncio.Event = field(default_factory=asyncio.Event)
    """There have been so many stores."""

    def count(self) -> None:
        """A C-STORE is about to be sent."""
        self.stores += 1
        if self.stores >= self.until:
            self.enough.set()

    def __str__(self) -> str:
        return (
            f"{self.stores} stores, {sum(self.faults.values())} of them faulty, {self.kills} kills,"
            f" {len(self.acknowledged)} instances acknowledged: {len(self.lost)} lost, {len(self.swapped)} swapped"
        )

    def answered(self, sent: Sent, status: int | None) -> None:
        """A C-STORE of this has been answered."""
        if status != 0x0000:
            return
        if self.acknowledged.setdefault(sent.uid, sent.patient) != sent.patient:
            self.swapped.append(f"{sent.uid} was acknowledged for two patients")


def instance(uid: str, patient: int, size: int) -> Sent:
    """An image that says in every part whose it is."""
    elements = {
        (0x0008, 0x0016): ("UI", str(STORAGE)),
        (0x0008, 0x0018): ("UI", uid),
        (0x0010, 0x0010): ("PN", f"Patient^{patient}"),
        (0x0010, 0x0020): ("LO", f"ID{patient}"),
        (0x0020, 0x000D): ("UI", study(patient)),
        (0x0020, 0x000E): ("UI", f"{study(patient)}.1"),
        (0x7FE0, 0x0010): ("OW", pattern(f"{uid} {patient}", size)),
    }
    return Sent(uid, patient, wire.dataset(elements))


def study(patient: int) -> str:
    """The UID of the patient's one study."""
    return f"1.2.826.9.{patient}"


# --- the senders ------------------------------------------------------------------------------------------------------


class Sender:
    """Sends on associations of its own, rightly and wrongly, until the provider is gone."""

    def __init__(self, name: str, port: int, dice: random.Random, tally: Tally) -> None:
        self._name, self._port, self._dice, self._tally = name, port, dice, tally
        self._number = 0
        self._peer: ScriptedPeer | None = None
        self._known: list[Sent] = []

    async def run(self) -> None:
        """Send."""
        with suppress(ScriptedPeerError, OSError):
            while True:
                wrong = self._dice.choice(list(FAULTS)) if self._dice.random() < 0.5 else None
                self._tally.faults.update([wrong] if wrong else [])
                await (self._good() if wrong is None else FAULTS[wrong](self))
        if self._peer is not None:
            with suppress(ScriptedPeerError, OSError):
                await self._peer.close()

    async def _association(self) -> ScriptedPeer:
        if self._peer is None:
            self._peer = await ScriptedPeer.connect(HOST, self._port)
            await self._peer.associate([(1, str(STORAGE), [wire.EXPLICIT_LE])], called=TITLE)
        return self._peer

    def _new(self) -> Sent:
        self._number += 1
        sent = instance(f"1.2.3.{self._name}.{self._number}", self._dice.randrange(PATIENTS), self._dice.choice(SIZES))
        return self._note(sent)

    def _note(self, sent: Sent) -> Sent:
        even = sent.data + b"\0" * (len(sent.data) % 2)  # as it is made on its way out (PS3.8 E.1)
        self._tally.sent[sent.uid, sent.patient].add(hashlib.sha256(even).hexdigest())
        return sent

    async def _store(self, sent: Sent, uid: str | None = None, peer: ScriptedPeer | None = None) -> int | None:
        """A C-STORE and its status; uid: what the command says instead."""
        peer = peer or await self._association()
        self._tally.count()
        elements = wire.store_rq(str(STORAGE), sent.uid if uid is None else uid)
        (response,) = await peer.responses(await peer.request(1, elements, sent.data))
        status: int | None = response.status
        self._tally.answered(sent if uid is None else sent._replace(uid=uid), status)
        return status

    async def _good(self) -> None:
        sent = self._new()
        if await self._store(sent) == 0x0000:
            self._known.append(sent)

    # --- faults -------------------------------------------------------------------------------------------------------

    async def wrong_uid(self) -> None:
        """The command names another instance: one that is there, or a new one."""
        sent = self._new()
        uid = self._dice.choice(self._known).uid if self._known and self._dice.random() < 0.5 else f"{sent.uid}.9"
        await self._store(sent, uid)

    async def no_uid(self) -> None:
        """The command names none."""
        await self._store(self._new(), "")

    async def another_patient(self) -> None:
        """A UID that is there, for somebody else."""
        if self._known:
            known = self._dice.choice(self._known)
            await self._store(self._note(instance(known.uid, (known.patient + 1) % PATIENTS, 3000)))

    async def again(self) -> None:
        """What is there already, perhaps with other pixels."""
        if self._known:
            known = self._dice.choice(self._known)
            await self._store(self._note(instance(known.uid, known.patient, self._dice.choice(SIZES))))

    async def cut_off(self) -> None:
        """A part of what is there already, or of something new."""
        whole = self._dice.choice(self._known) if self._known and self._dice.random() < 0.7 else self._new()
        await self._store(self._note(whole._replace(data=whole.data[: self._dice.randrange(len(whole.data))])))

    async def released(self) -> None:
        """A-RELEASE-RQ directly behind the data set, in one segment."""
        peer, sent = await self._association(), self._new()
        self._peer = None
        self._tally.count()
        message = wire.message(1, {**wire.store_rq(str(STORAGE), sent.uid, 77)}, sent.data, limit=peer.limit)
        await peer.send(message + wire.RELEASE_RQ)
        with suppress(ScriptedPeerError):  # no response: not acknowledged
            (response,) = await peer.responses(77)
            self._tally.answered(sent, response.status)
            await peer.expect(wire.A_RELEASE_RP)
        await peer.close()

    async def aborted(self) -> None:
        """A-ABORT behind the data set, or in the middle of it."""
        peer, sent = await self._association(), self._new()
        self._peer = None
        self._tally.count()
        message = wire.message(1, {**wire.store_rq(str(STORAGE), sent.uid, 77)}, sent.data, limit=peer.limit)
        if self._dice.random() < 0.5:
            message = message[: self._dice.randrange(len(message))]
        await peer.send(message + wire.abort())
        await peer.close()

    async def two_senders(self) -> None:
        """One UID of two patients, at the same time."""
        one = self._new()
        other = self._note(instance(one.uid, (one.patient + 1) % PATIENTS, self._dice.choice(SIZES)))
        async with await ScriptedPeer.connect(HOST, self._port) as peer:
            await peer.associate([(1, str(STORAGE), [wire.EXPLICIT_LE])], called=TITLE)
            ours = await self._association()
            await asyncio.gather(self._store(one, peer=ours), self._store(other, peer=peer))
            await peer.release()


FAULTS: dict[str, Callable[[Sender], Awaitable[None]]] = {
    name: getattr(Sender, name)
    for name in (
        "wrong_uid", "no_uid", "another_patient", "again", "cut_off", "released", "aborted", "two_senders",
    )
}  # fmt: skip


# --- the provider, and the look ---------------------------------------------------------------------------------------


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """`aiodimse serve`, and its port."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "aiodimse", "serve", str(folder), "--port", "0", "--json",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            ready = await process.stdout.readline()
        yield process, int(json.loads(ready)["port"])
    finally:
        if process.returncode is None:
            kill(process)
        await process.wait()


async def _look(port: int, tally: Tally) -> None:
    """Find and retrieve each study; what comes must be its own, and all that was acknowledged must come."""
    found: set[str] = set()
    retrieved: set[str] = set()
    async with aiodimse.connect(
        HOST, port, called_ae_title=TITLE, contexts=[FIND, GET], storage=[STORAGE]
    ) as association:
        for patient in range(PATIENTS):
            keys = _identifier("IMAGE", patient)
            keys.SOPInstanceUID = keys.PatientID = None
            async with association.c_find(keys, FIND) as matches:
                async for match in matches:
                    found.add(_seen(tally, patient, str(match.SOPInstanceUID), str(match.PatientID), "found"))
            if not any(each == patient for each in tally.acknowledged.values()):
                continue
            async with association.c_get(_identifier("STUDY", patient), GET) as retrieval:
                async for arriving in retrieval:
                    data = b"".join([bytes(piece) async for piece in arriving.stream()])
                    identity = aiodimse.read_identity(data, wire.EXPLICIT_LE)
                    assert identity is not None
                    assert identity.sop_instance_uid == arriving.sop_instance_uid
                    uid = _seen(tally, patient, identity.sop_instance_uid, identity.patient_id, "retrieved")
                    data += b"\0" * (len(data) % 2)
                    if hashlib.sha256(data).hexdigest() not in tally.sent[uid, patient]:
                        tally.swapped.append(f"{uid} was retrieved as nobody has sent it")
                    retrieved.add(uid)
    tally.lost = sorted(tally.acknowledged.keys() - (found & retrieved))


def _identifier(level: str, patient: int) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel, identifier.StudyInstanceUID = level, study(patient)
    return identifier


def _seen(tally: Tally, patient: int, uid: str, patient_id: str, how: str) -> str:
    if patient_id != f"ID{patient}" or tally.acknowledged.get(uid, patient) != patient:
        tally.swapped.append(f"{uid} was {how} as that of {patient_id} in the study of ID{patient}")
    return uid


async def stores_under_faults(folder: Path, stores: int, seed: int = 1) -> Tally:
    """Store, kill, start again, and so on; at last look."""
    tally, dice = Tally(), random.Random(seed)
    runs = max(3, int(stores * KILLS_PER_STORE))
    for run in range(runs):
        async with serving(folder) as (process, port):
            tally.until = stores * (run + 1) // runs
            tally.enough.clear()
            senders = [
                asyncio.create_task(Sender(f"{run}.{number}", port, random.Random(dice.random()), tally).run())
                for number in range(SENDERS)
            ]
            waiting = asyncio.create_task(tally.enough.wait())
            await asyncio.wait([waiting, *senders], return_when=asyncio.FIRST_COMPLETED)
            kill(process)
            tally.kills += 1
            await asyncio.gather(*senders)
            assert waiting.done(), "a sender gave up: the provider was gone, or silent, before it was killed"
    async with serving(folder) as (_, port):
        await _look(port, tally)
    return tally


if __name__ == "__main__":
    many = int(sys.argv[1]) if len(sys.argv) > 1 else int(os.environ.get("AIODIMSE_STORES", "3000"))
    with tempfile.TemporaryDirectory() as where:
        result = asyncio.run(stores_under_faults(Path(where), many))
    print(result, *result.lost[:20], *result.swapped[:20], sep="\n")
    sys.exit(bool(result.lost or result.swapped))
