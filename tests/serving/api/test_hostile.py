"""What no client would send: bad requests are told what is wrong with them, and none is a fault of ours."""

import subprocess
import sys

from sqlalchemy import func
from sqlmodel import select

from serving.api.page import encode_cursor
from serving.db.work import Job

VIDEO = "vid_" + "0" * 26


def _nested(opened: bytes, closed: bytes, levels: int) -> bytes:
    return b'{"user_metadata":{"a":' + opened * levels + b"1" + closed * levels + b"}}"


#: Bodies, and what is said of them.
BODIES = (
    (_nested(b"[", b"]", 40), "too much metadata"),
    (_nested(b'{"a":', b"}", 40), "too much metadata"),
    (_nested(b"[", b"]", 5000), "nested too deeply"),
    (_nested(b'{"a":', b"}", 2500), "nested too deeply"),
    (b"[" * 100_000, "not valid"),
    (b'{"title":"\xff"}', "not JSON"),
    (b'{"title":"\\ud800"}', "not JSON"),
    (b'{"user_metadata":{"a":"\\u0000"}}', "zero character"),
    (b'{"user_metadata":{"a":NaN}}', "not JSON"),
    (b'{"user_metadata":{"a":' + b"9" * 5000 + b"}}", "not valid"),
    (b"", "not valid"),
    (b"null", "not valid"),
)


def test_a_body_that_is_none(call):
    async def within(api):
        made = await api.a.post("/v1/videos", content=b"\x1aE\xdf\xa3" + bytes(100))
        path = f"/v1/videos/{made.json()['id']}"
        for body, said in BODIES:
            answer = await api.a.patch(path, content=body)
            assert answer.status_code == 400, f"{body[:80]}: {answer.text}"
            assert said in answer.json()["detail"], body[:80]
        assert (await api.a.get(path)).json()["user_metadata"] == {}

    call(within)


def test_values_are_what_they_are_written_as(call):
    """`"5"` is no number, and 0 no time: what is not meant is not guessed."""

    async def body(api):
        for wrong, pointer in (
            ({"priority": "5"}, "/priority"),
            ({"priority": 5.5}, "/priority"),
            ({"timeout_s": "60"}, "/timeout_s"),
            ({"spec": {"shots": "true"}}, "/spec/shots"),
        ):
            answer = await api.a.post("/v1/jobs", json={"video_id": "vid_a", **wrong})
            assert answer.status_code == 400, answer.text
            assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
        key = {"name": "k", "scopes": ["jobs:read"], "expires_at": 0}
        assert (await api.a.post("/v1/keys", json=key)).status_code == 400
        (missing,) = (await api.a.post("/v1/jobs")).json()["errors"]
        assert missing == {"pointer": "", "detail": "the body is missing"}
        async with api.world.database.read("a") as session:
            assert (await session.exec(select(func.count()).select_from(Job))).one() == 0

    call(body)


QUERIES = (
    "jobs?state=null",
    "jobs?state=queued&state=failed",
    "jobs?limit=5&limit=5",
    "jobs?limit=5.0",
    "jobs?limit=1e1",
    "jobs?created_after=5",
    "jobs?created_after=2026-11-25T21:09:30",
    "videos?min_duration_s=inf",
    "videos?min_duration_s=null",
    "videos?tag=%00",
    "videos?created_after=0001-01-01T00:00:00%2B23:59",
    "audit?kind=null",
    "users?cursor=" + encode_cursor("\0"),
    "uploads?status=any",
)


def test_a_query_that_is_none(call):
    async def body(api):
        for query in QUERIES:
            answer = await api.a.get(f"/v1/{query}")
            assert answer.status_code == 400, f"{query}: {answer.text}"
            assert answer.json()["code"] == "invalid_request"

    call(body)


def test_a_path_with_a_line_break_in_it(call):
    async def body(api):
        made = await api.a.post("/v1/videos", content=b"\x1aE\xdf\xa3" + bytes(100))
        video = made.json()["id"]
        for path in (
            f"videos/{video}%0A",
            f"videos/{video}%00",
            f"videos/{video}%0A/report",
            "vocabularies/people%0A",
            "jobs/x%0A",
            "models/bundled%0A",
        ):
            answer = await api.a.get(f"/v1/{path}")
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request"), path
        assert (await api.a.get(f"/v1/videos/{video}")).status_code == 200

    call(body)


def test_names_that_end_in_a_line_break_are_none(call):
    async def body(api):
        vocabulary = {"name": "mine\n", "labels": [{"name": "a dog"}]}
        answer = await api.a.post("/v1/vocabularies", json=vocabulary)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/name")
        user = {"email": "a@b.example\n", "name": "A", "role": "viewer", "password": "a long enough password"}
        answer = await api.a.post("/v1/users", json=user)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/email")

    call(body)


def test_texts_and_lists_in_queries_are_as_they_were(call):
    async def body(api):
        for query in ("tag=null", "q=null", "label=5", "metadata=a:null&metadata=b:1", "nobody=1&nobody=2"):
            answer = await api.a.get(f"/v1/videos?{query}")
            assert answer.status_code == 200, f"{query}: {answer.text}"

    call(body)


def test_options_tell_all_that_can_be_done(call):
    async def body(api):
        for path, methods in (
            ("/v1/jobs", "GET, OPTIONS, POST"),
            (f"/v1/videos/{VIDEO}", "DELETE, GET, OPTIONS, PATCH"),
            ("/v1/uploads/upl_" + "0" * 26, "DELETE, GET, HEAD, OPTIONS, PATCH"),
            ("/livez", "GET, OPTIONS"),
        ):
            answer = await api.nobody.options(path)
            assert (answer.status_code, answer.headers["allow"]) == (204, methods)

    call(body)


def test_posting_to_an_upload_takes_a_method_to_stand_for(call):
    async def body(api):
        for headers in ({}, {"Tus-Resumable": "1.0.0"}, {"Tus-Resumable": "1.0.0", "X-HTTP-Method-Override": "PUT"}):
            answer = await api.a.post("/v1/uploads/upl_" + "0" * 26, headers=headers)
            assert answer.status_code == 405
            assert "PATCH" in answer.headers["allow"]

    call(body)


def test_a_fetch_is_given_up_without_a_version_of_tus_but_not_with_a_wrong_one(call):
    async def body(api):
        made = await api.a.post("/v1/uploads/url", json={"url": "https://example.com/x.mp4"})
        path = made.headers["location"]
        assert (await api.a.delete(path, headers={"Tus-Resumable": "0.9"})).status_code == 412
        assert (await api.a.delete(path)).status_code == 204

    call(body)


def test_toml_that_is_none(call):
    async def body(api):
        for query, content in (
            ("?name=x", b"a=" + b"[" * 5000),
            ("?name=x", b"\xff\0"),
            ("", b'[categories]\na = ["b"]'),
        ):
            headers = {"Content-Type": "application/toml"}
            answer = await api.a.post(f"/v1/vocabularies{query}", content=content, headers=headers)
            assert answer.status_code == 400, answer.text
        assert answer.json()["errors"][0]["pointer"] == "?name"

    call(body)


def test_choosing_segments_anew_loads_no_networks():
    """The API does it itself; with torch, whoever asks first would wait for seconds."""
    code = "import pipeline.rescore, sys; print(sorted({'torch', 'ray', 'cv2', 'open_clip'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
