"""Archives of what is held: handed out, and read back."""

from collections.abc import AsyncIterator
from typing import Any, Final

from litestar import Request, get, post
from litestar.response import Stream

from serving.api.access import Principal, needs
from serving.api.bodies import TAR
from serving.api.streams import Slot, Streams
from serving.api.videos import VideoId
from serving.archive.exporting import export
from serving.archive.form import Imported
from serving.db.database import Database
from serving.settings import Settings
from serving.storage.store import Store

#: Archives that one process reads at once, of all and of one tenant: documents of a video are in memory until it is
#: placed, and checking them is work for the processor.
IMPORTS, IMPORTS_PER_TENANT = 3, 1

#: Archives that it hands out at once: a report of each is in memory as it is kept, for as long as its client is slow.
EXPORTS, EXPORTS_PER_TENANT = 6, 2

_HEADERS: Final = {"Cache-Control": "no-store"}


@get(
    "/v1/videos/{video_id:str}/export",
    operation_id="export_video",
    **needs("rights:manage"),
    media=True,
    tags=["rights"],
    summary="All that is held about a video",
)
async def export_video(
    principal: Principal, database: Database, store: Store, exporting: Streams, video_id: VideoId
) -> Stream:
    """A tar archive (docs/archive-format.md): the video as it came, its reports, labels, metadata, what was said of its
    tags, its jobs. It is made as it is sent, and is whole only with `end.json` in the end. As it comes, anybody can
    read it: `automations export` can lock it as it is written."""
    slot = exporting.take(principal.tenant_id)
    return await _streamed(export(database, store, principal.tenant_id, video_id), f"{video_id}.tar", slot)


@get(
    "/v1/export",
    operation_id="export_tenant",
    **needs("rights:manage"),
    media=True,
    tags=["rights"],
    summary="All that is held about you",
)
async def export_tenant(principal: Principal, database: Database, store: Store, exporting: Streams) -> Stream:
    """As of one video, of all that there are, with vocabularies, people, webhooks and rules; no secrets."""
    slot = exporting.take(principal.tenant_id)
    return await _streamed(export(database, store, principal.tenant_id, None), "library.tar", slot)


@post(
    "/v1/import",
    operation_id="import_archive",
    **needs("rights:manage"),
    tags=["rights"],
    summary="Read an archive back",
    status_code=200,
    request_max_body_size=None,
)
async def import_archive(
    request: Request[Any, Any, Any],
    principal: Principal,
    database: Database,
    store: Store,
    settings: Settings,
    importing: Streams,
) -> Imported:
    """Take in the videos of an archive that `export` gave, here or elsewhere: under new ids, sealed with new keys, each
    once all its hashes hold. Videos whose bytes are here already stay as they are, and so do vocabularies whose names
    are. What is no archive, or was changed, is refused (422 `archive_refused`)."""
    # What it is read with is loaded by who sends one, not by every process at its start.
    from serving.archive.importing import Importing

    with importing.take(principal.tenant_id):
        return await Importing(database, store, settings.upload, principal.tenant_id).read(request.stream())


async def _streamed(chunks: AsyncIterator[bytes], name: str, slot: Slot) -> Stream:
    # What is wrong at once is told as a problem.
    try:
        first = await anext(chunks)
    except Exception:
        slot.release()
        raise

    async def all_of_it() -> AsyncIterator[bytes]:
        with slot:
            yield first
            async for chunk in chunks:
                yield chunk

    headers = _HEADERS | {"Content-Disposition": f'attachment; filename="{name}"'}
    return Stream(all_of_it(), media_type=TAR, headers=headers)
