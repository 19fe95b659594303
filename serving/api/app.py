"""Puts the API together. Composes, no more."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.spec import Components, SecurityScheme

from serving.api import health, keys_resource, pages
from serving.api.access import principal_of
from serving.api.archives import (
    EXPORTS,
    EXPORTS_PER_TENANT,
    IMPORTS,
    IMPORTS_PER_TENANT,
    export_tenant,
    export_video,
    import_archive,
)
from serving.api.audit import entries
from serving.api.batches import Batches
from serving.api.copies import library_copies, video_copies
from serving.api.corrections import Corrections
from serving.api.described import DescribedConfig
from serving.api.docs import docs_router, favicon, renderers, start
from serving.api.embeddings import embed
from serving.api.entrance import Entrance
from serving.api.erasures import erasures
from serving.api.events import watch
from serving.api.fetches import fetch, usage
from serving.api.hls import describe_playlist, describe_segment, get_playlist, get_segment
from serving.api.holds import Holds
from serving.api.jobs import Jobs
from serving.api.learned import Learned
from serving.api.me import Myself
from serving.api.metrics import metrics
from serving.api.models import Models
from serving.api.pictures import (
    describe_poster,
    describe_storyboard,
    describe_thumbnail,
    get_pictures,
    get_poster,
    get_storyboard,
    get_thumbnail,
)
from serving.api.playback import create_rendition, get_playback
from serving.api.problem import handle
from serving.api.recommendations import recommend, similar_segments, similar_videos
from serving.api.rendition import describe_rendition_stream, stream_rendition
from serving.api.retention import Retention
from serving.api.schema import RecordSchema
from serving.api.search import search
from serving.api.signed import SignedUrls, media_of
from serving.api.signing_in import Authentication
from serving.api.spaces import Spaces
from serving.api.stream import MediaTypes, describe_stream, stream_video
from serving.api.streams import Streams
from serving.api.strict import StrictRequest
from serving.api.surroundings import Surroundings
from serving.api.taggings import Applying, Taggings
from serving.api.text_tracks import (
    describe_chapters_track,
    describe_storyboard_track,
    describe_tags_track,
    get_chapters_track,
    get_storyboard_track,
    get_tags_track,
)
from serving.api.tickets import create_event_ticket
from serving.api.tus import ResumableUploads
from serving.api.tus_views import UploadRecords
from serving.api.uploads import put_file, upload
from serving.api.urls import create_video_urls, revoke_urls, revoke_video_urls
from serving.api.users import Users
from serving.api.videos import Videos
from serving.api.vocabularies import Vocabularies
from serving.api.webhooks import Webhooks
from serving.auth.credentials import Credentials
from serving.auth.invitations import Invitations
from serving.auth.passwords import Passwords
from serving.auth.sessions import Sessions
from serving.auth.tokens import Tokens
from serving.checking import Checks
from serving.db.database import Database
from serving.db.quick import QuickReads
from serving.derived.shelf import Shelf
from serving.graph.client import GraphClient
from serving.graph.keys import GATEWAY, derived
from serving.jobs.events import CHANNEL
from serving.jobs.following import Following
from serving.jobs.listening import Listener
from serving.pictures.pictures import Pictures
from serving.playback.granting import Grants
from serving.playback.hls import Hls
from serving.playback.signing import Signer
from serving.search.asking import ANSWER_CHANNEL, Asking
from serving.search.searching import Libraries
from serving.settings import Settings
from serving.storage.store import Store
from serving.uploads.tus import Uploads

#: Bodies that are no videos.
_MAX_BODY_BYTES = 4 << 20


def create_app(database: Database, store: Store, settings: Settings, secret: bytes) -> Litestar:
    """The API over a database and a store. `secret`: what credentials are recognised by, see `serving.auth`.

    Raises:
        ValueError: an operation does not say who may do it, or has no id; a fault of ours that shows at the start.
    """
    tokens = Tokens(secret, settings.auth)
    credentials = Credentials(database, secret, tokens)
    passwords = Passwords()
    listener = Listener(database.url, (CHANNEL, ANSWER_CHANNEL))
    following = Following(database, listener)
    streams = Streams(settings.server.max_streams, settings.server.max_streams_per_tenant)
    sending = Streams(
        settings.server.max_media_streams,
        settings.server.max_media_streams_per_tenant,
        "videos being sent",
        "max_media_streams",
    )
    importing = Streams(IMPORTS, IMPORTS_PER_TENANT, "archives being read", None)
    exporting = Streams(EXPORTS, EXPORTS_PER_TENANT, "archives being handed out", None)
    quick = QuickReads(database.url)
    signer = Signer(secret)
    shelf = Shelf(database, store.keyring)
    pictures = Pictures(store, shelf, settings)
    hls = Hls(store, shelf, settings)
    urls = SignedUrls(signer, credentials, store.keyring, quick)
    surroundings = Surroundings(database, store.keyring, settings)
    graph = GraphClient(settings.graph.url, settings.graph.key or derived(secret, GATEWAY))

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(listener)
            await stack.enter_async_context(following)
            stack.callback(passwords.close)
            stack.callback(pictures.close)
            stack.callback(hls.close)
            stack.push_async_callback(database.close)
            stack.push_async_callback(quick.close)
            stack.push_async_callback(graph.close)
            await stack.enter_async_context(surroundings.running())
            yield

    def given(value: object) -> Provide:
        return Provide(lambda: value, sync_to_thread=False)

    v1 = Router(
        path="/",
        route_handlers=[
            Jobs,
            Batches,
            Videos,
            create_video_urls,
            revoke_video_urls,
            revoke_urls,
            stream_video,
            describe_stream,
            stream_rendition,
            describe_rendition_stream,
            get_playback,
            create_rendition,
            get_playlist,
            describe_playlist,
            get_segment,
            describe_segment,
            get_pictures,
            get_thumbnail,
            describe_thumbnail,
            get_poster,
            describe_poster,
            get_storyboard,
            describe_storyboard,
            get_storyboard_track,
            describe_storyboard_track,
            get_chapters_track,
            describe_chapters_track,
            get_tags_track,
            describe_tags_track,
            upload,
            put_file,
            fetch,
            usage,
            ResumableUploads,
            UploadRecords,
            watch,
            create_event_ticket,
            Authentication,
            Users,
            Myself,
            keys_resource.ApiKeys,
            Webhooks,
            Vocabularies,
            Applying,
            Taggings,
            Corrections,
            Learned,
            Models,
            embed,
            search,
            Spaces,
            video_copies,
            library_copies,
            similar_videos,
            similar_segments,
            recommend,
            erasures,
            Holds,
            Retention,
            export_video,
            export_tenant,
            import_archive,
        ],
    )
    app = Litestar(
        route_handlers=[v1, entries, metrics, health.live, health.ready, pages.problem, start, favicon],
        dependencies={
            "database": given(database),
            "store": given(store),
            "settings": given(settings),
            "following": given(following),
            "streams": given(streams),
            "sending": given(sending),
            "importing": given(importing),
            "exporting": given(exporting),
            "media_types": given(MediaTypes()),
            "secret": given(secret),
            "graph": given(graph),
            "asking": given(Asking(database, store.keyring, listener)),
            "libraries": given(Libraries()),
            "credentials": given(credentials),
            "tokens": given(tokens),
            "grants": given(Grants(signer, surroundings.reads)),
            "pictures": given(pictures),
            "hls": given(hls),
            "media": Provide(media_of),
            "passwords": given(passwords),
            "invitations": given(Invitations(database, secret, passwords)),
            "checks": given(Checks(database, store)),
            "sessions": given(Sessions(database, secret, tokens, passwords, settings.auth)),
            **{name: given(value) for name, value in surroundings.dependencies().items()},
            "uploads": given(Uploads(database, store, settings.upload)),
            "principal": Provide(principal_of, sync_to_thread=False),
        },
        middleware=[Entrance(credentials, urls, surroundings.admission)],
        exception_handlers={Exception: handle},
        lifespan=[lifespan],
        state=State({"quick": quick, "keyring": store.keyring}, deep_copy=False),
        openapi_config=DescribedConfig(
            title="Automations",
            version="1",
            description="Understands video on your own machines: shots, key segments with reasons, tags over time.",
            openapi_router=docs_router(),
            render_plugins=renderers(),
            components=Components(security_schemes={"key": SecurityScheme(type="http", scheme="bearer")}),
            security=[{"key": []}],
            use_handler_docstrings=True,
        ),
        plugins=[RecordSchema()],
        request_class=StrictRequest,
        request_max_body_size=_MAX_BODY_BYTES,
        logging_config=None,
    )
    _require_declared(app)
    surroundings.put_around(app)
    return app


def _require_declared(app: Litestar) -> None:
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            public = isinstance(handler, HTTPRouteHandler) and handler.resolve_include_in_schema()
            if public and ("scope" not in handler.opt or not handler.operation_id):
                raise ValueError(f"{handler} says neither who may do it nor how it is called")
