"""Asked to fetch a video: a row that waits for a worker."""

from datetime import timedelta
from typing import Final

import msgspec
from sqlalchemy import func

from serving import idempotency, requests
from serving.addresses import checked
from serving.db.database import Database
from serving.db.uploads import Upload
from serving.fetching.names import cleaned
from serving.ids import new_id
from serving.jobs.events import notify
from serving.options import UploadOptions
from serving.requests import FetchRequest
from serving.storage.keyring import Keyring
from serving.uploads import confidential, minutes, quota
from serving.uploads.confidential import UploadSecrets
from serving.uploads.rows import looked_up, written
from serving.vocabularies.resolving import resolved

#: Wakes those who fetch.
FETCH_CHANNEL: Final = "automations_fetches"


async def submit(
    database: Database,
    keyring: Keyring,
    options: UploadOptions,
    tenant: str,
    request: FetchRequest,
    *,
    key: str | None = None,
) -> Upload:
    """An upload that a worker fetches. `key`: the caller's `Idempotency-Key`; however often and at once it comes, there
    is one upload.

    Raises:
        AddressRefused: the URL is not one that this server goes to, as far as can be told without looking its name up.
        InvalidSpec: see `pipeline.spec.check`.
        KeyReused: the key was used for another request.
        QuotaExceeded: the tenant may keep nothing more.
        NotFound: there is no such vocabulary, or what the key stands for is not kept any more.
    """
    checked(request.url)
    if request.job is not None:
        requests.checked(request.job, "/job")
    async with database.write("upload.create", tenant) as session:
        if key is not None:
            known = await idempotency.known(session, tenant, "fetch_video", f"key:{key}", request)
            if known is not None:
                return (await looked_up(session, tenant, known))[0]
        job = None
        if request.job is not None:
            # With the labels that its vocabulary has now, whatever becomes of that until the video is there.
            spec = await resolved(session, tenant, request.job)
            job = msgspec.to_builtins(msgspec.structs.replace(request.job, spec=spec, vocabulary=None))
        await minutes.require_room(session, tenant, options.tenant_max_minutes)
        await quota.require_room(session, tenant, 1, options.tenant_max_bytes)
        upload = Upload(
            id=new_id("upl"),
            tenant_id=tenant,
            method="url",
            title=request.title,
            filename=cleaned(request.filename) if request.filename else None,
            job=job,
            next_at=func.now(),  # type: ignore[arg-type]
            expires_at=func.now() + timedelta(seconds=options.expires_s),  # type: ignore[arg-type]
        )
        await confidential.seal(session, keyring, upload, UploadSecrets(url=request.url))
        upload = await written(session, upload)
        if key is not None:
            await idempotency.aim(session, tenant, "fetch_video", f"key:{key}", upload.id)
        await notify(session, FETCH_CHANNEL)
        return upload
