"""What a worker consists of, wherever its models are: here, or in engines of a cluster. Composes, no more."""

import asyncio
from typing import Protocol

from serving import cleaning
from serving.audit.keeping import Keeping
from serving.copies.finder import Finder
from serving.copies.keeping import COPIES_CHANNEL
from serving.db.database import Database
from serving.derived.priming import Primer
from serving.fetching.fetcher import Fetcher
from serving.fetching.requests import FETCH_CHANNEL
from serving.jobs.events import WORK_CHANNEL
from serving.jobs.listening import Listener
from serving.jobs.outbox import DELIVERY_CHANNEL
from serving.jobs.queue import Queue
from serving.jobs.running import Toolkits, Tools
from serving.places import Places
from serving.playback.renderer import Renderer
from serving.playback.renditions import RENDITION_CHANNEL
from serving.search.answering import Answerer
from serving.search.asking import QUESTION_CHANNEL
from serving.search.catching_up import catch_up
from serving.search.filling import Filler
from serving.settings import Settings
from serving.tagging.tagger import Tagger
from serving.tagging.writing import TAGGING_CHANNEL
from serving.webhooks.delivery import Deliverer
from serving.worker import Worker
from serving.workers import ModelReport, Presence


class Models(Toolkits, Protocol):
    """Toolkits, and how they are."""

    changed: asyncio.Event
    """Set whenever `reports` says something new; whoever waits for it clears it."""

    def reports(self) -> tuple[ModelReport, ...]:
        """What there is to say about each model."""
        ...

    async def serve(self, stop: asyncio.Event) -> None:
        """Keep them as they should be until `stop` is set."""
        ...


def connections(slots: int) -> int:
    """Of a worker to its database, at most: two for each job, some for deliveries and fetches that end at once, and for
    those who look around. Opened when they are needed; PostgreSQL has 100 for all."""
    return min(2 * slots + 26, 80)


class Working:
    """A worker: takes jobs, delivers webhooks, fetches videos, answers searches, looks for copies, tags libraries and
    learns, fills spaces, encodes videos for browsers, makes what is shown first, tidies up, and says how it is."""

    def __init__(self, place: Places, settings: Settings, models: Models, *, slots: int) -> None:
        """`slots`: jobs that it runs at once."""
        self._settings, self._models = settings, models
        self._database = Database(place.database_url, pool_size=connections(slots))
        self._store = place.store
        self._audit = Keeping(self._database, self._store.keyring)
        channels = (
            WORK_CHANNEL, DELIVERY_CHANNEL, FETCH_CHANNEL, QUESTION_CHANNEL, COPIES_CHANNEL, TAGGING_CHANNEL,
            RENDITION_CHANNEL,
        )  # fmt: skip
        self._listener = Listener(place.database_url, channels)
        # One for all: what it unwraps is kept once, and noted in the audit log.
        self._keyring = self._store.keyring
        queue = Queue(self._database, self._keyring, lease_s=settings.jobs.lease_s)
        tools = Tools(queue, self._store, models, settings.jobs.timeout_s, settings.upload.tenant_max_minutes)
        self._primer = Primer(self._database, self._store, settings)
        self._worker = Worker(tools, slots=slots, listener=self._listener, primer=self._primer)
        self.presence = Presence(
            self._database,
            self._worker.name,
            slots=slots,
            busy=lambda: self._worker.busy,
            models=models.reports,
            changed=models.changed,
        )

    @property
    def busy(self) -> int:
        """Jobs that it runs."""
        return self._worker.busy

    async def serve(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; then finish what is under way, or give it back, within ten seconds."""
        chores = (
            *cleaning.chores(self._database, self._store, self._settings),
            cleaning.Chore(
                "videos that no search found",
                cleaning.SELDOM_S,
                lambda: catch_up(self._database, self._keyring, self._models),
            ),
        )
        await self._audit.begin()
        cleaner = asyncio.gather(cleaning.run(chores), self._audit.run())
        try:
            async with self._listener, asyncio.TaskGroup() as group:
                group.create_task(self.presence.serve(stop))
                group.create_task(self._models.serve(stop))
                group.create_task(self._worker.serve(stop))
                answerer = Answerer(self._database, self._keyring, self._models, self._settings.input, self._listener)
                group.create_task(answerer.serve(stop))
                group.create_task(Filler(self._database, self._store, self._models).serve(stop))
                tagger = Tagger(
                    self._database, self._models, self._listener, worker=self._worker.name, busy=lambda: self.busy
                )
                group.create_task(tagger.serve(stop))
                group.create_task(Deliverer(self._database, self._keyring, listener=self._listener).serve(stop))
                fetcher = Fetcher(self._database, self._store, self._settings.upload, listener=self._listener)
                group.create_task(fetcher.serve(stop))
                group.create_task(Finder(self._database, listener=self._listener).serve(stop))
                renderer = Renderer(
                    self._database, self._store, self._settings, listener=self._listener, primer=self._primer
                )
                group.create_task(renderer.serve(stop))
                group.create_task(self._primer.serve(stop))
        finally:
            cleaner.cancel()
            await asyncio.gather(cleaner, return_exceptions=True)
            await self._audit.end()
            await self._database.close()
