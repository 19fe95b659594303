"""Reading a URL: redirects are followed and checked, sizes and times bounded, names verified."""

import asyncio
import datetime
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from serving.egress import Egress
from serving.errors import AddressRefused, FetchFailed
from tests.serving.webhooks.receiver import LOOPBACK, receiving


async def _here(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


async def _read(url: str, max_bytes: int = 100, timeout_s: float = 5.0, egress: Egress | None = None) -> bytes:
    async with (egress or Egress(allowed=LOOPBACK)).fetch(url, max_bytes=max_bytes, timeout_s=timeout_s) as fetched:
        return b"".join([chunk async for chunk in fetched.chunks])


def _redirect(to: str) -> bytes:
    return f"HTTP/1.1 302 X\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n".encode()


def test_redirects_are_followed():
    async def body():
        async with receiving(lambda asked: 200 if asked.path == "/film" else _redirect("/film")) as receiver:
            async with Egress(allowed=LOOPBACK).fetch(receiver.url, max_bytes=9, timeout_s=5) as fetched:
                assert fetched.url.endswith("/film")
                assert fetched.headers["content-length"] == "2"
                assert b"".join([chunk async for chunk in fetched.chunks]) == b"ok"
            assert [asked.path for asked in receiver.asked] == ["/hook", "/film"]

    asyncio.run(body())


@pytest.mark.parametrize(
    "to",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]:{port}/",
        "http://localhost:{port}/",
        "//10.0.0.1/",
        "http://u:p@93.184.215.14/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:{port}/",
    ],
)
def test_redirects_are_checked(to):
    async def body():
        # Everything but 127.0.0.1 itself is refused as ever.
        async with receiving() as canary:
            async with receiving(lambda _: _redirect(to.replace("{port}", str(canary.port)))) as receiver:
                with pytest.raises(AddressRefused):
                    await _read(receiver.url, egress=Egress(allowed=frozenset({"127.0.0.1/32"}), resolve=_six))
            assert canary.connections == 0

    asyncio.run(body())


async def _six(host: str, port: int) -> list[str]:
    return ["::1"] if host == "localhost" else [host]


@pytest.mark.parametrize("to", ["/again", "", "http://["])
def test_redirects_end(to):
    async def body():
        async with receiving(lambda _: _redirect(to)) as receiver:
            with pytest.raises((FetchFailed, AddressRefused)):
                await _read(receiver.url)
            assert len(receiver.asked) <= 6

    asyncio.run(body())


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 X\r\ncontent-length: 101\r\n\r\n" + b"x" * 101,
        b"HTTP/1.1 200 X\r\n\r\n" + b"x" * 10_000,
        b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n" + b"64\r\n" + b"x" * 100 + b"\r\n1\r\nx\r\n0\r\n\r\n",
        b"HTTP/1.1 200 X\r\ncontent-length: 50\r\n\r\nonly this",
        b"HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
        None,
    ],
)
def test_what_is_too_much_or_breaks_off_is_an_error(answer):
    async def body():
        async with receiving(lambda _: answer) as receiver:
            with pytest.raises(FetchFailed):
                await _read(receiver.url)

    asyncio.run(body())


def test_it_ends_in_time():
    async def body():
        async def slowly(asked):
            await asyncio.sleep(3)

        async with receiving(slowly) as receiver:
            async with asyncio.timeout(2):
                with pytest.raises(FetchFailed):
                    await _read(receiver.url, timeout_s=0.2)

    asyncio.run(body())


def test_a_time_limit_of_the_readers_own_stays_theirs():
    async def body():
        async with receiving() as receiver:
            with pytest.raises(TimeoutError):
                async with Egress(allowed=LOOPBACK).fetch(receiver.url, max_bytes=9, timeout_s=5):
                    raise TimeoutError

    asyncio.run(body())


def _certificate(name: str, folder) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For a server of this name, and for who trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    whose = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(whose, whose, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (folder / "both.pem").write_bytes(
        pem
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "both.pem")
    return server, ssl.create_default_context(cadata=pem.decode())


def test_the_name_is_verified_though_the_address_is_pinned(tmp_path):
    server, trust = _certificate("receiver.example.com", tmp_path)
    named = []
    server.sni_callback = lambda _, name, __: named.append(name)

    async def body():
        async with receiving(tls=server) as receiver:
            egress = Egress(allowed=LOOPBACK, resolve=_here, trust=trust)
            there = f"https://receiver.example.com:{receiver.port}/"
            assert (await egress.post(there, b"x", {}, timeout_s=5)).status == 200
            assert receiver.asked[0].headers["host"] == f"receiver.example.com:{receiver.port}"
            for wrong in (f"https://other.example.com:{receiver.port}/", receiver.url.replace("http:", "https:")):
                with pytest.raises(FetchFailed):
                    await egress.post(wrong, b"x", {}, timeout_s=5)
            with pytest.raises(FetchFailed):
                await Egress(allowed=LOOPBACK, resolve=_here).post(there, b"x", {}, timeout_s=5)
            assert len(receiver.asked) == 1

    asyncio.run(body())
    assert named[:2] == ["receiver.example.com", "other.example.com"]


def test_nothing_is_read_in_the_clear_that_was_asked_for_under_tls(tmp_path):
    server, trust = _certificate("receiver.example.com", tmp_path)

    async def body():
        async with receiving() as plain, receiving(lambda _: _redirect(plain.url), tls=server) as receiver:
            egress = Egress(allowed=LOOPBACK, resolve=_here, trust=trust)
            with pytest.raises(FetchFailed):
                await _read(f"https://receiver.example.com:{receiver.port}/", egress=egress)
            assert plain.connections == 0

    asyncio.run(body())
