"""Rows of what is over, deleted once nobody asks for them any more; some hundreds in one transaction, so that nobody
waits for long. Several processes may do it at once: what one deletes, the others pass over.

Audit entries and rate limits are deleted where they are made: `serving.audit.cleaning`, `serving.limiting`.
"""

from typing import Final

from sqlalchemy import TextClause, text

from serving.db.database import SYSTEM, Database
from serving.db.statements import execute

#: Rows that are deleted in one transaction.
_AT_ONCE: Final = 500

#: Of a job that is over, it may be that somebody retries it soon. Several jobs may want the same.
CHECKPOINTS: Final = text(
    """
    DELETE FROM checkpoint WHERE ctid = ANY(ARRAY(
        SELECT c.ctid FROM checkpoint c
        WHERE c.created_at < now() - make_interval(secs => :keep_s) AND NOT EXISTS (
            SELECT FROM job j WHERE j.tenant_id = c.tenant_id AND j.feature_key = c.feature_key
                AND (j.state IN ('queued', 'running') OR j.finished_at >= now() - make_interval(secs => :keep_s))
        )
        LIMIT :most FOR UPDATE SKIP LOCKED
    ))
    """
)

#: Ids that callers gave to jobs of theirs are remembered as long as the jobs.
IDEMPOTENCY_KEYS: Final = text(
    """
    DELETE FROM idempotency_key WHERE ctid = ANY(ARRAY(
        SELECT k.ctid FROM idempotency_key k
        WHERE k.created_at < now() - make_interval(secs => :keep_s) AND NOT (
            k.key LIKE 'id:%' AND EXISTS (SELECT FROM job j WHERE j.tenant_id = k.tenant_id AND j.id = k.target)
        )
        ORDER BY k.created_at LIMIT :most FOR UPDATE SKIP LOCKED
    ))
    """
)

#: With all that became of them.
MESSAGES: Final = text(
    """
    DELETE FROM webhook_message WHERE id = ANY(ARRAY(
        SELECT m.id FROM webhook_message m
        WHERE m.created_at < now() - make_interval(secs => :keep_s) AND NOT EXISTS (
            SELECT FROM webhook_delivery d WHERE d.message_id = m.id
                AND (d.state = 'pending' OR d.delivered_at >= now() - make_interval(secs => :keep_s))
        )
        ORDER BY m.created_at LIMIT :most FOR UPDATE SKIP LOCKED
    ))
    """
)

#: Those that are over have no parts.
UPLOADS: Final = text(
    """
    DELETE FROM upload WHERE id = ANY(ARRAY(
        SELECT id FROM upload
        WHERE status <> 'waiting' AND updated_at < now() - make_interval(secs => :keep_s)
            AND NOT EXISTS (SELECT FROM upload_part p WHERE p.upload_id = upload.id)
        ORDER BY updated_at LIMIT :most FOR UPDATE SKIP LOCKED
    ))
    """
)

#: With their tokens.
SESSIONS: Final = text(
    """
    DELETE FROM session WHERE id = ANY(ARRAY(
        SELECT id FROM session WHERE least(expires_at, revoked_at) < now() - make_interval(secs => :keep_s)
        LIMIT :most FOR UPDATE SKIP LOCKED
    ))
    """
)

#: Of sessions that go on.
REFRESH_TOKENS: Final = text(
    """
    DELETE FROM refresh_token WHERE digest = ANY(ARRAY(
        SELECT digest FROM refresh_token WHERE expires_at < now() - make_interval(secs => :keep_s)
        LIMIT :most FOR UPDATE SKIP LOCKED
    ))
    """
)

#: Whoever asked has died, where one is older than this, seconds.
QUESTION_S: Final = 300.0
QUESTIONS: Final = text(
    """
    DELETE FROM question WHERE id = ANY(ARRAY(
        SELECT id FROM question WHERE created_at < now() - make_interval(secs => :keep_s)
        LIMIT :most FOR UPDATE SKIP LOCKED
    ))
    """
)


#: Whoever was about to name one a month ago has long been told that it is gone, or has died.
SWEPT_S: Final = 30 * 86_400.0
SWEPT_OBJECTS: Final = text(
    """
    DELETE FROM swept_object WHERE object_key = ANY(ARRAY(
        SELECT object_key FROM swept_object WHERE at < now() - make_interval(secs => :keep_s)
        LIMIT :most FOR UPDATE SKIP LOCKED
    ))
    """
)


async def removed(database: Database, old: TextClause, keep_s: float) -> int:
    """Delete what is older than `keep_s` seconds, by one of the statements above; how many rows that were."""
    total = 0
    while True:
        async with database.write("clean.old", SYSTEM) as session:
            found = (await execute(session, old, keep_s=keep_s, most=_AT_ONCE)).rowcount
        total += found
        if found < _AT_ONCE:
            return total
