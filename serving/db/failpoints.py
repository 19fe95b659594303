"""Where a process can be made to die, to prove that nothing is lost there: before and after every durable write.

    FAILPOINT=job.claim:after:2 automations worker

ends the process hard when it has claimed a job for the second time.
"""

import os
from collections import Counter
from typing import Literal, get_args

Write = Literal[
    # what was asked for
    "tenant.create",
    "tenant.quota",
    "key.create",
    "key.revoke",
    "user.write",
    "session.create",
    "session.refresh",
    "session.reused",
    "session.end",
    "upload.create",
    "upload.append",
    "upload.complete",
    "upload.end",
    "video.write",
    "video.delete",
    "url.revoke",
    "hold.write",
    "retention.write",
    "vocabulary.write",
    "question.write",
    "space.write",
    "job.submit",
    "job.cancel",
    "job.retry",
    # what a worker does
    "job.claim",
    "job.renew",
    "job.measure",
    "job.progress",
    "job.checkpoint",
    "job.succeed",
    "job.fail",
    "job.canceled",
    "job.release",
    "job.reap",
    "worker.beat",
    "worker.leave",
    "fetch.claim",
    "fetch.renew",
    "fetch.retry",
    "space.claim",
    "space.renew",
    "space.lack",
    "space.fill",
    "space.later",
    # what tenants are told
    "webhook.write",
    "delivery.claim",
    "delivery.done",
    # archives and backups
    "archive.import",
    # keys
    "keys.rotate",
    "storage.seal",
    # what is written down besides
    "audit.refusals",
    "audit.reads",
    "audit.keys",
    "audit.key",
    "audit.link",
    "clean.expired",
    "clean.old",
    "erasure.finish",
    "search.catch_up",
    "space.removed",
    "copies.claim",
    "copies.renew",
    "copies.done",
    # videos encoded anew
    "rendition.write",
    "rendition.claim",
    "rendition.renew",
    "rendition.done",
    # what is made of videos
    "derived.write",
    # vocabularies that stand for a library
    "tagging.write",
    "tagging.claim",
    "tagging.page",
    "tagging.new",
    "tagging.phrases",
    "correction.write",
    "learning.claim",
    "learning.done",
]
"""Every transaction that writes, by name."""

#: Objects in the store are durable, too.
Stored = Literal["object.put", "object.delete"]

Moment = Literal["before", "after"]

#: What a process that was ended here exits with.
EXIT = 77

VARIABLE = "FAILPOINT"


def points() -> list[str]:
    """All of them, as the variable names them."""
    names = (*get_args(Write), *get_args(Stored))
    return [f"{name}:{moment}" for name in names for moment in get_args(Moment)]


def reach(name: Write | Stored, moment: Moment) -> None:
    """End the process here if that was asked for: nothing is flushed, closed or rolled back by us."""
    wanted = os.environ.get(VARIABLE)
    if not wanted or not wanted.startswith(f"{name}:{moment}"):
        return
    _reached[wanted] += 1
    nth = wanted.removeprefix(f"{name}:{moment}").lstrip(":")
    if _reached[wanted] >= int(nth or 1):
        os._exit(EXIT)


_reached: Counter[str] = Counter()
