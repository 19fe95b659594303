"""Tidies up: one table of what is tidied up, and how often. Several processes may do it at once."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import TextClause

from serving import limiting, old_rows
from serving.audit.cleaning import clean_audit
from serving.audit.signing import AuditSigner
from serving.db.database import Database
from serving.rights import erasing, retention
from serving.search.indexes import make_graphs
from serving.search.spaces import remove_leaving
from serving.settings import Settings
from serving.storage.store import Store
from serving.uploads import cleaning as uploads
from serving.uploads.tus import Uploads

_LOG = logging.getLogger(__name__)

#: How often what somebody may wait for is looked at, and how often the rest is, seconds.
OFTEN_S: Final = 30.0
SELDOM_S: Final = 3600.0

#: How often rules of retention are applied, seconds: within the hour, even where a worker was away for most of it.
RETENTION_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Chore:
    """Something that is tidied up."""

    name: str
    every_s: float
    do: Callable[[], Awaitable[int]]
    """Tidy it up; how many things there were to do."""


def chores(database: Database, store: Store, settings: Settings) -> tuple[Chore, ...]:
    """All that is tidied up, each apart from the others."""
    keep = settings.cleaning
    signer = AuditSigner(database, store.keyring.master)
    pieces = Uploads(database, store, settings.upload)

    def old(name: str, rows: TextClause, keep_s: float) -> Chore:
        return Chore(name, SELDOM_S, lambda: old_rows.removed(database, rows, keep_s))

    return (
        Chore("expired uploads", OFTEN_S, lambda: uploads.expire(database, store)),
        Chore("uploads left undone", OFTEN_S, lambda: uploads.finish_left(database, pieces)),
        Chore("erasures that were left unfinished", OFTEN_S, lambda: erasing.finish_left(database, store)),
        Chore("videos whose time is over", RETENTION_S, lambda: retention.apply(database, store)),
        Chore("objects that nothing names", SELDOM_S, lambda: uploads.sweep(database, store)),
        old("checkpoints", old_rows.CHECKPOINTS, keep.checkpoints_s),
        old("idempotency keys", old_rows.IDEMPOTENCY_KEYS, keep.idempotency_keys_s),
        old("webhook messages", old_rows.MESSAGES, keep.webhooks_s),
        old("uploads that are over", old_rows.UPLOADS, keep.uploads_s),
        old("names of objects that nothing named", old_rows.SWEPT_OBJECTS, old_rows.SWEPT_S),
        old("sessions", old_rows.SESSIONS, keep.sessions_s),
        old("refresh tokens", old_rows.REFRESH_TOKENS, keep.sessions_s),
        Chore(
            "questions that nobody waits for", OFTEN_S, lambda: old_rows.removed(database, old_rows.QUESTIONS, 300.0)
        ),
        Chore("spaces that are to be removed", OFTEN_S, lambda: remove_leaving(database)),
        Chore("graphs of vectors that are missing", OFTEN_S, lambda: make_graphs(database.url)),
        Chore("audit entries", SELDOM_S, lambda: clean_audit(database, signer, settings.audit)),
        Chore("rate limits", SELDOM_S, lambda: limiting.clean_buckets(database)),
    )


async def run(todo: tuple[Chore, ...]) -> None:
    """Tidy up again and again, until canceled; which may happen at any time. A chore that takes long holds no other
    up."""
    await asyncio.gather(*(_again(chore) for chore in todo))


async def _again(chore: Chore) -> None:
    while True:
        try:
            found = await chore.do()
            if found:
                _LOG.info("tidied up %d %s", found, chore.name)
        except Exception:  # noqa: BLE001 - a full disk or a lost database ends neither this nor the worker beside it
            _LOG.exception("%s could not be tidied up; again in %s s", chore.name, chore.every_s)
        await asyncio.sleep(chore.every_s)
