"""The router itself: it receives instances and sends them on."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from pathlib import Path
from uuid import uuid4

from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

import aiodimse
from aiodimse import commitment
from aiodimse.outbox import Delivery, Outbox

from .config import Config, Destination

_log = logging.getLogger("router")
_POLL = 5.0
"""Seconds after which a task checks the outbox even if nothing new has come."""
_LONGEST_PAUSE = 60.0
"""The longest pause between two attempts to reach a destination that is down, in seconds."""
_MOST_UNANSWERED = 1000
"""How many requests for storage commitment are kept at once."""


class Outage(Exception):
    """The destination is down or has no room; its deliveries have not failed."""


class Router:
    """Receives instances, and forwards them until it is cancelled."""

    def __init__(self, config: Config) -> None:
        self._config, self._outbox = config, Outbox(config.folder)
        self._completeness = aiodimse.Completeness[str](quiet=config.quiet, quiet_after_end=config.quiet_after_end)
        self._news = {title: asyncio.Event() for title in config.destinations}
        self._tags = ["StudyInstanceUID", *{key for rule in config.rules for key in rule.match if key != "calling"}]
        self._server = aiodimse.Server(ae_title=config.ae_title)
        self._server.on_c_store(self._store)
        self._server.on_association_end(self._ended)
        self._server.on_n_action(commitment.SOP_CLASS)(self._commitment_requested)
        self._server.on_n_event_report(commitment.SOP_CLASS)(self._commitment_reported)

    async def run(self, started: Callable[[int], None]) -> None:
        """Route, and call started with the port when we listen. On cancellation, requests that run may finish."""
        config = self._config
        async with self._outbox:
            await self._outbox.tidy(config.remember_days)
            await aiodimse.remove_unfinished(config.folder)
            for title, number in (await self._outbox.counts()).items():
                if title not in config.destinations:
                    _log.warning("%s is not a destination any more, and %d deliveries wait for it", title, number)
            for study in await self._outbox.held_studies():
                self._completeness.arrived(study)
            async with self._server.listen(config.host, config.port) as listening, asyncio.TaskGroup() as tasks:
                started(listening.port)
                tasks.create_task(self._release())
                tasks.create_task(self._report())
                for title, destination in config.destinations.items():
                    tasks.create_task(self._forward(title, destination))

    # --- receiving ----------------------------------------------------------------------------------------------------

    async def _store(self, request: aiodimse.StoreRequest) -> int | aiodimse.Reply:
        config, calling = self._config, request.association.calling_ae_title
        if self._outbox.waiting >= config.most:
            await request.discard()
            return aiodimse.Reply(0xA700, error_comment="the outbox is full")
        header, titles = Dataset(), dict[str, bool]()

        async def apply_rules(path: Path, beginning: bytes) -> None:
            header.update(await asyncio.to_thread(dcmread, path, stop_before_pixels=True, specific_tags=self._tags))
            for title in (title for rule in config.rules if rule.matches(calling, header) for title in rule.to):
                titles[title] = config.destinations[title].whole_studies
            if not titles:
                raise aiodimse.DIMSEFailure(0xC000, "no rule matches")

        path = await request.save(config.folder, f"{uuid4().hex}.dcm", before_name=apply_rules)
        study = str(header.get("StudyInstanceUID", ""))
        await self._outbox.put(path, request.sop_class_uid, request.sop_instance_uid, study, titles)
        if any(titles.values()):
            self._completeness.arrived(study, request.association)
        self._wake(*titles)
        return 0x0000

    async def _ended(self, association: aiodimse.ProviderAssociation, error: BaseException | None) -> None:
        self._completeness.ended(association)

    async def _release(self) -> None:
        async for study in self._completeness:
            await self._outbox.release(study)
            self._wake(*self._news)

    def _wake(self, *titles: str) -> None:
        for title in titles:
            self._news[title].set()

    # --- sending ------------------------------------------------------------------------------------------------------

    async def _forward(self, title: str, destination: Destination) -> None:
        """Send the deliveries of one destination, as long as the router runs."""
        pause = 0.0
        async with aiodimse.Pool(
            destination.host,
            destination.port,
            ae_title=self._config.ae_title,
            called_ae_title=title,
            contexts=[commitment.SOP_CLASS if destination.commit else aiodimse.sop_class.Verification],
            max_size=destination.associations,
            handlers=self._server,
        ) as pool:
            while True:
                self._news[title].clear()
                try:
                    is_over = not await self._send(title, destination, pool)
                    if destination.commit:
                        await self._ask(title, destination, pool)
                    pause = 0.0
                except Outage as error:
                    _log.warning("%s: %s", title, error)
                    pause = min(max(1.0, 2 * pause), _LONGEST_PAUSE)
                    await asyncio.sleep(pause * random.uniform(0.5, 1.5))
                    continue
                if is_over:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_POLL):
                            await self._news[title].wait()

    async def _send(self, title: str, destination: Destination, pool: aiodimse.Pool) -> bool:
        """Send the deliveries that are due. Return False if there are none."""
        deliveries = await self._outbox.due(title)
        under_way: dict[int, tuple[Delivery, aiodimse.Instance]] = {}

        async def instances() -> AsyncIterator[aiodimse.Instance]:
            for delivery in deliveries:
                try:
                    instance = await self._instance(delivery.path, destination)
                except Exception as error:  # a function of the configuration may raise anything
                    await self._failed(title, delivery, destination, repr(error))
                    continue
                under_way[id(instance)] = delivery, instance
                yield instance

        async with aclosing(pool.c_store_many(instances())) as results:
            async for result in results:
                delivery, instance = under_way.pop(id(result.source))
                await self._outcome(title, delivery, instance, destination, result)
        return bool(deliveries)

    async def _instance(self, path: Path, destination: Destination) -> aiodimse.Instance:
        instance = await aiodimse.Instance.open(path)
        if (change := destination.function) is None:
            return instance
        return aiodimse.Instance.from_dataset(await asyncio.to_thread(change, await instance.dataset()))

    async def _outcome(
        self,
        title: str,
        delivery: Delivery,
        instance: aiodimse.Instance,
        destination: Destination,
        result: aiodimse.StoreResult,
    ) -> None:
        if isinstance(result.error, aiodimse.AssociationError) and not result.error.sent:
            raise Outage(str(result.error))
        if result.response is None:
            await self._failed(title, delivery, destination, repr(result.error))
        elif result.response.status.category is not aiodimse.Category.FAILURE:
            sent = commitment.Reference(instance.sop_class_uid, instance.sop_instance_uid)
            await self._outbox.delivered(delivery.id, to_commit=sent if destination.commit else None)
        elif 0xA700 <= result.response.status < 0xA800:  # out of resources
            raise Outage(str(result.response.status))
        else:
            await self._failed(title, delivery, destination, str(result.response.status))

    async def _failed(self, title: str, delivery: Delivery, destination: Destination, reason: str) -> None:
        # The reason may contain more than a log should have, so it is kept only with the delivery.
        _log.warning("%s: attempt %d of delivery %d failed", title, delivery.attempts + 1, delivery.id)
        await self._outbox.failed(delivery.id, reason, attempts=self._config.attempts)

    # --- storage commitment -------------------------------------------------------------------------------------------

    async def _ask(self, title: str, destination: Destination, pool: aiodimse.Pool) -> None:
        """Ask the destination to commit the instances that it was sent."""
        transaction = str(generate_uid())
        patience = destination.commit_patience
        references = await self._outbox.to_commit(title, transaction, patience)
        if references:
            try:
                async with pool.acquire([commitment.SOP_CLASS]) as association:
                    request = commitment.CommitmentRequest(transaction, tuple(references))
                    (await request.send(association)).raise_for_status()
            except (aiodimse.AiodimseError, OSError) as error:
                await self._outbox.not_asked(transaction, _LONGEST_PAUSE)
                _log.warning("%s: the request for storage commitment failed: %s", title, error)

    async def _commitment_reported(self, request: aiodimse.NormalizedRequest) -> int:
        """Handle the report of a destination on what it has committed."""
        report = commitment.CommitmentReport.read(request)
        await self._outbox.committed(report, attempts=self._config.attempts)
        self._wake(*self._news)
        return 0x0000

    async def _commitment_requested(self, request: aiodimse.NormalizedRequest) -> int:
        """Handle the request of a sender that wants to know what it may delete."""
        calling = request.association.calling_ae_title
        if calling not in self._config.senders:
            raise aiodimse.DIMSEFailure(0x0124, "no address to report to")
        if self._outbox.unanswered >= _MOST_UNANSWERED:
            raise aiodimse.DIMSEFailure(0x0213, "too many requests wait to be answered")
        await self._outbox.asked(commitment.CommitmentRequest.read(request), calling)
        return 0x0000

    async def _report(self) -> None:
        """Report to senders the instances that have arrived at all their destinations."""
        while True:
            for calling, report in await self._outbox.answers():
                sender = self._config.senders.get(calling)
                if sender is None:
                    _log.warning("%s is not a sender any more, and gets no report of its storage commitment", calling)
                    await self._outbox.answered(report.transaction_uid)
                    continue
                try:
                    context = aiodimse.PresentationContext(commitment.SOP_CLASS, scu=False, scp=True)
                    async with aiodimse.connect(
                        sender.host,
                        sender.port,
                        ae_title=self._config.ae_title,
                        called_ae_title=calling,
                        contexts=[context],
                    ) as association:
                        (await report.send(association)).raise_for_status()
                    await self._outbox.answered(report.transaction_uid)
                except (aiodimse.AiodimseError, OSError) as error:
                    _log.warning("%s: the report of a storage commitment failed: %s", calling, error)
            await asyncio.sleep(_POLL)
