"""One request that holds a whole video: as a body, as a form, under a name; streamed, whatever it says it is."""

import asyncio
import hashlib
import subprocess
import tracemalloc
from http.client import HTTPConnection
from urllib.parse import quote, urlencode, urlsplit

import httpx
import pytest

from serving.db.database import Database
from serving.errors import InvalidRequest
from serving.uploads import form, receive
from tests.serving.sealing import kept_in

URL = "/v1/videos"


def _form(*parts: tuple[str, bytes], end: bytes = b"--limit--\r\n") -> bytes:
    return b"".join(b"--limit\r\n" + head.encode() + b"\r\n\r\n" + data + b"\r\n" for head, data in parts) + end


def _file(data: bytes, name: str = "film.mp4") -> tuple[str, bytes]:
    kind = f'Content-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: text/html'
    return kind, data


def _field(name: str, value: str) -> tuple[str, bytes]:
    return f'Content-Disposition: form-data; name="{name}"', value.encode()


FORM = {"Content-Type": "multipart/form-data; boundary=limit"}


def _sent(api, body: bytes, **headers: str):
    def chunks():
        # Of all sizes, so that boundaries are cut.
        at, size = 0, 1
        while at < len(body):
            yield body[at : at + size]
            at, size = at + size, size % 977 + 13

    return api.a.http.post(URL, content=chunks(), headers=FORM | headers)


def test_a_form_with_a_file(api, film):
    answer = _sent(api, _form(_field("title", "Köln"), _file(film, "ä.mp4")))
    assert answer.status_code == 201, answer.text
    video = answer.json()
    assert (video["title"], video["filename"]) == ("Köln", "ä.mp4")
    assert (video["size_bytes"], video["sha256"]) == (len(film), hashlib.sha256(film).hexdigest())
    assert kept_in(api.url, api.store, f"videos/{video['id']}") == film
    # As the same bytes in any other way.
    assert api.a.http.post(URL, content=film).json()["id"] == video["id"]
    assert api.a.http.post(URL, files={"file": film}).status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (_form(), 400),
        (_form(_field("title", "x")), 400),
        (_form(_field("other", "x"), _file(b"x")), 400),
        (_form(_field("title", "x" * 501), _file(b"x")), 400),
        (_form(_file(b"x" * 3000)), 422),
        (_form(_file(b"")), 422),
        (b"nonsense", 400),
        (b"--limit\r\n" * 20, 400),
    ],
)
def test_forms_that_are_not_taken(shared, body, status):
    answer = _sent(shared, body)
    assert answer.status_code == status, answer.text
    assert shared.files() == []


def test_broken_forms_keep_nothing(api, film):
    for broken in (
        _form(_file(film), _field("title", "late")),
        _form(_file(film), _file(film)),
        _form(_file(film), end=b""),
        _form(_file(film))[:-4000],
    ):
        answer = _sent(api, broken)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request"), answer.text
    without = api.a.http.post(URL, content=_form(_file(film)), headers={"Content-Type": "multipart/form-data"})
    assert without.status_code == 400
    assert _sent(api, _form(_file(film + bytes(1 << 20)))).status_code == 413
    assert (api.files(), api.sql("SELECT id FROM video")) == ([], [])


def test_nothing_of_a_form_is_held():
    import asyncio

    size = 64 << 20

    async def body():
        chunk = bytes(1 << 20)

        async def sent():
            yield _form(_file(b""), end=b"")[:-2]
            for _ in range(size >> 20):
                yield chunk
            yield b"\r\n--limit--\r\n"

        found = await form.opened(sent(), FORM["Content-Type"])
        tracemalloc.start()
        total = 0
        async for part in found.chunks:
            total += len(part)
        return total, tracemalloc.get_traced_memory()[1]

    try:
        total, peak_bytes = asyncio.run(body())
    finally:
        tracemalloc.stop()
    assert total == size
    assert peak_bytes < 8 << 20


def test_curl(api, film, tmp_path):
    """As people do it: a form, a file under a name, and a body that says it is a form's fields."""
    file = tmp_path / "my film.mp4"
    file.write_bytes(film)
    base = str(api.a.http.base_url).rstrip("/")
    ids = set()
    for how in (
        ("-F", f"file=@{file}", f"{base}/v1/videos"),
        ("-T", str(file), f"{base}/v1/videos/files/"),
        ("--data-binary", f"@{file}", f"{base}/v1/videos?filename=x"),
        ("--data-binary", f"@{file}", "-H", "Content-Type: text/html", f"{base}/v1/videos"),
    ):
        command = ("curl", "-sS", "--fail-with-body", "-H", f"Authorization: Bearer {api.a.key}", *how)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        ids.add(done.stdout[: done.stdout.index(",")])
    assert len(ids) == 1
    assert api.sql("SELECT filename FROM video") == [("my film.mp4",)]


def test_put_under_a_name(api, film):
    made = api.a.http.put(f"{URL}/files/a%20b.mp4?title=T", content=film)
    assert (made.status_code, made.json()["filename"], made.json()["title"]) == (201, "a b.mp4", "T")
    assert made.headers["Location"] == f"/v1/videos/{made.json()['id']}"
    assert api.a.http.put(f"{URL}/files/other.mp4", content=film).status_code == 200
    assert api.a.http.put(f"{URL}/files/x", content=b"").status_code == 400
    assert api.a.http.put(f"{URL}/files/x", content=b"no video").status_code == 422


@pytest.mark.parametrize("sign", ["\n", "\x1b", "\x7f", "\x9f", "\0"])
def test_names_that_do_something_are_refused_before_a_byte_is_read(api, film, sign):
    name = f"a{sign}b"

    def refused(answer) -> None:
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request"), answer.text
        assert answer.json()["errors"]

    for query in ({"title": name}, {"filename": name}, {"title": f"a{sign}"}):
        refused(_asked(api, "POST", "/v1/videos?" + urlencode(query)))
    refused(_asked(api, "PUT", "/v1/videos/files/" + quote(name)))
    refused(api.a.http.post("/v1/uploads/url", json={"url": "https://example.com/x.mp4", "title": name}))
    refused(api.a.http.post("/v1/uploads/url", json={"url": "https://example.com/x.mp4", "filename": name}))
    refused(_sent(api, _form(_field("title", name), _file(film))))
    if sign not in "\n\0":
        refused(_sent(api, _form(_file(film, name))))
    assert api.files() == []
    video = api.a.http.post("/v1/videos?title=Ein%20Sch%C3%B6ner&filename=%F0%9F%8E%AC.mp4", content=film).json()
    assert (video["title"], video["filename"]) == ("Ein Schöner", "🎬.mp4")
    refused(api.a.http.patch(f"/v1/videos/{video['id']}", json={"title": name}))


def _asked(api, method: str, path: str):
    """The answer to a request whose body never comes."""
    where = urlsplit(str(api.a.http.base_url))
    connection = HTTPConnection(where.hostname, where.port, timeout=10)
    connection.putrequest(method, path)
    for header in (("Authorization", f"Bearer {api.a.key}"), ("Content-Length", "1000000")):
        connection.putheader(*header)
    connection.endheaders()
    answer = connection.getresponse()
    found = httpx.Response(answer.status, content=answer.read())
    connection.close()
    return found


def test_what_cannot_be_kept_leaves_no_object(shared, film):
    async def body() -> None:
        database = Database(shared.url, pool_size=1)

        async def chunks():
            yield film

        try:
            with pytest.raises(InvalidRequest, match="zero character"):
                await receive.whole(database, shared.store, "a", chunks(), title="a\0b")
        finally:
            await database.close()

    asyncio.run(body())
    assert shared.files() == []
