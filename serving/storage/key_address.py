"""Which master key a setting names: its digits, or where a service has it. Loads nothing: every command reads it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from pipeline.errors import InvalidSettings

_DIGITS: Final = re.compile(r"[0-9a-fA-F]{64}")
_ARN: Final = re.compile(r"arn:aws[a-z-]*:kms:(?P<region>[a-z0-9-]+):[0-9]{12}:key/(?P<key>[A-Za-z0-9-]+)")
_KEY_ID: Final = re.compile(r"[A-Za-z0-9-]{1,128}")
_REGION: Final = re.compile(r"[a-z]{2,}(-[a-z0-9]+)+")
_PATH: Final = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)+")

_AWS: Final = "aws-kms://KEY?region=REGION"
_VAULT: Final = "vault://HOST:PORT/transit/KEY"
_FORMS: Final = f"64 hexadecimal digits (make some with `openssl rand -hex 32`), {_AWS} or {_VAULT}"

#: Where nobody listens in on plain http.
_HERE: Final = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class AwsKey:
    """A key of AWS KMS, or of a server that speaks its protocol."""

    key: str
    """Its id, which is the same in all regions that a key is in."""
    region: str
    asked_as: str
    """What requests name it by: the id, or the ARN where it was given."""
    endpoint: str = ""
    """Of a server that is not the service's own; empty for that."""

    @property
    def name(self) -> str:
        """As a master key; it is written beside what it wraps."""
        return f"aws-kms:{self.key}"

    def __str__(self) -> str:
        return f"{self.name} in {self.region}{f', at {self.endpoint}' if self.endpoint else ''}"


@dataclass(frozen=True, slots=True)
class VaultKey:
    """A key of the transit engine of HashiCorp Vault, or of OpenBao."""

    server: str
    """`https://host:port`."""
    mount: str
    """Where the engine is: `transit`."""
    key: str
    token_file: str = ""
    """The file with the token; empty for what VAULT_TOKEN has."""
    ca_file: str = ""
    """The file with who signs the server's certificate; empty for those that the system knows."""
    namespace: str = ""

    @property
    def name(self) -> str:
        """As a master key. Without the server, which may move."""
        return f"vault:{self.namespace}{'/' if self.namespace else ''}{self.mount}/{self.key}"

    def __str__(self) -> str:
        return f"{self.name} at {self.server}"


MasterKey = bytes | AwsKey | VaultKey
"""[32] The key itself, or where it is."""


def master_key(name: str, value: str) -> MasterKey:
    """What a setting says.

    Args:
        name: of the setting, or the file, that it was found in.

    Raises:
        InvalidSettings: it names no key that is known here, or half of one. What it is, is not said.
    """
    if _DIGITS.fullmatch(value):
        return bytes.fromhex(value)
    scheme = value.partition("://")[0]
    if not value.isprintable() or scheme not in ("aws-kms", "vault", "vault+http"):
        raise InvalidSettings(f"{name}: a master key is {_FORMS}")
    rest, _, asked = value.partition("://")[2].partition("?")
    try:
        options = dict(parse_qsl(asked, strict_parsing=True, keep_blank_values=True)) if asked else {}
    except ValueError:
        raise InvalidSettings(f"{name}: what is behind `?` has to be option=value&option=value") from None
    return _aws(name, rest, options) if scheme == "aws-kms" else _vault(name, scheme, rest, options)


def _aws(name: str, rest: str, options: Mapping[str, str]) -> AwsKey:
    _require_known(name, options, ("region", "endpoint"))
    arn = _ARN.fullmatch(rest)
    if "alias/" in rest:
        raise InvalidSettings(
            f"{name}: an alias may be another key tomorrow, and what was wrapped says by which it was; name the key by "
            "its id or ARN (`aws kms describe-key --key-id alias/...` prints them)"
        )
    if arn is None and not _KEY_ID.fullmatch(rest):
        raise InvalidSettings(f"{name}: it has to name a key by its id or ARN: {_AWS}")
    region, endpoint = options.get("region", arn["region"] if arn else ""), options.get("endpoint", "")
    if not _REGION.fullmatch(region):
        raise InvalidSettings(f"{name}: it has to say in which region the key is: {_AWS}")
    if arn and arn["region"] != region:
        raise InvalidSettings(f"{name}: the ARN is of another region than the one that `region` names; leave that out")
    if endpoint:
        _require_server(f"{name}: endpoint", endpoint)
    return AwsKey(arn["key"] if arn else rest, region, rest, endpoint)


def _vault(name: str, scheme: str, rest: str, options: Mapping[str, str]) -> VaultKey:
    _require_known(name, options, ("token", "ca", "namespace"))
    host, _, path = rest.partition("/")
    server = f"{'http' if scheme == 'vault+http' else 'https'}://{host}"
    _require_server(name, server)
    if not _PATH.fullmatch(path) or ".." in path:
        raise InvalidSettings(f"{name}: it has to name where the transit engine is, and a key of it: {_VAULT}")
    mount, _, key = unquote(path).rpartition("/")
    namespace = options.get("namespace", "").strip("/")
    return VaultKey(server, mount, key, options.get("token", ""), options.get("ca", ""), namespace)


def _require_known(name: str, options: Mapping[str, str], known: tuple[str, ...]) -> None:
    if unknown := [option for option in options if option not in known]:
        # Only what looks like a name of ours is said.
        said = unknown[0] if re.fullmatch(r"[a-z_]{1,20}", unknown[0]) else "one of them"
        raise InvalidSettings(
            f"{name}: there is no such option ({said}); there are {', '.join(known)}. Credentials do not belong in it: "
            "they are read from where the service's own tools read them, see docs/security.md"
        )
    if empty := [option for option, value in options.items() if not value]:
        raise InvalidSettings(f"{name}: {empty[0]} is empty; say it, or leave it out")


def _require_server(name: str, url: str) -> None:
    """Keys travel there as they are: nobody may listen in."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
        good = good and not parts.path.strip("/") and not any(sign in url for sign in "@?# ")
    except ValueError:
        raise InvalidSettings(f"{name}: it has to name a server: https://host:port") from None
    if not good:
        raise InvalidSettings(f"{name}: it has to name a server, without credentials: https://host:port")
    if parts.scheme == "http" and parts.hostname not in _HERE:
        raise InvalidSettings(
            f"{name}: keys would travel for all to read; https it has to be, http is for this machine"
        )
