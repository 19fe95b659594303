"""TLS towards PostgreSQL: on another host, the server's certificate is verified, unless the URL says otherwise.

What a URL says is what libpq's mean by it: `sslmode`, `sslrootcert`, `sslcert`, `sslkey`.
"""

import os
import ssl
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL, make_url

#: What `sslmode` says where it says that the certificate is verified, and that its name is the host's.
VERIFIED: Final = "verify-full"

#: What can be done where a server has no TLS, or a certificate that nobody here knows.
REMEDY: Final = (
    "set up TLS there, name the certificate that signed its own by `sslrootcert=FILE` in server.database_url, or say "
    "`sslmode=disable` there where nobody else is on the network between the two"
)


def secured(url: str) -> str:
    """The URL with what is wanted of TLS: of a server on another host, that its certificate is verified. Where the URL
    says which certificates sign others, by those, otherwise by the system's. Again, it stays as it is."""
    parsed = make_url(url)
    mode = _mode(parsed)
    if mode is None and not _elsewhere(parsed):
        return url
    wanted = {"sslmode": mode or VERIFIED}
    root = str(parsed.query.get("sslrootcert", os.environ.get("PGSSLROOTCERT", "")))
    if wanted["sslmode"].startswith("verify") and root in ("", "system"):
        wanted["sslrootcert"] = _authorities()
    return parsed.update_query_dict(wanted).render_as_string(hide_password=False)


def weakness(url: str) -> str | None:
    """What is wrong with how the database is spoken to, in a few words; None where nothing is."""
    parsed = make_url(url)
    mode = _mode(parsed) or VERIFIED
    if not _elsewhere(parsed) or mode == VERIFIED:
        return None
    return f"{parsed.host} is spoken to with sslmode={mode}, so whoever is on the network between may " + (
        "be it" if mode in ("require", "verify-ca") else "read and change what it says"
    )


def untrusted(error: BaseException) -> bool:
    """Whether there is no TLS where it was wanted, or with a certificate that is not believed."""
    return isinstance(error, ssl.SSLCertVerificationError) or "rejected SSL upgrade" in str(error)


def _mode(url: URL) -> str | None:
    said = url.query.get("sslmode", os.environ.get("PGSSLMODE"))
    return None if said is None else str(said)


def _elsewhere(url: URL) -> bool:
    """Whether what is said leaves this machine. A socket does not, nor does loopback."""
    hosts = url.query.get("host", url.host or "")
    return any(not _here(host) for each in ([hosts] if isinstance(hosts, str) else hosts) for host in each.split(","))


def _here(host: str) -> bool:
    if host in ("", "localhost") or host.startswith(("/", "@")):
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _authorities() -> str:
    """The file of certificates that the system believes."""
    system = ssl.get_default_verify_paths().cafile
    if system and Path(system).is_file():
        return system
    import certifi

    return certifi.where()
