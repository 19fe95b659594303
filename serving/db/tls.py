"""TLS towards PostgreSQL: on another host, the server's certificate is verified, unless the URL says otherwise.

What a URL says is what libpq's mean by it: `sslmode`, `sslrootcert`, `sslcert`, `sslkey`; and so do the
variables of the environment that stand for what it does not say (`PGHOST`, `PGSSLMODE`, `PGSSLROOTCERT`).
"""

import os
import ssl
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from serving.errors import DatabaseMisconfigured

#: What `sslmode` says where it says that the certificate is verified, and that its name is the host's.
VERIFIED: Final = "verify-full"

#: All that it may say.
MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", VERIFIED)

#: What can be done where a server has no TLS, or a certificate that nobody here knows.
REMEDY: Final = (
    "set up TLS there, name the certificate that signed its own by `sslrootcert=FILE` in server.database_url, or say "
    "`sslmode=disable` there where nobody else is on the network between the two"
)


def secured(url: str) -> str:
    """The URL as the driver takes it, with what is wanted of TLS: of a server on another host, that its certificate is
    verified. Where the URL says which certificates sign others, by those, otherwise by the user's or the system's.
    Again, it stays as it is.

    Raises:
        DatabaseMisconfigured: an option is said twice, or is none of libpq's.
    """
    scheme, _, rest = url.partition("://")
    # A name of SQLAlchemy's that people copy along; drivers do not know it.
    url = f"{scheme.partition('+')[0]}://{rest}"
    parsed = _parsed(url)
    mode = _mode(parsed)
    if mode is None and not _elsewhere(parsed):
        return url
    wanted = {"sslmode": mode or VERIFIED}
    root = _option(parsed, "sslrootcert", "PGSSLROOTCERT") or ""
    if wanted["sslmode"].startswith("verify") and root in ("", "system"):
        wanted["sslrootcert"] = _authorities(own=not root)
    return parsed.update_query_dict(wanted).render_as_string(hide_password=False)


def weakness(url: str) -> str | None:
    """What is wrong with how the database is spoken to, in a few words; None where nothing is. Raises as `secured`."""
    parsed = _parsed(url)
    mode = _mode(parsed) or VERIFIED
    if not _elsewhere(parsed) or mode == VERIFIED:
        return None
    return (
        f"{_host(parsed) or 'the database'} is spoken to with sslmode={mode}, so whoever is on the network between may "
        + ("be it" if mode in ("require", "verify-ca") else "read and change what it says")
    )


def untrusted(error: BaseException) -> bool:
    """Whether there is no TLS where it was wanted, or with a certificate that is not believed."""
    return isinstance(error, ssl.SSLCertVerificationError) or "rejected SSL upgrade" in str(error)


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise DatabaseMisconfigured(
            "server.database_url cannot be read; it looks like postgresql://user:password@host/name, where characters "
            "of the password that URLs need themselves are written as %40 and the like"
        ) from None
    if twice := [name for name, value in parsed.query.items() if not isinstance(value, str)]:
        raise DatabaseMisconfigured(f"server.database_url says {', '.join(twice)} more than once; say it once")
    if "ssl" in parsed.query:
        raise DatabaseMisconfigured(
            "server.database_url says ssl=, which is none of libpq's options; say sslmode= there"
        )
    mode = _mode(parsed)
    if mode is not None and mode not in MODES:
        raise DatabaseMisconfigured(f"sslmode={mode} is none of {', '.join(MODES)}: see server.database_url, PGSSLMODE")
    return parsed


def _option(url: URL, name: str, variable: str) -> str | None:
    said = url.query.get(name, os.environ.get(variable))
    return None if said is None else str(said)


def _mode(url: URL) -> str | None:
    return _option(url, "sslmode", "PGSSLMODE")


def _host(url: URL) -> str:
    """Whom the driver asks, in its order: several have commas between them. Empty: a socket, or what a file says."""
    return url.host or _option(url, "host", "PGHOST") or ""


def _elsewhere(url: URL) -> bool:
    """Whether what is said leaves this machine. A socket does not, nor does loopback. A service, which a file of the
    user's says the host of, is taken to be elsewhere; towards a socket, the driver asks for no TLS."""
    if not url.host and not url.query.get("host") and _option(url, "service", "PGSERVICE"):
        return True
    return any(not _here(host) for host in _host(url).split(","))


def _here(host: str) -> bool:
    if host in ("", "localhost") or host.startswith(("/", "@")):
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _authorities(*, own: bool) -> str:
    """The file of certificates that the system believes; with `own`, the user's before it, where there is one."""
    theirs = Path.home() / ".postgresql" / "root.crt"
    if own and theirs.is_file():
        return str(theirs)
    system = ssl.get_default_verify_paths().cafile
    if system and Path(system).is_file():
        return system
    import certifi

    return certifi.where()
