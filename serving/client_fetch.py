"""`automations submit URL`: has the server fetch a video, and shows how far that is."""

import time
from typing import Final

from rich.console import Console

from serving.answers import Refused, UploadSeen
from serving.byte_bars import byte_bars
from serving.client import Client
from serving.requests import FetchRequest, JobAfter
from serving.terminal import plain

#: How often is asked how far it is, seconds.
_EVERY_S: Final = 0.5


def is_url(video: str) -> bool:
    """Whether a video is named by where it is."""
    return video.lower().startswith(("http://", "https://"))


def fetched(client: Client, url: str, job: JobAfter, console: Console) -> str:
    """Id of the job that the server queued once it had the video. Whoever interrupts this keeps it from nothing.

    Raises:
        Refused: the server does not fetch it, or could not.
    """
    upload = client.fetch(FetchRequest(url=url, job=job))
    with byte_bars(console) as bars:
        task = bars.add_task("", total=None)
        while upload.status == "waiting":
            bars.update(task, description=_doing(url, upload), completed=upload.received_bytes, total=upload.size_bytes)
            time.sleep(_EVERY_S)
            upload = client.upload_record(upload.id)
    if upload.job_id is None:
        error = upload.error or {}
        what = error.get("detail") or f"the upload is {upload.status}"
        raise Refused(f"{plain(url).plain}: {what}", str(error.get("code") or "gone"))
    console.print(plain(f"{url} is {upload.video_id}", "dim"), soft_wrap=True)
    return upload.job_id


def _doing(url: str, upload: UploadSeen) -> str:
    name = plain(url.partition("?")[0].rstrip("/").rpartition("/")[2]).plain
    if upload.error is not None and upload.received_bytes == 0:
        return f"{name}: waits for another attempt"
    return f"{name}: the server fetches it"
