"""What an operator may set: variables `AUTOMATIONS_...`, and a TOML file that AUTOMATIONS_CONFIG names.

A variable goes before the file, the file before the default. Which settings there are, their defaults and their bounds
is said elsewhere (`pipeline.limits`, `serving.options`); here they only get names. A name that is not known is refused,
for a limit that somebody believes to have set is worse than none.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from pipeline.errors import InvalidSettings
from pipeline.limits import INPUT_LIMITS, WORKER_LIMITS, InputLimits, WorkerLimits
from pipeline.record import Record
from serving.options import (
    AUDIT_OPTIONS,
    AUTH_OPTIONS,
    CLEANING_OPTIONS,
    CLIENT_OPTIONS,
    GRAPH_OPTIONS,
    JOB_OPTIONS,
    LIMIT_OPTIONS,
    PICTURE_OPTIONS,
    PLAYBACK_OPTIONS,
    SERVER_OPTIONS,
    STORAGE_OPTIONS,
    UPLOAD_OPTIONS,
    AuditOptions,
    AuthOptions,
    CleaningOptions,
    ClientOptions,
    GraphOptions,
    JobOptions,
    LimitOptions,
    PictureOptions,
    PlaybackOptions,
    ServerOptions,
    StorageOptions,
    UploadOptions,
)
from serving.storage.address import address

PREFIX, NESTED = "AUTOMATIONS_", "__"

IN_FILE = "_FILE"
"""What a variable ends with that names the file of a secret."""

CONFIG = f"{PREFIX}CONFIG"
"""The variable that names the file."""

Origin = Literal["default", "environment", "file"]

#: Kubernetes sets such variables for a service that is called "automations" or "automations-...".
_SERVICE_LINK = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$")
_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://")


class Settings(Record, frozen=True, kw_only=True):
    """All that can be set; each field is a section."""

    input: InputLimits = INPUT_LIMITS
    """How much of a video is read before it is refused."""
    worker: WorkerLimits = WORKER_LIMITS
    """What a process that reads or decodes a video may use."""
    server: ServerOptions = SERVER_OPTIONS
    """Where the server is, and where it keeps things."""
    upload: UploadOptions = UPLOAD_OPTIONS
    """Bounds on uploads."""
    storage: StorageOptions = STORAGE_OPTIONS
    """Where what is stored is, and its keys."""
    pictures: PictureOptions = PICTURE_OPTIONS
    """Thumbnails, posters and storyboards, which an API process makes when they are asked for."""
    playback: PlaybackOptions = PLAYBACK_OPTIONS
    """HLS, for which an API process repacks videos when they are asked for."""
    jobs: JobOptions = JOB_OPTIONS
    """How workers work."""
    graph: GraphOptions = GRAPH_OPTIONS
    """Where the graph's gateway is, for the API."""
    limits: LimitOptions = LIMIT_OPTIONS
    """How many requests are taken, over all processes together."""
    audit: AuditOptions = AUDIT_OPTIONS
    """What is kept of who did what."""
    cleaning: CleaningOptions = CLEANING_OPTIONS
    """How long what is over is kept before the worker tidies it up."""
    auth: AuthOptions = AUTH_OPTIONS
    """How people sign in, and for how long."""
    client: ClientOptions = CLIENT_OPTIONS
    """Whom the commands that use a server speak to."""


DEFAULTS = Settings()


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where each comes from."""

    settings: Settings
    given: Mapping[str, Origin]
    """Name of a setting (`input.max_pixels`) -> where it was set; those that are not in it have their default."""
    file: Path | None


def names() -> Iterator[tuple[str, msgspec.structs.FieldInfo]]:
    """Every setting: its name, `section.field`, and the field."""
    for section, record in _sections().items():
        for field in msgspec.structs.fields(record):
            yield f"{section}.{field.name}", field


def is_secret(field: msgspec.structs.FieldInfo) -> bool:
    """Whether the value is shown to nobody, and may be in a file that `<variable>_FILE` names."""
    meta = get_args(field.type)[1] if get_origin(field.type) is Annotated else msgspec.Meta()
    return bool((meta.extra or {}).get("secret"))


def variable(name: str) -> str:
    """The environment variable of a setting: `input.max_pixels` -> AUTOMATIONS_INPUT__MAX_PIXELS."""
    return PREFIX + name.replace(".", NESTED).upper()


def figure(value: object) -> str:
    """A value as people read it."""
    return str(value) if isinstance(value, str) else f"{value:,}"


def load() -> Loaded:
    """Read the environment and the file.

    Raises:
        InvalidSettings: a name that is not known, or a value that cannot be; says which, where, and what may be meant.
    """
    _refuse_unknown_variables()
    file = Path(os.environ[CONFIG]) if os.environ.get(CONFIG) else None
    in_file = _read(file) if file else {}
    in_environment = _environment()
    values = {section: in_file.get(section, {}) | in_environment.get(section, {}) for section in _sections()}
    given: dict[str, Origin] = dict.fromkeys(_flat(in_file), "file")
    given |= dict.fromkeys(_flat(in_environment), "environment")

    def where(name: str) -> str:
        return f"{file}: {name}" if given.get(name) == "file" else variable(name)

    settings = _validated(values, where)
    # What it holds would be shown: it is looked at before anybody can.
    address(settings.storage.url, settings.storage.endpoint)
    return Loaded(settings, MappingProxyType(given), file)


def _sections() -> dict[str, type[Record]]:
    return {field.name: field.type for field in msgspec.structs.fields(Settings)}


def _flat(values: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [f"{section}.{field}" for section, fields in values.items() for field in fields]


def _refuse_unknown_variables() -> None:
    secret = [variable(name) + IN_FILE for name, field in names() if is_secret(field)]
    known = [CONFIG, *(variable(name) for name, _ in names()), *secret]
    for name, value in os.environ.items():
        ours = name.upper().startswith(PREFIX) and not _SERVICE_LINK.search(name) and not _SERVICE_URL.match(value)
        if ours and name not in known:
            raise InvalidSettings(f"{name}: there is no such setting{_nearest(name.upper(), known, PREFIX)}")


def _read(file: Path) -> dict[str, dict[str, Any]]:
    """The sections of a file, all of whose names are known."""
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidSettings(f"{CONFIG}: {file} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InvalidSettings(f"{file}: no TOML file ({error})") from error
    known = [name for name, _ in names()]
    for section, values in content.items():
        if section not in _sections():
            raise InvalidSettings(f"{file}: there is no section [{section}]{_nearest(section, [*_sections()])}")
        if not isinstance(values, dict):
            raise InvalidSettings(f"{file}: {section} has to be a section: [{section}]")
        for name in _flat({section: values}):
            if name not in known:
                raise InvalidSettings(f"{file}: there is no setting {name}{_nearest(name, known)}")
    return content


def _nearest(name: str, known: list[str], prefix: str = "") -> str:
    """What to do about an unknown name, all of which begin with `prefix`, which says nothing about which is near."""
    close = difflib.get_close_matches(name.removeprefix(prefix), [one.removeprefix(prefix) for one in known], 1)
    return f"; is {prefix}{close[0]} meant?" if close else "; docs/settings.md lists them all"


def _environment() -> dict[str, dict[str, Any]]:
    from pydantic_settings import EnvSettingsSource

    found = EnvSettingsSource(_model())()
    for name, field in names():
        file = os.environ.get(variable(name) + IN_FILE) if is_secret(field) else None
        if file is not None:
            section, _, own = name.partition(".")
            # pydantic-settings takes it for a setting of its own.
            found.setdefault(section, {}).pop((own + IN_FILE).lower(), None)
            found[section][own] = _secret(variable(name) + IN_FILE, Path(file))
    return found


def _secret(name: str, file: Path) -> str:
    """What a file holds, without the line's end that editors leave."""
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"{name}: {file} cannot be read") from error


def _validated(values: dict[str, dict[str, Any]], where) -> Settings:
    """Settings of these values; `where` says, by name, where somebody can change one."""
    from pydantic import ValidationError

    secret = [name for name, field in names() if is_secret(field)]
    try:
        model = _model()(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][:2])
        what = first["msg"].removeprefix("Value error, ").removeprefix("Input ").partition(", ")[0]
        value = "its value" if name in secret else f"{first['input']!r:.80}"
        raise InvalidSettings(f"{where(name)}: {value} {what}") from None
    return msgspec.convert(model.model_dump(), Settings)


def _model():
    """The sections as pydantic-settings reads and checks them, made of the records. Importing it takes half a second,
    which `--help` does without."""
    from pydantic import BeforeValidator, ConfigDict, Field, create_model
    from pydantic_settings import BaseSettings, SettingsConfigDict

    strict = ConfigDict(extra="forbid", allow_inf_nan=False)

    def section(record: type[Record]):
        fields: dict[str, Any] = {}
        for field in msgspec.structs.fields(record):
            kind, meta = get_args(field.type) if get_origin(field.type) is Annotated else (field.type, msgspec.Meta())
            lengths: dict[str, Any] = (
                {"min_length": meta.min_length, "max_length": meta.max_length} if kind is str else {}
            )
            checked = Field(default=field.default, gt=meta.gt, ge=meta.ge, lt=meta.lt, le=meta.le, **lengths)
            fields[field.name] = (Annotated[kind, BeforeValidator(_no_truth)], checked)
        return create_model(record.__name__, __config__=strict, **fields)

    class Model(BaseSettings):
        model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter=NESTED, extra="forbid")

        @classmethod
        def settings_customise_sources(cls, settings_cls, init_settings, **_: Any):
            # The sources are read one by one, so that each value is known by where it comes from.
            return (init_settings,)

    sections: dict[str, Any] = {name: (section(record), ...) for name, record in _sections().items()}
    return create_model("Model", __base__=Model, **sections)


def _no_truth(value: Any) -> Any:
    """No setting is `true`, though Python takes that for a number."""
    if isinstance(value, bool):
        raise ValueError("should be a number or a text")
    return value
