"""Nothing of what is uploaded is on the disk as it came, at any time; and what is deleted is unreadable for good."""

import asyncio
from collections.abc import Callable

import pytest

from pipeline.errors import Altered, InputNotFound
from pipeline.media import LocalMedia
from serving.db.database import Database
from serving.storage.opening import opened
from serving.storage.store import part_at, video_at
from tests.serving.sealing import kept_in
from tests.serving.uploads.conftest import Api

BOUNDARY = "x"


def _form(api: Api, film: bytes) -> str:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="f.mp4"\r\n\r\n'.encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    body = head + film + f"\r\n--{BOUNDARY}--\r\n".encode()
    return api.a.http.post("/v1/videos", content=body, headers=headers).json()["id"]


def _body(api: Api, film: bytes) -> str:
    return api.a.http.post("/v1/videos", content=film).json()["id"]


def _pieces(api: Api, film: bytes) -> str:
    path, third = api.a.create(len(film)), len(film) // 3
    for at in range(0, len(film), third):
        _require_nothing_of(api, film)
        assert api.a.patch(path, at, film[at : at + third]).status_code == 204
    return api.a.record(path)["video_id"]


def _require_nothing_of(api: Api, film: bytes) -> None:
    windows = [film[at : at + 16] for at in range(0, len(film) - 16, 61)]
    for key in api.files():
        blob = api.blobs.read(key)
        assert not any(window in blob for window in windows), key


@pytest.mark.parametrize("upload", [_form, _body, _pieces])
def test_what_is_uploaded_is_on_the_disk_sealed_only(api, film, upload: Callable[[Api, bytes], str]):
    video_id = upload(api, film)
    assert api.files() == [f"videos/{video_id}"]
    _require_nothing_of(api, film)
    assert kept_in(api.url, api.store, f"videos/{video_id}") == film
    # Keys of parts are gone with them.
    keys = api.sql("SELECT object_key, video_id, upload_id FROM data_key")
    assert [tuple(row) for row in keys] == [(f"videos/{video_id}", video_id, None)]


def test_parts_that_wait_are_sealed_and_have_keys_of_their_own(api, film):
    path = api.a.create(len(film))
    api.a.patch(path, 0, film[:4000])
    api.a.patch(path, 4000, film[4000:9000])
    _require_nothing_of(api, film)
    rows = api.sql("SELECT object_key, upload_id, video_id FROM data_key")
    assert sorted(row.object_key for row in rows) == api.files()
    assert {(row.upload_id, row.video_id) for row in rows} == {(path.rpartition("/")[2], None)}
    assert api.a.http.delete(path, headers={"Tus-Resumable": "1.0.0"}).status_code == 204
    assert api.sql("SELECT object_key FROM data_key") == []


def test_a_part_that_was_changed_becomes_no_video(api, film):
    path = api.a.create(len(film))
    api.a.patch(path, 0, film[:9000])
    (key,) = api.files()
    blob = bytearray(api.blobs.read(key))
    blob[len(blob) // 2] ^= 1
    api.blobs.write(key, bytes(blob))
    answer = api.a.patch(path, 9000, film[9000:])
    assert answer.json()["code"] == "altered"
    assert api.a.record(path)["status"] == "errored"
    assert api.sql("SELECT id FROM video") == []


def test_the_same_bytes_again_leave_no_key(api, film):
    assert _body(api, film) == _body(api, film)
    assert len(api.sql("SELECT object_key FROM data_key")) == 1


def test_a_copy_of_a_deleted_video_is_unreadable(api, film):
    video_id = _body(api, film)
    object_key = f"videos/{video_id}"
    copy = api.blobs.read(object_key)
    assert _read(api, object_key) == len(film)
    assert api.a.http.delete(f"/v1/videos/{video_id}").status_code == 204
    assert api.sql("SELECT object_key FROM data_key") == []
    api.blobs.write(object_key, copy)
    with pytest.raises(InputNotFound, match="destroyed"):
        _read(api, object_key)


def test_objects_in_each_others_places_are_refused(api, film):
    one, other = _body(api, film), _body(api, film + b"\0\0\0\x08free")
    theirs = api.b.http.post("/v1/videos", content=film).json()["id"]
    files = {video: api.blobs.read(f"videos/{video}") for video in (one, other, theirs)}
    for there, blob in ((one, files[other]), (one, files[theirs]), (one, film), (other, files[other][:-1])):
        api.blobs.write(f"videos/{there}", blob)
        with pytest.raises(Altered):
            _read(api, f"videos/{there}")
        with pytest.raises(Altered):
            kept_in(api.url, api.store, f"videos/{there}")
    api.blobs.write(f"videos/{one}", files[one])
    assert _read(api, f"videos/{one}") == len(film)


def test_what_an_object_is_for_is_part_of_what_it_is():
    assert video_at("a", "videos/1") != part_at("a", "videos/1") != video_at("b", "videos/1")


def _read(api: Api, object_key: str) -> int:
    """Read it as a job does; how many bytes are in it."""

    async def read() -> int:
        database = Database(api.url, pool_size=1)
        try:
            async with opened(database, api.store, "a", object_key) as file:
                return (await asyncio.to_thread(LocalMedia(file).inspect)).info.size_bytes
        finally:
            await database.close()

    return asyncio.run(read())
