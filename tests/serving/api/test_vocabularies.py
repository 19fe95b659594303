"""Vocabularies over HTTP: kept, replaced by who saw the latest, read and written as files, used by jobs."""

import asyncio

import msgspec
import pytest

from pipeline import vocabulary
from serving.jobs import outcomes
from serving.vocabularies.rows import MAX_VOCABULARIES
from tests.serving.api.test_front_door import _problem
from tests.serving.api.test_openapi_quality import METRICS

DOGS = {
    "name": "dogs",
    "description": "What barks.",
    "labels": [
        {"name": "a poodle", "prompts": ["a curly dog"], "threshold": 0.7, "parent": "a dog"},
        {"name": "a dog", "parent": "animals"},
    ],
}


async def _made(client, **changes) -> dict:
    answer = await client.post("/v1/vocabularies", json=DOGS | changes)
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_made_read_replaced_and_deleted(call):
    async def body(api):
        answer = await api.a.post("/v1/vocabularies", json=DOGS)
        made = answer.json()
        here = f"/v1/vocabularies/{made['id']}"
        assert (answer.status_code, answer.headers["location"], answer.headers["etag"]) == (201, here, '"1"')
        assert (made["name"], made["version"], made["built_in"]) == ("dogs", 1, False)
        assert [label["parent"] for label in made["labels"]] == ["a dog", "animals"]
        assert (await api.a.get("/v1/vocabularies/dogs")).json() == (await api.a.get(here)).json() == made
        cats = {"name": "cats", "labels": [{"name": "a cat"}]}
        replaced = await api.a.put(here, json=cats, headers={"If-Match": '"1"'})
        assert (replaced.status_code, replaced.headers["etag"]) == (200, '"2"')
        assert (replaced.json()["name"], replaced.json()["description"]) == ("cats", "")
        _problem(await api.a.get("/v1/vocabularies/dogs"), 404, "not_found")
        known = await api.a.get(here, headers={"If-None-Match": '"1", W/"2"'})
        assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", '"2"')
        assert (await api.a.get(here, headers={"If-None-Match": '"1"'})).status_code == 200
        _problem(await api.a.delete(here, headers={"If-Match": '"1"'}), 412, "version_changed")
        assert (await api.a.delete(here, headers={"If-Match": '"2"'})).status_code == 204
        _problem(await api.a.get(here), 404, "not_found")

    call(body)


def test_of_many_who_replace_what_they_saw_one_does(call):
    async def body(api):
        here = f"/v1/vocabularies/{(await _made(api.a))['id']}"
        answers = await asyncio.gather(
            *(
                api.a.put(here, json=DOGS | {"description": str(number)}, headers={"If-Match": '"1"'})
                for number in range(20)
            )
        )
        assert sorted(answer.status_code for answer in answers) == [200] + [412] * 19
        (won,) = [answer.json() for answer in answers if answer.status_code == 200]
        assert (await api.a.get(here)).json() == won
        # Who did not look does as they please; a weak tag never is the same.
        assert (await api.a.put(here, json=DOGS)).json()["version"] == 3
        _problem(await api.a.put(here, json=DOGS, headers={"If-Match": 'W/"3"'}), 412, "version_changed")
        assert (await api.a.put(here, json=DOGS, headers={"If-Match": '"1", "3"'})).status_code == 200
        assert (await api.a.put(here, json=DOGS, headers={"If-Match": "*"})).status_code == 200
        _problem(await api.a.put(here, json=DOGS, headers={"If-Match": "5"}), 400, "invalid_request")

    call(body)


def test_names_are_a_tenants_own_and_used_once(call):
    async def body(api):
        answers = await asyncio.gather(*(api.a.post("/v1/vocabularies", json=DOGS) for _ in range(10)))
        assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9
        other = await _made(api.a, name="other")
        _problem(await api.a.put(f"/v1/vocabularies/{other['id']}", json=DOGS), 409, "conflict")
        theirs = await _made(api.b)
        _problem(await api.a.get(f"/v1/vocabularies/{theirs['id']}"), 404, "not_found")
        _problem(await api.b.get("/v1/vocabularies/other"), 404, "not_found")
        for name in ("general", "Dogs", "voc_x", "", "a b", "x" * 101):
            refused = await api.a.post("/v1/vocabularies", json=DOGS | {"name": name})
            assert refused.status_code in (400, 409), name

    call(body)


def test_those_that_come_with_the_server_are_read_only(call):
    async def body(api):
        listed = {one["id"]: one for one in (await api.a.get("/v1/vocabularies")).json()["data"]}
        assert set(listed) == set(vocabulary.built_in())
        assert listed["general"]["description"].startswith("Everyday things")
        general = (await api.a.get("/v1/vocabularies/general")).json()
        assert (general["built_in"], len(general["labels"])) == (True, listed["general"]["label_count"])
        _problem(await api.a.put("/v1/vocabularies/general", json=DOGS), 409, "conflict")
        _problem(await api.a.delete("/v1/vocabularies/general"), 409, "conflict")

    call(body)


def test_pages_hold_every_vocabulary_once(call):
    async def body(api):
        made = [(await _made(api.a, name=f"v{number}"))["id"] for number in range(6)]
        for limit in (1, 2, 3, 4, 100):
            seen, cursor = [], None
            while True:
                params = {"limit": limit} | ({"cursor": cursor} if cursor else {})
                page = (await api.a.get("/v1/vocabularies", params=params)).json()
                assert len(page["data"]) <= limit
                seen += [one["id"] for one in page["data"]]
                cursor = page["next_cursor"]
                if cursor is None:
                    break
            assert seen == [*vocabulary.built_in(), *reversed(made)], limit
        _problem(await api.a.get("/v1/vocabularies", params={"cursor": "WyJ4Il0"}), 400, "invalid_request")

    call(body)


@pytest.mark.parametrize(
    ("labels", "pointer", "says"),
    [
        ([], "/labels", "length >= 1"),
        ([{"name": "a"}, {"name": "a"}], "/labels/1/name", "twice"),
        ([{"name": "a"}, {"name": "b", "threshold": 1.5}], "/labels/1/threshold", "[0, 1]"),
        ([{"name": "a", "prompts": ["x", " "]}], "/labels/0/prompts/1", "empty prompt"),
        ([{"name": "a", "prompts": ["x" * 1001]}], "/labels/0/prompts/0", "longer"),
        ([{"name": "..."}], "/labels/0/name", "no letter"),
        ([{"name": "a", "parent": "b"}, {"name": "b", "parent": "a"}], "/labels/0/parent", "circle"),
        ([{"name": f"l{n}", "parent": f"l{n + 1}"} for n in range(9)], "/labels/0/parent", "at most 8"),
        ([{"name": "a", "colour": "red"}], "/labels/0", "colour"),
    ],
)
def test_what_is_wrong_is_pointed_at(call_shared, labels, pointer, says):
    async def body(api):
        answer = await api.a.post("/v1/vocabularies", json=DOGS | {"labels": labels})
        problem = answer.json()
        assert (answer.status_code, problem["code"]) in ((400, "invalid_spec"), (400, "invalid_request"))
        (error,) = problem["errors"]
        assert says in error["detail"]
        assert error["pointer"].startswith(pointer)
        assert (await api.a.get("/v1/vocabularies/dogs")).status_code == 404

    call_shared(body)


def test_files_of_the_command_line_go_in_and_out(call):
    async def body(api):
        text = (vocabulary.FOLDER / "example.toml").read_bytes()
        toml = {"Content-Type": "application/toml"}
        made = await api.a.post("/v1/vocabularies", content=text, params={"name": "mine"}, headers=toml)
        assert made.status_code == 201, made.text
        out = await api.a.get("/v1/vocabularies/mine", headers={"Accept": "application/toml"})
        assert out.headers["content-type"].partition(";")[0] == "application/toml"
        assert vocabulary.parse(out.text, "out") == vocabulary.read("example")
        again = await api.a.put("/v1/vocabularies/mine", content=out.content, params={"name": "mine"}, headers=toml)
        assert again.json()["labels"] == made.json()["labels"]
        refused = await api.a.post("/v1/vocabularies", content=b"[[label", params={"name": "x"}, headers=toml)
        assert "not TOML" in _problem(refused, 400, "invalid_spec")["detail"]
        unnamed = await api.a.post("/v1/vocabularies", content=text, headers=toml)
        assert _problem(unnamed, 400, "invalid_request")["errors"][0]["pointer"] == "?name"

    call(body)


def test_a_tenant_has_so_many_and_no_more(call):
    async def body(api):
        await api.world.change(
            "INSERT INTO vocabulary (id, tenant_id, name, description, labels, version)"
            " SELECT 'voc_' || lpad(n::text, 26, '0'), 'a', 'n' || n, '', '[]', 1 FROM generate_series(1, :most) n",
            most=MAX_VOCABULARIES - 1,
        )
        answers = await asyncio.gather(
            *(api.a.post("/v1/vocabularies", json=DOGS | {"name": f"x{number}"}) for number in range(5))
        )
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]
        assert (await api.b.post("/v1/vocabularies", json=DOGS)).status_code == 201

    call(body)


def test_a_job_keeps_the_labels_that_its_vocabulary_had(call):
    async def body(api):
        made = await _made(api.a)
        for name in (made["id"], "dogs"):
            request = {"video_id": "vid_a", "vocabulary": name}
            job = (await api.a.post("/v1/jobs", json=request, headers={"Idempotency-Key": name})).json()
            assert job["spec"]["labels"] == made["labels"]
        assert (await api.a.delete("/v1/vocabularies/dogs")).status_code == 204
        assert (await api.a.get(f"/v1/jobs/{job['id']}")).json()["spec"]["labels"] == made["labels"]
        # The same request again is the same job, though the vocabulary is gone.
        again = await api.a.post("/v1/jobs", json=request, headers={"Idempotency-Key": "dogs"})
        assert (again.status_code, again.json()["id"]) == (202, job["id"])
        assert "dogs" in _problem(await api.a.post("/v1/jobs", json=request), 404, "not_found")["detail"]
        built_in = (await api.a.post("/v1/jobs", json={"video_id": "vid_a", "vocabulary": "general"})).json()
        assert built_in["spec"]["labels"] == (await api.a.get("/v1/vocabularies/general")).json()["labels"]
        theirs = await _made(api.b)
        foreign = await api.a.post("/v1/jobs", json={"video_id": "vid_a", "vocabulary": theirs["id"]})
        _problem(foreign, 404, "not_found")

    call(body)


def test_a_job_has_labels_or_a_vocabulary_and_errors_point_into_its_body(call):
    async def body(api):
        both = {"video_id": "vid_a", "vocabulary": "general", "spec": {"labels": [{"name": "a"}]}}
        problem = _problem(await api.a.post("/v1/jobs", json=both), 400, "invalid_spec")
        assert [error["pointer"] for error in problem["errors"]] == ["/vocabulary"]
        wrong = {"video_id": "vid_a", "spec": {"labels": [{"name": "a"}, {"name": "b", "parent": "b"}]}}
        problem = _problem(await api.a.post("/v1/jobs", json=wrong), 400, "invalid_spec")
        assert [error["pointer"] for error in problem["errors"]] == ["/spec/labels/1/parent"]
        several = {"jobs": [{"video_id": "vid_a"}, wrong]}
        problem = _problem(await api.a.post("/v1/jobs/batch", json=several), 400, "invalid_spec")
        assert [error["pointer"] for error in problem["errors"]] == ["/jobs/1/spec/labels/1/parent"]

    call(body)


def test_a_label_that_is_a_category_too_is_found_by_its_better_score(call, sample_report):
    async def body(api):
        tag = sample_report.tags[0]
        both = (
            msgspec.structs.replace(tag, label="animal", parent="nature", score=0.6),
            msgspec.structs.replace(tag, label="animal", kind="category", parent="nature", score=0.9),
        )
        job = (await api.a.post("/v1/jobs", json={"video_id": "vid_a"})).json()["id"]
        lease = await api.world.queue.claim("w")
        report = msgspec.structs.replace(sample_report, tags=both)
        await outcomes.succeed(api.world.database, api.world.keyring, lease, report, METRICS)
        assert (await api.a.get(f"/v1/jobs/{job}")).json()["state"] == "succeeded"
        rows = await api.world.sql("SELECT label, category, score FROM video_tag")
        assert [tuple(row) for row in rows] == [("animal", "nature", 0.9)]

    call(body)
