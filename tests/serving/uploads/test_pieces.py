"""A video in pieces, over a line that breaks: nothing is lost, nothing is there twice."""

import hashlib
import random
import threading
import time

import pytest

from tests.serving.sealing import kept_in
from tests.serving.uploads.conftest import OPTIONS, checksum, encoded, until

SHA1 = "sha1"


def _videos(api) -> list:
    return api.sql("SELECT id, tenant_id, sha256, size_bytes, title, filename, object_key FROM video")


@pytest.mark.parametrize("seed", range(4))
def test_random_pieces_over_a_line_that_breaks(api, film, seed):
    dice = random.Random(seed)
    path = api.a.create(len(film), **{"Upload-Metadata": encoded(filename="film.mp4", title="Ein Fjörd")})
    offset = 0
    while offset < len(film):
        size = min(dice.randint(1, 25_000), len(film) - offset)
        piece = film[offset : offset + size]
        if dice.random() < 0.5:
            arrives = dice.randint(0, size - 1)
            api.a.cut(path, offset, piece[:arrives], size, wait_s=dice.choice([0, 0.001, 0.2]))
            # Some of it may be on its way still: whoever comes too early is told so, and asks again.
            time.sleep(dice.choice([0, 0.2]))
            kept = api.a.offset(path)
            assert offset <= kept <= offset + arrives
            offset = kept
        else:
            sent = api.a.patch(path, offset, piece)
            if sent.status_code == 409:
                offset = api.a.offset(path)
                continue
            assert (sent.status_code, sent.text) == (204, "")
            offset += size
            assert sent.headers["Upload-Offset"] == str(offset)
    ((video_id, tenant, sha256, size, title, filename, key),) = _videos(api)
    assert (tenant, size, title, filename) == ("a", len(film), "Ein Fjörd", "film.mp4")
    assert sha256 == hashlib.sha256(film).hexdigest()
    assert kept_in(api.url, api.store, key) == film
    record = api.a.record(path)
    assert (record["status"], record["video_id"], record["sha256"]) == ("completed", video_id, sha256)
    assert record["links"]["video"] == f"/v1/videos/{video_id}"
    until(lambda: api.files() == [key])
    assert api.sql("SELECT * FROM upload_part") == []
    # Who did not get the last answer asks, or sends nothing once more.
    assert api.a.offset(path) == len(film)
    assert api.a.patch(path, len(film), b"").status_code == 204
    assert api.a.patch(path, len(film), b"x").status_code == 413


def test_the_same_bytes_are_the_same_video(api, film):
    first, second = api.a.upload(film), api.a.upload(film)
    assert first["video_id"] == second["video_id"]
    assert first["id"] != second["id"]
    others = api.b.upload(film)
    assert others["video_id"] != first["video_id"]
    assert len(_videos(api)) == 2
    assert len(api.files()) == 2


def test_the_same_bytes_at_once_are_the_same_video(api, film):
    uploads = [api.a.create(len(film)) for _ in range(6)]
    threads = [threading.Thread(target=api.a.patch, args=(path, 0, film)) for path in uploads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({api.a.record(path)["video_id"] for path in uploads}) == 1
    assert len(_videos(api)) == len(api.files()) == 1


def test_of_two_pieces_at_once_one_is_kept(api, film):
    path = api.a.create(len(film))
    answers = []

    def send(size: int) -> None:
        answers.append((api.a.patch(path, 0, film[:size]).status_code, size))

    for _ in range(5):
        threads = [threading.Thread(target=send, args=(size,)) for size in (1000, 2000, 3000, 4000)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(status for status, _ in answers) == [204, 409, 409, 409]
        ((_, kept),) = [answer for answer in answers if answer[0] == 204]
        assert api.a.offset(path) == kept
        assert len(api.files()) == 1, "the objects of the others are gone"
        answers.clear()
        assert api.a.http.delete(path, headers={"Tus-Resumable": "1.0.0"}).status_code == 204
        assert api.files() == []
        path = api.a.create(len(film))
    assert api.a.patch(path, 0, film).status_code == 204
    assert len(_videos(api)) == 1


def test_who_was_late_damages_nothing(api, film):
    """A connection that is half dead still holds bytes while another client goes on from the same place."""
    path = api.a.create(len(film))
    api.a.patch(path, 0, film[:100])
    threading.Thread(target=api.a.cut, args=(path, 100, film[100:5000], 8000)).start()
    # Whoever comes first wins; the other one asks again.
    if api.a.patch(path, 100, film[100:]).status_code == 409:
        until(lambda: api.a.patch(path, at := api.a.offset(path), film[at:]).status_code == 204)
    ((_, _, sha256, *_),) = _videos(api)
    assert sha256 == hashlib.sha256(film).hexdigest()


def test_parts_of_a_long_request_are_kept_while_it_runs(api, film):
    path = api.a.create(len(film))
    api.a.cut(path, 0, film[: 2 * OPTIONS.part_bytes + 10], len(film))
    until(lambda: api.a.offset(path) == 2 * OPTIONS.part_bytes + 10)
    sizes = [size for (size,) in api.sql("SELECT size_bytes FROM upload_part ORDER BY offset_bytes")]
    assert sizes == [OPTIONS.part_bytes, OPTIONS.part_bytes, 10]


@pytest.mark.parametrize("algorithm", [SHA1, "sha256", "sha512"])
def test_checksums(api, film, algorithm):
    path = api.a.create(len(film))
    half = len(film) // 2
    wrong = api.a.patch(path, 0, film[:half], **{"Upload-Checksum": checksum(film[1:half], algorithm)})
    assert (wrong.status_code, wrong.json()["code"]) == (460, "checksum_mismatch")
    assert (api.a.offset(path), api.files()) == (0, [])
    right = api.a.patch(path, 0, film[:half], **{"Upload-Checksum": checksum(film[:half], algorithm)})
    assert (right.status_code, api.a.offset(path)) == (204, half)
    # What a checksum is of is kept whole or not at all.
    whole = {"Upload-Checksum": checksum(film[half:], algorithm)}
    api.a.cut(path, half, film[half:-1], len(film) - half, **whole)
    assert api.a.offset(path) == half
    assert api.a.patch(path, half, film[half:], **whole).status_code == 204
    assert api.a.record(path)["sha256"] == hashlib.sha256(film).hexdigest()
    assert len(api.files()) == 1


def test_a_length_that_is_said_later(api, film):
    path = api.a.create(None)
    assert api.a.http.head(path, headers={"Tus-Resumable": "1.0.0"}).headers["Upload-Defer-Length"] == "1"
    assert api.a.patch(path, 0, film[:-100]).status_code == 204
    assert api.a.record(path)["size_bytes"] is None
    at = len(film) - 100
    short = api.a.patch(path, at, b"", **{"Upload-Length": str(at - 1)})
    assert (short.status_code, short.json()["errors"][0]["pointer"]) == (400, "Upload-Length")
    assert api.a.patch(path, at, b"", **{"Upload-Length": str(len(film))}).status_code == 204
    assert api.a.http.head(path, headers={"Tus-Resumable": "1.0.0"}).headers["Upload-Length"] == str(len(film))
    assert api.a.patch(path, at, b"", **{"Upload-Length": str(len(film) + 1)}).status_code == 400
    assert api.a.patch(path, at, film[at:], **{"Upload-Length": str(len(film))}).status_code == 204
    assert api.a.record(path)["status"] == "completed"


def test_a_length_that_is_said_at_the_end(api, film):
    path = api.a.create(None)
    assert api.a.patch(path, 0, film).status_code == 204
    assert api.a.record(path)["status"] == "waiting"
    assert api.a.patch(path, len(film), b"", **{"Upload-Length": str(len(film))}).status_code == 204
    assert api.a.record(path)["status"] == "completed"


def test_bytes_that_come_with_the_creation(api, film):
    kind = {"Content-Type": "application/offset+octet-stream", "Tus-Resumable": "1.0.0"}
    made = api.a.http.post("/v1/uploads", headers=kind | {"Upload-Length": str(len(film))}, content=film[:500])
    assert (made.status_code, made.headers["Upload-Offset"]) == (201, "500")
    path = made.headers["Location"]
    assert api.a.patch(path, 500, film[500:]).status_code == 204
    made = api.a.http.post("/v1/uploads", headers=kind | {"Upload-Length": str(len(film))}, content=film)
    assert made.headers["Upload-Offset"] == str(len(film))
    assert api.a.record(made.headers["Location"])["status"] == "completed"
    assert len(_videos(api)) == 1


@pytest.mark.parametrize("garbage", [b"This is no video, but a text.\n" * 1000, b"\0" * 5000, b"x"])
def test_what_is_no_video_is_said_to_be_none(shared, garbage):
    path = shared.a.create(len(garbage))
    for _ in range(2):
        answer = shared.a.patch(path, shared.a.record(path)["received_bytes"], garbage)
        assert (answer.status_code, answer.json()["code"]) == (422, "unsupported_container")
        garbage = b""
    record = shared.a.record(path)
    assert (record["status"], record["error"]["code"]) == ("errored", "unsupported_container")
    assert shared.a.http.head(path, headers={"Tus-Resumable": "1.0.0"}).status_code == 410
    assert (shared.files(), _videos(shared)) == ([], [])
