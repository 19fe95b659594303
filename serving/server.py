"""The processes of a server: the API, and a worker with its models in it. `together` runs them by one command.

What takes its time to load is loaded where it is used: the API answers before that.
"""

import asyncio
import signal
from collections.abc import Callable, Iterator

from serving.places import MASTER_KEY, Places
from serving.settings import Settings
from serving.storage.address import address as address_of_objects
from serving.storage.key_address import AwsKey, VaultKey


def greeting(place: Places, settings: Settings, key: str | None, works: str) -> Iterator[str]:
    """What is printed when everything starts: where it is, and a line to try. `works`: what works on jobs."""
    address = f"http://{settings.server.host}:{settings.server.port}"
    yield f"API       {address}/v1"
    yield f"docs      {address}/docs"
    yield f"data      {place.folder}"
    yield f"database  {'of your own' if settings.server.database_url else 'embedded PostgreSQL in the data folder'}"
    yield f"engine    {works}"
    if settings.storage.url:
        yield f"objects   {address_of_objects(settings.storage.url)}"
    if isinstance(place.master_keys[0], AwsKey | VaultKey):
        yield f"keys      wrapped by {place.master_keys[0]}"
    elif not settings.storage.master_key:
        yield f"keys      {place.folder / MASTER_KEY} opens all videos: keep a copy, elsewhere (docs/security.md)"
    if key is not None:
        yield f"key       {key}  (shown only now; it may do everything)"
    shown = key or "$KEY"
    yield f"\ntry       curl -H 'Authorization: Bearer {shown}' {address}/v1/videos\n"


def serve_api(settings: Settings, found: Callable[[], Places], waits: Callable[[], str] = lambda: "") -> None:
    """Answer requests until the process is told to end; see `api.starting` for what is answered first.

    Args:
        found: where everything is, once it is there; called in a thread.
        waits: what that waits for, in a few words.

    Raises:
        DatabaseUnavailable, DatabaseMisconfigured: see `waiting.reached`.
        MasterKeyMissing: see `known.require_known`.
    """
    import gc

    import uvicorn

    from serving.api.starting import App, Early
    from serving.connections import connections
    from serving.proxies import proxy_options

    def build() -> App:
        # What takes its time to load does so while the database is made.
        from serving.api.app import create_app
        from serving.db.database import Database
        from serving.db.waiting import PATIENCE_S, reached
        from serving.storage.known import require_known

        place = found()
        asyncio.run(reached(place.database_url, PATIENCE_S))
        asyncio.run(require_known(place.database_url, place.keyring))
        app = create_app(Database(place.database_url), place.store, settings, place.secret)
        # What is there by now stays: collections need not look through all of it again and again.
        gc.collect()
        gc.freeze()
        gc.enable()
        return app

    def end() -> None:
        server.should_exit = True

    # Nothing of what is loaded is garbage; it is turned on again once all is there.
    gc.disable()
    app = Early(build, end, waits)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.server.host,
            port=settings.server.port,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=5,
            server_header=False,
            # Nothing here speaks it, and it takes its time to load.
            ws="none",
            http=connections(settings.server.stalled_s),
            **proxy_options(settings.server.trusted_proxies),
        )
    )
    # uvicorn passes on what it was told, once it has ended; left alone, that would be the end before an embedded
    # database is stopped.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: end())
    server.run()
    if app.failure is not None:
        raise app.failure


def serve_worker(place: Places, settings: Settings) -> bool:
    """Work on jobs until the process is told to end; whether all could be ended that has threads. Ten seconds after it
    was told, the process ends itself, whatever hangs."""
    return asyncio.run(_work(place, settings))


async def _work(place: Places, settings: Settings) -> bool:
    from pipeline.sandbox.client import Sandbox
    from serving import ending
    from serving.toolkits import LocalToolkits
    from serving.working import Working

    stop = asyncio.Event()

    def told() -> None:
        stop.set()
        ending.within()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told)
    with Sandbox(settings.worker) as sandbox:
        toolkits = LocalToolkits(settings, sandbox)
        try:
            await Working(place, settings, toolkits, slots=settings.jobs.slots).serve(stop)
        finally:
            ended = await toolkits.close()
    return ended
