"""The last transaction of an upload: what makes it a video, or says why it is none."""

import msgspec
from sqlmodel.ext.asyncio.session import AsyncSession

from pipeline.errors import VideoError
from serving.db.uploads import Upload
from serving.errors import ServerError
from serving.jobs import submission
from serving.problems import for_callers
from serving.requests import JobAfter, JobRequest
from serving.storage.keyring import Keyring
from serving.uploads import receive
from serving.uploads.receive import Received, Stored


async def become(
    session: AsyncSession, keyring: Keyring, upload: Upload, stored: Stored, tenant_max_bytes: int
) -> Received:
    """Make an upload, which is locked, a video; and queue the job that was asked for with it. Where the tenant has the
    bytes already, the object is the caller's to delete, as with `receive.keep`.

    Raises:
        QuotaExceeded: the tenant may not keep so much.
    """
    received = await receive.keep(
        session,
        keyring,
        upload.tenant_id,
        stored,
        title=upload.title,
        filename=upload.filename,
        tenant_max_bytes=tenant_max_bytes,
    )
    upload.status, upload.sha256, upload.video_id = "completed", stored.written.sha256, received.video.id
    upload.error = None
    if upload.job is not None:
        asked = msgspec.structs.asdict(msgspec.convert(upload.job, JobAfter))
        request = JobRequest(video_id=received.video.id, **asked)
        (job,) = await submission.queue_all(session, upload.tenant_id, [request])
        upload.job_id = job.id
    session.add(upload)
    return received


def told(error: VideoError | ServerError) -> dict[str, str]:
    """An error, as an upload's row keeps it."""
    return {"code": error.code, "detail": for_callers(error)}
