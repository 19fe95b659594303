"""A database on another host is spoken to under TLS, with a certificate that is verified.

PostgreSQL as it is embedded is built without TLS. So it is reached as one behind a pooler would be: by something that
answers the request for TLS and hands all else on.
"""

import asyncio
import contextlib
import datetime
import ipaddress
import logging
import socket
import ssl
import struct
import threading
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy.engine import make_url

from serving.db import migrate, tls
from serving.db.pool import Line
from serving.db.waiting import reached
from serving.doctor import examine_database
from serving.errors import DatabaseMisconfigured
from serving.places import there
from serving.settings import DEFAULTS
from tests.serving.jobs.conftest import url

__all__ = ["url"]

#: Leads to this machine, and is no loopback address.
HOST = "0.0.0.0"

_REQUEST = struct.pack("!II", 8, 80877103)


def _certificate(folder, host: str):
    """A key and a certificate that it signed itself, for a host; its file."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "db")])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(1)
    built = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
    made = built.add_extension(names, critical=False).sign(key, hashes.SHA256())
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    file = folder / f"{host}.pem"
    file.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + made.public_bytes(pem))
    return file


def _hand_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def _serve(client: socket.socket, behind: str, certificate) -> None:
    """One connection; without a certificate, it is said that there is no TLS."""
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        stack.enter_context(client)
        begun = client.recv(8, socket.MSG_WAITALL)
        if begun == _REQUEST:
            client.sendall(b"N" if certificate is None else b"S")
            begun = b""
            if certificate is not None:
                context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                context.load_cert_chain(certificate)
                client = stack.enter_context(context.wrap_socket(client, server_side=True))
        database = stack.enter_context(socket.socket(socket.AF_UNIX))
        database.connect(behind)
        database.sendall(begun)
        back = threading.Thread(target=_hand_on, args=(database, client), daemon=True)
        back.start()
        _hand_on(client, database)
        back.join(5)


@contextlib.contextmanager
def elsewhere(url: str, certificate=None):
    """The same database on another host; the URL of that, without a word about TLS."""
    parsed = make_url(url)
    behind = f"{parsed.query['host']}/.s.PGSQL.{parsed.port or 5432}"
    with socket.create_server((HOST, 0)) as listening:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listening.accept()
                    threading.Thread(target=_serve, args=(client, behind, certificate), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        there = parsed.set(host=HOST, port=listening.getsockname()[1], query={})
        yield there.render_as_string(hide_password=False)
        listening.shutdown(socket.SHUT_RDWR)


async def _asked(url: str) -> None:
    """By each of the ways that connections are made in."""
    await reached(url)
    line = Line(tls.secured(url))
    assert [tuple(row) for row in await line.rows("SELECT 1")] == [(1,)]
    await line.close()


def test_what_a_url_wants():
    mine = ["postgresql://a@/b?host=/run/sockets", "postgresql://a:b@localhost/c", "postgresql://a@127.0.0.1:5433/c"]
    for one in (*mine, "postgresql://a@[::1]/c", "postgresql://a@db/c?sslmode=disable"):
        assert make_url(tls.secured(one)).query.get("sslmode", "none") in ("none", "disable")
    for one in (*mine, "postgresql://a@db.example.org/c", "postgresql://a@db/c?sslmode=verify-full"):
        assert tls.weakness(one) is None
    for one in ("postgresql://a:p%40ss@db.example.org/c", "postgresql://a:p%40ss@/c?host=/run/x,db"):
        wanted = make_url(tls.secured(one))
        assert (wanted.query["sslmode"], wanted.password) == ("verify-full", "p@ss")
        assert Path(str(wanted.query["sslrootcert"])).is_file()
        assert tls.secured(tls.secured(one)) == tls.secured(one)
    own = make_url(tls.secured("postgresql://a@db/c?sslrootcert=/my/ca.pem"))
    assert (own.query["sslmode"], own.query["sslrootcert"]) == ("verify-full", "/my/ca.pem")
    assert "sslmode=require" in (tls.weakness("postgresql://a@db/c?sslmode=require") or "")


def test_whom_the_driver_asks_counts_and_not_only_whom_the_url_names(monkeypatch):
    for name in ("PGHOST", "PGSERVICE", "PGSSLMODE", "PGSSLROOTCERT"):
        monkeypatch.delenv(name, raising=False)
    # Of two hosts, the driver takes the one before the path.
    for one in ("postgresql://a@db.example.org/c?host=/run/sockets", "postgresql:///c?service=far"):
        assert make_url(tls.secured(one)).query.get("sslmode") == "verify-full"
    assert "sslmode" not in tls.secured("postgresql:///c")
    monkeypatch.setenv("PGHOST", "/run/sockets")
    assert "sslmode" not in tls.secured("postgresql:///c")
    monkeypatch.setenv("PGHOST", "db.example.org")
    assert make_url(tls.secured("postgresql:///c")).query.get("sslmode") == "verify-full"
    assert "sslmode" not in tls.secured("postgresql://a@localhost/c")
    assert "db.example.org is spoken to" in (tls.weakness("postgresql:///c?sslmode=disable") or "")
    monkeypatch.delenv("PGHOST")
    monkeypatch.setenv("PGSERVICE", "far")
    assert make_url(tls.secured("postgresql:///c")).query.get("sslmode") == "verify-full"


def test_the_users_own_certificates_come_before_the_systems(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PGSSLROOTCERT", raising=False)
    one = "postgresql://a@db.example.org/c"
    systems = make_url(tls.secured(one)).query["sslrootcert"]
    theirs = tmp_path / ".postgresql" / "root.crt"
    theirs.parent.mkdir()
    theirs.write_text("")
    assert make_url(tls.secured(one)).query["sslrootcert"] == str(theirs)
    assert make_url(tls.secured(f"{one}?sslrootcert=system")).query["sslrootcert"] == systems


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("&ssl=require", "sslmode="),
        ("&sslmode=disable&sslmode=require", "more than once"),
        ("&sslmode=on", "none of disable"),
    ],
)
def test_what_is_no_option_is_told_by_its_name(url, query, says):
    """It would be told of as a database that is away, or not at all."""
    with pytest.raises(DatabaseMisconfigured, match=says):
        asyncio.run(reached(url + query))
    with pytest.raises(DatabaseMisconfigured, match=says):
        migrate.current(url + query)
    with pytest.raises(DatabaseMisconfigured, match="cannot be read"):
        tls.secured("postgresql://a:p@h:x/y")


def test_a_drivers_name_in_the_url_does_no_harm(url):
    named = url.replace("postgresql://", "postgresql+asyncpg://")
    asyncio.run(reached(named))
    assert migrate.current(named) == migrate.head()


def test_one_without_tls_is_refused_unless_that_is_said(url):
    with elsewhere(url) as away:
        with pytest.raises(DatabaseMisconfigured, match="sslrootcert"):
            asyncio.run(reached(away))
        with pytest.raises(Exception, match="rejected SSL"):
            migrate.current(away)
        asyncio.run(_asked(f"{away}?sslmode=disable"))
        assert migrate.current(f"{away}?sslmode=disable") == migrate.head()


def test_one_with_tls_is_believed_by_its_certificate(url, tmp_path):
    certificate = _certificate(tmp_path, HOST)
    with elsewhere(url, certificate) as away:
        with pytest.raises(DatabaseMisconfigured, match="certificate verify failed"):
            asyncio.run(reached(away))
        asyncio.run(_asked(f"{away}?sslrootcert={certificate}"))
        assert migrate.current(f"{away}?sslrootcert={certificate}") == migrate.head()
        asyncio.run(_asked(f"{away}?sslmode=require"))
    other = _certificate(tmp_path, "192.0.2.7")
    with elsewhere(url, other) as away, pytest.raises(DatabaseMisconfigured, match="not valid for"):
        asyncio.run(reached(f"{away}?sslrootcert={other}"))


def test_less_is_told(tmp_path, caplog):
    for query, told in (("", False), ("?sslmode=disable", True), ("?sslmode=prefer", True)):
        one = f"postgresql://automations:hidden@db.example.org/automations{query}"
        server = msgspec.structs.replace(DEFAULTS.server, data_dir=str(tmp_path), database_url=one)
        settings = msgspec.structs.replace(DEFAULTS, server=server)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            there(settings, one)
        (finding,) = examine_database(settings)
        assert (not finding.good, "db.example.org" in caplog.text) == (told, told)
        assert "hidden" not in caplog.text + finding.says
    assert examine_database(DEFAULTS) == []
