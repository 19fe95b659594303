"""What tus 1.0.0 demands, header by header and status by status; and uploads of one request beside it."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
import pytest

from tests.serving.uploads.conftest import BYTES, OPTIONS, TUS, checksum, encoded, until

NOWHERE = "/v1/uploads/upl_" + "0" * 26


def test_what_is_spoken_here(shared):
    path = shared.a.create(10)
    for where in ("/v1/uploads", path):
        # Whoever asks needs neither a key nor a version.
        said = httpx.options(str(shared.a.http.base_url).rstrip("/") + where)
        assert (said.status_code, said.content) == (204, b"")
        assert said.headers["Tus-Resumable"] == said.headers["Tus-Version"] == "1.0.0"
        assert said.headers["Tus-Max-Size"] == str(OPTIONS.max_bytes)
        wanted = {"creation", "creation-with-upload", "creation-defer-length", "checksum", "termination", "expiration"}
        assert set(said.headers["Tus-Extension"].split(",")) == wanted
        assert {"sha1", "sha256"} <= set(said.headers["Tus-Checksum-Algorithm"].split(","))


@pytest.mark.parametrize("version", [None, "0.2.2", "1.0.1", ""])
@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE"])
def test_another_version(shared, method, version):
    path = shared.a.create(10) if method != "POST" else "/v1/uploads"
    # The rest of the request is wrong, too: it is not looked at.
    headers = {"Upload-Offset": "nonsense"} | ({} if version is None else {"Tus-Resumable": version})
    answer = shared.a.http.request(method, path, headers=headers)
    assert (answer.status_code, answer.headers["Tus-Version"]) == (412, "1.0.0")
    if method != "HEAD":
        assert answer.json()["code"] == "protocol_version"
    if method != "POST":
        assert shared.a.record(path)["status"] == "waiting"


def test_an_upload_that_begins(shared):
    header = encoded(filename="ä.mp4", whatever="x") + ",empty"
    made = shared.a.http.post("/v1/uploads", headers=TUS | {"Upload-Length": "10", "Upload-Metadata": header})
    assert (made.status_code, made.headers["Tus-Resumable"], made.headers["Upload-Offset"]) == (201, "1.0.0", "0")
    left_s = (parsedate_to_datetime(made.headers["Upload-Expires"]) - datetime.now(UTC)).total_seconds()
    assert OPTIONS.expires_s - 60 < left_s <= OPTIONS.expires_s + 1
    found = shared.a.http.head(made.headers["Location"], headers=TUS)
    assert (found.status_code, found.headers["Upload-Length"], found.headers["Upload-Offset"]) == (200, "10", "0")
    assert found.headers["Upload-Metadata"] == header
    assert found.headers["Cache-Control"] == "no-store"
    assert "Upload-Defer-Length" not in found.headers
    assert shared.a.record(made.headers["Location"])["filename"] == "ä.mp4"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 400),
        ({"Upload-Length": "10", "Upload-Defer-Length": "1"}, 400),
        ({"Upload-Defer-Length": "0"}, 400),
        ({"Upload-Defer-Length": "2"}, 400),
        ({"Upload-Length": "-1"}, 400),
        ({"Upload-Length": "ten"}, 400),
        ({"Upload-Length": "1.5"}, 400),
        ({"Upload-Length": "0"}, 400),
        ({"Upload-Length": str(OPTIONS.max_bytes)}, 201),
        ({"Upload-Length": str(OPTIONS.max_bytes + 1)}, 413),
        ({"Upload-Length": "9" * 30}, 413),
        *(
            ({"Upload-Length": "10", "Upload-Metadata": wrong}, 400)
            for wrong in (
                "filename Zm9v,",
                ",",
                "filename Zm9v, filename Zm9v",
                "filename  Zm9v",
                "filename Zm9",
                "filename Zm9v!",
                "filename Zm9v Zm9v",
                "f\u00e4 Zm9v",
                "filename /w==",
                "filename AA==",
                encoded(filename="x" * 256),
                "x " + "A" * 9000,
            )
        ),
        ({"Upload-Length": "10", "Upload-Metadata": ""}, 201),
        ({"Upload-Length": "10", "Upload-Metadata": "filename Zm9v, empty ,other"}, 201),
    ],
)
def test_what_an_upload_may_be(shared, headers, status):
    made = shared.a.http.post("/v1/uploads", headers={k: v.encode("latin-1") for k, v in (TUS | headers).items()})
    assert made.status_code == status, made.text
    assert made.headers["Tus-Resumable"] == "1.0.0"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Upload-Offset": "1"}, 409),
        ({"Upload-Offset": "9" * 30}, 409),
        ({"Upload-Offset": "-1"}, 400),
        ({"Upload-Offset": "x"}, 400),
        ({"Content-Type": "video/mp4", "Upload-Offset": "0"}, 415),
        ({"Upload-Offset": "0", "Upload-Checksum": "crc32 AAAA"}, 400),
        ({"Upload-Offset": "0", "Upload-Checksum": "sha1 AAAA"}, 400),
        ({"Upload-Offset": "0", "Upload-Checksum": "sha1 *"}, 400),
        ({"Upload-Offset": "0", "Upload-Checksum": "sha1"}, 400),
        ({"Upload-Offset": "0", "Upload-Checksum": checksum(b"others")}, 460),
        ({"Upload-Offset": "0", "Upload-Length": "11"}, 400),
        ({}, 400),
    ],
)
def test_what_a_piece_may_be(shared, headers, status):
    path = shared.a.create(10)
    answer = shared.a.http.patch(path, headers=BYTES | headers, content=b"12345")
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    assert (shared.a.offset(path), shared.files()) == (0, [])


def test_more_than_there_is_room_for(shared):
    path = shared.a.create(10)
    assert shared.a.patch(path, 0, b"x" * 11).status_code == 413
    # Without a length that is said before.
    answer = shared.a.http.patch(path, headers=BYTES | {"Upload-Offset": "0"}, content=iter([b"x" * 6, b"x" * 6]))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert (shared.a.offset(path), shared.files()) == (0, [])
    answer = shared.a.http.post("/v1/uploads", headers=BYTES | {"Upload-Length": "3"}, content=b"four")
    assert answer.status_code == 413
    answer = shared.a.http.post("/v1/uploads", headers=TUS | {"Upload-Length": "9"}, content=b"four")
    assert answer.status_code == 415


def test_giving_up(api, film):
    path = api.a.create(len(film))
    api.a.patch(path, 0, film[:-1])
    assert len(api.files()) > 1
    gone = api.a.http.delete(path, headers=TUS)
    assert (gone.status_code, gone.headers["Tus-Resumable"], api.files()) == (204, "1.0.0", [])
    for answer in (
        api.a.http.head(path, headers=TUS),
        api.a.patch(path, len(film) - 1, film[-1:]),
        api.a.http.delete(path, headers=TUS),
    ):
        assert answer.status_code == 410
    assert api.a.record(path)["status"] == "canceled"
    completed = api.a.upload(film)["links"]["self"]
    assert api.a.http.delete(completed, headers=TUS).status_code == 409


def test_what_has_expired_is_gone_even_before_it_is_cleaned_up(api, film):
    path = api.a.create(len(film))
    api.a.patch(path, 0, film[:100])
    api.sql("UPDATE upload SET expires_at = now() - interval '1 s'")
    assert api.a.http.head(path, headers=TUS).status_code == 410
    late = api.a.patch(path, 100, film[100:])
    assert (late.status_code, late.json()["code"]) == (410, "gone")


def test_a_piece_puts_the_end_off(api, film):
    path = api.a.create(len(film))
    api.sql("UPDATE upload SET expires_at = now() + interval '60 s'")
    answer = api.a.patch(path, 0, film[:100])
    left_s = (parsedate_to_datetime(answer.headers["Upload-Expires"]) - datetime.now(UTC)).total_seconds()
    assert left_s > OPTIONS.expires_s - 60


def test_the_others_see_nothing_of_it(api, film):
    path = api.a.create(len(film))
    for stranger, where in ((api.b, path), (api.a, NOWHERE)):
        assert stranger.http.get(where).status_code == 404
        assert stranger.http.head(where, headers=TUS).status_code == 404
        assert stranger.patch(where, 0, film).status_code == 404
        assert stranger.http.delete(where, headers=TUS).status_code == 404
    assert api.b.http.get("/v1/uploads").json()["data"] == []
    assert (api.a.offset(path), api.files()) == (0, [])
    nobody = httpx.get(str(api.a.http.base_url).rstrip("/") + path)
    assert nobody.status_code == 401


def test_only_post_comes_through(api, film):
    path = api.a.create(len(film))

    def post(method: str, data: bytes = b"", **headers: str) -> httpx.Response:
        return api.a.http.post(path, headers=BYTES | {"X-HTTP-Method-Override": method} | headers, content=data)

    assert post("PATCH", film[:10], **{"Upload-Offset": "0"}).headers["Upload-Offset"] == "10"
    assert post("HEAD").headers["Upload-Offset"] == "10"
    assert post("PUT").status_code == 405
    assert post("DELETE").status_code == 204
    assert api.a.record(path)["status"] == "canceled"


def test_the_list(api):
    paths = [api.a.create(10) for _ in range(5)]
    api.a.http.delete(paths[0], headers=TUS)
    seen, cursor = [], {}
    while True:
        page = api.a.http.get("/v1/uploads", params={"limit": 2, "status": "waiting"} | cursor).json()
        seen += [entry["links"]["self"] for entry in page["data"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == paths[:0:-1]
    assert api.a.http.get("/v1/uploads", params={"cursor": "nonsense"}).status_code == 400


def test_one_request(api, film):
    first = api.a.http.post("/v1/videos", content=film, params={"filename": "film.mp4"})
    again = api.a.http.post("/v1/videos", content=film)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    assert api.a.upload(film)["video_id"] == first.json()["id"]
    assert api.files() == [f"videos/{first.json()['id']}"]


def test_one_request_that_is_no_video(shared):
    for body, status, code in (
        (b"", 400, "invalid_request"),
        (iter([b"", b""]), 422, "unsupported_container"),
        (b"Dear Sir or Madam,\n" * 100, 422, "unsupported_container"),
        (b"x" * (OPTIONS.max_bytes + 1), 413, "too_large"),
        (iter([b"\0\0\0\x20ftypisom" + b"x" * OPTIONS.max_bytes]), 413, "too_large"),
    ):
        answer = shared.a.http.post("/v1/videos", content=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    until(lambda: shared.files() == [])
