"""Where objects are, as the setting `storage.url` says it. Loads nothing: every command reads the settings."""

from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from pipeline.errors import InvalidSettings

Kind = Literal["file", "s3", "gs", "az"]

_FORMS: Final = "file:///folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix"


@dataclass(frozen=True, slots=True)
class Address:
    """A place for objects."""

    kind: Kind
    bucket: str
    """Or container; empty for a folder."""
    path: str
    """The folder, or what all keys begin with; without a slash at its end."""

    def __str__(self) -> str:
        return f"{self.kind}://{self.bucket}{'/' if self.bucket and self.path else ''}{self.path}"


def address(url: str, endpoint: str = "") -> Address | None:
    """What the settings `storage.url` and `storage.endpoint` name; None for the folder `objects` in the data folder.

    Raises:
        InvalidSettings: they name nothing that is known here, or have credentials in them. What they are is not said.
    """
    _require_endpoint(endpoint, bool(url))
    if not url:
        return None
    _require_no_secret("storage.url", url)
    try:
        parts = urlsplit(url)
        host = parts.netloc
    except ValueError:
        raise InvalidSettings(f"storage.url: it is none; {_FORMS}") from None
    path = unquote(parts.path)
    match parts.scheme:
        case "file":
            if host or not path.startswith("/") or path == "/" or endpoint:
                raise InvalidSettings("storage.url: a folder is file:///absolute/path, and needs no endpoint")
            return Address("file", "", path.rstrip("/"))
        case "s3" | "gs" | "az":
            if not host or ":" in host or ".." in path.split("/") or "//" in path:
                raise InvalidSettings(f"storage.url: it has to name a bucket, and what keys begin with: {_FORMS}")
            return Address(parts.scheme, host, path.strip("/"))
        case _:
            raise InvalidSettings(f"storage.url: it has to be one of {_FORMS}")


def _require_endpoint(endpoint: str, needed: bool) -> None:
    if not endpoint:
        return
    if not needed:
        raise InvalidSettings("storage.endpoint: it is that of storage.url, which is not set")
    _require_no_secret("storage.endpoint", endpoint)
    try:
        parts = urlsplit(endpoint)
        good = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        good = False
    if not good:
        raise InvalidSettings("storage.endpoint: it has to be http://host:port or https://host")


def _require_no_secret(name: str, url: str) -> None:
    """Neither `user:password@`, nor `?sig=...`: it would be shown with all other settings, and be in logs."""
    if any(sign in url for sign in "@?#") or not url.isprintable():
        raise InvalidSettings(
            f"{name}: credentials do not belong in it, nor anything behind `?`; they are read from the environment "
            "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and so on), see docs/storage.md"
        )
