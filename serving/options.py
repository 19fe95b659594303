"""What an operator may set about the server itself; what is set about videos is in `pipeline.limits`.

Names, defaults, bounds and the texts under the fields are said here only, as there.
"""

from typing import Annotated

from msgspec import Meta

from pipeline.record import Record


class ServerOptions(Record, frozen=True, kw_only=True):
    """Where the server is, and where it keeps things."""

    host: Annotated[str, Meta(min_length=1, max_length=255)] = "127.0.0.1"
    """Address that it listens on. From `0.0.0.0` on, put a proxy in front that speaks TLS."""
    port: Annotated[int, Meta(gt=0, le=65_535)] = 8000
    """Port that it listens on."""
    data_dir: Annotated[str, Meta(min_length=1, max_length=4096)] = "data"
    """Folder of what is kept: videos, the embedded database, secrets."""
    database_url: Annotated[str, Meta(max_length=4096, extra={"secret": True})] = ""
    """PostgreSQL to use, `postgresql://user:password@host/name`; without it, an embedded one in the data folder. On
    another host it needs TLS with a certificate that is believed: `?sslrootcert=FILE` says by what."""
    max_streams: Annotated[int, Meta(gt=0, le=1_000_000)] = 2000
    """Streams of events that one API process serves at once."""
    max_streams_per_tenant: Annotated[int, Meta(gt=0, le=1_000_000)] = 200
    """Those of one tenant, in one API process."""
    max_media_streams: Annotated[int, Meta(gt=0, le=1_000_000)] = 1000
    """Answers with bytes of videos that one API process sends at once. Each holds about a MiB of memory, however slow
    its client is."""
    max_media_streams_per_tenant: Annotated[int, Meta(gt=0, le=1_000_000)] = 500
    """Those of one tenant, in one API process."""
    stalled_s: Annotated[float, Meta(gt=0, le=86_400)] = 60.0
    """Seconds in which a client may take nothing of such an answer before it is ended; players then ask for the
    rest. On Linux, of any answer."""
    least_bytes_per_s: Annotated[int, Meta(ge=0, le=1 << 30)] = 16 << 10
    """Bytes of such an answer that a client takes a second, averaged over `server.stalled_s`; who takes fewer is cut
    off as who takes nothing is, and so is who would take longer than two minutes over a segment of HLS. 0: any do."""
    keep_alive_s: Annotated[float, Meta(gt=0, le=3600)] = 15.0
    """Seconds of silence after which a stream of events says that it is still there."""
    trusted_proxies: Annotated[str, Meta(max_length=4096)] = ""
    """Addresses or networks of proxies, separated by commas, whose `X-Forwarded-For` and `X-Forwarded-Proto` are
    believed. Nobody else's are."""
    cors_origins: Annotated[str, Meta(max_length=4096)] = ""
    """Origins of web pages, separated by commas, that may use the API from a browser: `https://app.example.com`; `*`
    for all. Cookies are never used."""
    metrics_key: Annotated[str, Meta(max_length=4096, extra={"secret": True})] = ""
    """What a Bearer has to be to read `/metrics`; without it, they are read from this machine only."""


class UploadOptions(Record, frozen=True, kw_only=True):
    """Bounds on uploads."""

    max_bytes: Annotated[int, Meta(gt=0, le=1 << 50)] = 64 << 30
    """Bytes of one video."""
    expires_s: Annotated[int, Meta(gt=0, le=31_536_000)] = 86_400
    """Seconds after its latest bytes at which an unfinished upload is given up: a day."""
    part_bytes: Annotated[int, Meta(gt=0, le=1 << 40)] = 64 << 20
    """Bytes of a resumable upload after which those that came are kept, even if this server dies then."""
    tenant_max_bytes: Annotated[int, Meta(ge=0, le=1 << 60)] = 0
    """Bytes that a tenant may keep, all its videos, renditions and unfinished uploads together, unless it has a quota
    of its own; 0 for as many as there is room for."""
    tenant_max_minutes: Annotated[int, Meta(ge=0, le=1 << 40)] = 0
    """Minutes of video that a tenant may keep, as far as their length is known, unless it has a quota of its own; 0 for
    as many as there is room for."""
    fetch_timeout_s: Annotated[float, Meta(gt=0, le=604_800)] = 21_600.0
    """How long fetching a video from a URL may take, seconds: six hours."""


class PictureOptions(Record, frozen=True, kw_only=True):
    """Thumbnails, posters and storyboards, which an API process makes when they are asked for."""

    at_once: Annotated[int, Meta(gt=0, le=256)] = 4
    """How many one API process makes at once, each in a locked-in process; one tenant has one less than that."""
    waiting: Annotated[int, Meta(gt=0, le=100_000)] = 64
    """Requests that may wait for that; more are answered with 503. One tenant has half of them."""
    timeout_s: Annotated[float, Meta(gt=0, le=3600)] = 30.0
    """Seconds that one picture, or all of a storyboard, may take; `worker.inspect_s` and `worker.clip_s` where these
    are less."""
    kept_bytes: Annotated[int, Meta(ge=0, le=1 << 40)] = 128 << 20
    """Memory of one API process for pictures that were made, and for where the frames of videos are: 30 bytes a
    frame. Thumbnails and posters are on no disk."""


class PlaybackOptions(Record, frozen=True, kw_only=True):
    """HLS, for which an API process repacks videos when they are asked for."""

    at_once: Annotated[int, Meta(gt=0, le=256)] = 4
    """How many segments one API process makes at once, each in a locked-in process; one tenant has one less."""
    waiting: Annotated[int, Meta(gt=0, le=100_000)] = 128
    """Requests that may wait for that; more are answered with 503. One tenant has half of them."""
    kept_bytes: Annotated[int, Meta(ge=0, le=1 << 40)] = 256 << 20
    """Memory of one API process for segments that were made, and for where the samples of videos are: 34 bytes a
    picture or packet of sound. Segments are on no disk."""
    sent_bytes: Annotated[int, Meta(ge=128 << 20, le=1 << 40)] = 512 << 20
    """Memory of one API process for segments that are on their way to clients, each counted once. Who asks for one that
    there is no room for is answered with 503. One tenant has half of it."""


class StorageOptions(Record, frozen=True, kw_only=True):
    """Where what is stored is (`docs/storage.md`), and its keys (`docs/security.md`)."""

    url: Annotated[str, Meta(max_length=4096)] = ""
    """Where objects are: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix` or `file:///folder`;
    without it, `objects` in the data folder. Credentials are read from the environment, and refused in it."""
    endpoint: Annotated[str, Meta(max_length=4096)] = ""
    """Server to ask for them that is not the service's own: `https://s3.example.com`; `http://` is spoken if it says
    so."""
    spool_dir: Annotated[str, Meta(max_length=4096)] = ""
    """Folder for files of objects that are elsewhere, sealed as they are, while they are read; without it, `spool` in
    the data folder."""
    spool_max_bytes: Annotated[int, Meta(gt=0, le=1 << 60)] = 80 << 30
    """Bytes that these files may have in one process. A larger object is not read; others wait for room."""
    master_key: Annotated[str, Meta(max_length=2048, extra={"secret": True})] = ""
    """Master key, 64 hexadecimal digits (`openssl rand -hex 32`), or where a service has it:
    `aws-kms://KEY?region=REGION`, `vault://HOST:PORT/transit/KEY`. Without it, one is made in the data folder, on the
    disk that it is to protect. Who loses it loses all videos."""
    old_master_keys: Annotated[str, Meta(max_length=8192, extra={"secret": True})] = ""
    """Master keys from before, separated by commas: they unwrap until `automations keys rotate` was run."""
    kms_kept_s: Annotated[float, Meta(ge=1, le=86_400)] = 300.0
    """Seconds for which a process keeps a tenant's key that such a service unwrapped: so long it works on without the
    service, and so long what is stored stays readable after the service's key was disabled. One call each time."""


class JobOptions(Record, frozen=True, kw_only=True):
    """How workers work."""

    slots: Annotated[int, Meta(gt=0, le=256)] = 2
    """Jobs that one worker runs at once."""
    models: Annotated[str, Meta(min_length=1, max_length=10_000)] = "auto,bundled"
    """Models that jobs may ask for, separated by commas: names as `automations analyze --model` and `--with` take them,
    or those of `models_file`."""
    models_file: Annotated[str, Meta(max_length=4096)] = ""
    """A YAML file that gives models names of their own, see `configs/models.yaml`. Jobs may ask for each of them."""
    model_ttl_s: Annotated[float, Meta(ge=0, le=604_800)] = 3600.0
    """How long a worker keeps a model in memory that no job needs, seconds; 0 for ever. The first of `models` is always
    kept. Engines of the graph keep theirs."""
    lease_s: Annotated[float, Meta(gt=0, le=3600)] = 30.0
    """How long a worker may be silent before its jobs are given to another."""
    timeout_s: Annotated[float, Meta(gt=0, le=604_800)] = 21_600.0
    """How long one attempt of a job may take, seconds, where its request does not say: six hours. Then it fails."""


class GraphOptions(Record, frozen=True, kw_only=True):
    """Where the graph's gateway is, for the API."""

    url: Annotated[str, Meta(min_length=1, max_length=4096)] = "http://127.0.0.1:8101"
    """Address of the gateway: of Serve's proxy, as `http_options` of its YAML has it. `serve` says it itself."""
    key: Annotated[str, Meta(max_length=4096, extra={"secret": True})] = ""
    """What the API shows there. Without it, one that is made from the secret in the data folder, which the graph then
    has to see, too."""


class LimitOptions(Record, frozen=True, kw_only=True):
    """How many requests are taken, over all processes together."""

    requests_per_s: Annotated[float, Meta(ge=0, le=1_000_000)] = 100.0
    """Requests a second that a key or a user may send in the long run; 0 for as many as they like."""
    burst: Annotated[int, Meta(gt=0, le=1_000_000)] = 200
    """Requests that they may send at once after a pause."""
    unknown_per_s: Annotated[float, Meta(ge=0, le=1_000_000)] = 10.0
    """Requests a second that may come from one address without a good key or token: signing in, problem pages, and
    what is refused for want of one; 0 for as many as it likes."""
    unknown_burst: Annotated[int, Meta(gt=0, le=1_000_000)] = 60
    """As many of these may come at once after a pause."""


class AuditOptions(Record, frozen=True, kw_only=True):
    """What is kept of who did what."""

    keep_days: Annotated[int, Meta(gt=0, le=36_500)] = 90
    """Days after which entries of the audit log are deleted."""


class CleaningOptions(Record, frozen=True, kw_only=True):
    """How long what is over is kept before the worker tidies it up."""

    checkpoints_s: Annotated[int, Meta(ge=60, le=31_536_000)] = 86_400
    """Seconds for which what was computed for a job that failed or was canceled waits for a retry: a day."""
    idempotency_keys_s: Annotated[int, Meta(ge=86_400, le=31_536_000)] = 172_800
    """Seconds for which an `Idempotency-Key` is remembered: two days."""
    sessions_s: Annotated[int, Meta(ge=0, le=315_360_000)] = 2_592_000
    """Seconds for which sessions of people, and their tokens, are known once they are over: 30 days."""
    uploads_s: Annotated[int, Meta(ge=3600, le=315_360_000)] = 2_592_000
    """Seconds for which the record of an upload that is over can be read: 30 days. Its video stays."""
    webhooks_s: Annotated[int, Meta(ge=3600, le=315_360_000)] = 2_592_000
    """Seconds for which messages of webhooks can be read and sent again once they were delivered or given up: 30
    days."""


class AuthOptions(Record, frozen=True, kw_only=True):
    """How people sign in, and for how long."""

    access_s: Annotated[int, Meta(gt=0, le=86_400)] = 600
    """Seconds that an access token is good for: ten minutes. A session that is ended ends it at once all the same."""
    refresh_s: Annotated[int, Meta(gt=0, le=31_536_000)] = 30 * 86_400
    """Seconds that a refresh token is good for: 30 days. Whoever is away for longer signs in again."""
    session_s: Annotated[int, Meta(gt=0, le=315_360_000)] = 90 * 86_400
    """Seconds after which one has to sign in again, however often the session was refreshed: 90 days."""
    ticket_s: Annotated[int, Meta(gt=0, le=86_400)] = 300
    """Seconds that a ticket for a job's events is good for: five minutes."""
    url_s: Annotated[int, Meta(gt=0, le=604_800)] = 3600
    """Seconds that a signed URL of a video is good for where who asks for it does not say: an hour."""
    max_url_s: Annotated[int, Meta(gt=0, le=604_800)] = 86_400
    """Seconds that one may be good for at most: a day."""
    fresh_s: Annotated[int, Meta(gt=0, le=86_400)] = 600
    """Seconds after signing in with the password in which other sessions of one's own may be ended: ten minutes."""
    invitation_s: Annotated[int, Meta(gt=0, le=604_800)] = 86_400
    """Seconds in which somebody who was invited has to set a password: a day."""
    account_attempts: Annotated[int, Meta(gt=0, le=1_000_000)] = 10
    """Passwords that may be tried for one account within `attempts_window_s`."""
    address_attempts: Annotated[int, Meta(gt=0, le=1_000_000)] = 100
    """Those that may be tried from one address, for any account. Behind a proxy that `server.trusted_proxies` does not
    name, all come from one."""
    attempts_window_s: Annotated[int, Meta(gt=0, le=86_400)] = 300
    """Seconds in which that many attempts are taken; so many at once, and then as they grow again."""


class ClientOptions(Record, frozen=True, kw_only=True):
    """Whom `submit`, `status`, `watch`, `results` and `cancel` speak to."""

    server: Annotated[str, Meta(min_length=1, max_length=4096)] = "http://127.0.0.1:8000"
    """Address of the server; `--server` goes before it."""
    key: Annotated[str, Meta(max_length=4096, extra={"secret": True})] = ""
    """API key; `--key` goes before it."""


SERVER_OPTIONS, UPLOAD_OPTIONS, JOB_OPTIONS = ServerOptions(), UploadOptions(), JobOptions()
AUTH_OPTIONS, STORAGE_OPTIONS = AuthOptions(), StorageOptions()
CLIENT_OPTIONS = ClientOptions()
LIMIT_OPTIONS, AUDIT_OPTIONS = LimitOptions(), AuditOptions()
CLEANING_OPTIONS = CleaningOptions()
GRAPH_OPTIONS, PICTURE_OPTIONS, PLAYBACK_OPTIONS = GraphOptions(), PictureOptions(), PlaybackOptions()
