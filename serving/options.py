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
    """PostgreSQL to use, `postgresql://user:password@host/name`; without it, an embedded one in the data folder."""


class UploadOptions(Record, frozen=True, kw_only=True):
    """Bounds on uploads."""

    max_bytes: Annotated[int, Meta(gt=0, le=1 << 50)] = 64 << 30
    """Bytes of one video."""
    expires_s: Annotated[int, Meta(gt=0, le=31_536_000)] = 86_400
    """Seconds after its latest bytes at which an unfinished upload is given up: a day."""
    part_bytes: Annotated[int, Meta(gt=0, le=1 << 40)] = 64 << 20
    """Bytes of a resumable upload after which those that came are kept, even if this server dies then."""


class JobOptions(Record, frozen=True, kw_only=True):
    """How workers work."""

    slots: Annotated[int, Meta(gt=0, le=256)] = 2
    """Jobs that one worker runs at once."""
    models: Annotated[str, Meta(min_length=1, max_length=10_000)] = "auto,bundled"
    """Models that jobs may ask for, separated by commas: names as `automations analyze --model` takes them."""
    lease_s: Annotated[float, Meta(gt=0, le=3600)] = 30.0
    """How long a worker may be silent before its jobs are given to another."""


class ClientOptions(Record, frozen=True, kw_only=True):
    """Whom `submit`, `status`, `watch`, `results` and `cancel` speak to."""

    server: Annotated[str, Meta(min_length=1, max_length=4096)] = "http://127.0.0.1:8000"
    """Address of the server; `--server` goes before it."""
    key: Annotated[str, Meta(max_length=4096, extra={"secret": True})] = ""
    """API key; `--key` goes before it."""


SERVER_OPTIONS, UPLOAD_OPTIONS, JOB_OPTIONS = ServerOptions(), UploadOptions(), JobOptions()
CLIENT_OPTIONS = ClientOptions()
