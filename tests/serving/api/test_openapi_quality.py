"""The schema as its readers need it: valid, described, with examples that hold; what is said of answers is so."""

import json
import subprocess
import sys

import pytest
from jsonschema import Draft202012Validator
from schemathesis.specs.openapi.definitions import OPENAPI_31

from serving.api.bodies import TAGS
from serving.api.openapi import document
from serving.jobs import outcomes, submission
from serving.jobs.lease import Problem
from serving.jobs.metrics import Metrics
from serving.jobs.submission import JobRequest
from serving.webhooks import endpoints
from serving.webhooks.delivery import body_of
from tests.serving.api.operations import MISSING, OPERATIONS
from tests.serving.api.test_matrix import Things, _filled
from tests.serving.jobs.conftest import run

__all__ = ["run"]

METRICS = Metrics(
    run_s=1.0,
    queued_s=0.1,
    decode_s=0.5,
    infer_s=0.4,
    frames=60,
    video_s=60.0,
    realtime_factor=60.0,
    clips_reused=0,
    features="computed",
    decoder="pyav",
    device="cpu",
    model="bundled",
)


@pytest.fixture(scope="module")
def schema() -> dict:
    """As it is published."""
    return json.loads(document())


def _operations(schema: dict):
    """(name, operation) of all, webhooks included."""
    for group in ("paths", "webhooks"):
        for methods in schema[group].values():
            for operation in methods.values():
                yield operation["operationId"], operation


def _validator(schema: dict, part: dict) -> Draft202012Validator:
    """Of a part of the document, whose references lead into it."""
    # A document that holds both: references are resolved from its root.
    return Draft202012Validator(part | {"components": schema["components"]})


def _wrong(schema: dict, part: dict, value: object) -> list[str]:
    return [error.message for error in _validator(schema, part).iter_errors(value)]


def test_it_is_openapi_3_1(schema):
    errors = [f"{list(error.path)}: {error.message}" for error in Draft202012Validator(OPENAPI_31).iter_errors(schema)]
    assert errors == []


def test_every_schema_in_it_is_one(schema):
    for name, component in schema["components"]["schemas"].items():
        assert Draft202012Validator(Draft202012Validator.META_SCHEMA).is_valid(component), name
    assert "contact" not in schema["info"]
    assert schema["servers"] == [{"url": "/"}]


def test_every_reference_leads_somewhere(schema):
    text = json.dumps(schema)
    named = {part.partition('"')[0] for part in text.split('"$ref": "#/components/schemas/')[1:]}
    assert named <= set(schema["components"]["schemas"])


def test_every_operation_is_described(schema):
    said = {tag["name"] for tag in schema["tags"] if tag["description"]}
    lacking = {
        name: what
        for name, operation in _operations(schema)
        if (
            what := [
                *(part for part in ("summary", "description", "tags") if not operation.get(part)),
                *(f"tag {tag}" for tag in operation.get("tags", ()) if tag not in said),
            ]
        )
    }
    assert lacking == {}
    used = {tag for _, operation in _operations(schema) for tag in operation["tags"]}
    assert used == set(TAGS), "tags that are described and not used, or the other way round"


def test_every_parameter_is_described_and_has_an_example_that_holds(schema):
    lacking, wrong = [], []
    for name, operation in _operations(schema):
        for parameter in operation.get("parameters", ()):
            here = f"{name}.{parameter['name']}"
            shape = parameter["schema"]
            if not shape.get("examples") or not parameter.get("description"):
                lacking.append(here)
            wrong += [
                f"{here}: {error}" for value in shape.get("examples", ()) for error in _wrong(schema, shape, value)
            ]
    assert lacking == [], "give them one in serving/api/examples.py"
    assert wrong == []


def test_every_json_body_has_an_example_that_holds(schema):
    lacking, wrong, seen = [], [], 0
    for name, operation in _operations(schema):
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            if content["schema"].get("format") == "binary" or media_type == "multipart/form-data":
                continue
            if "example" not in content:
                lacking.append(f"{name} ({content['schema']})")
                continue
            seen += 1
            wrong += [f"{name}: {error}" for error in _wrong(schema, content["schema"], content["example"])]
    assert lacking == [], "give them one in serving/api/examples.py"
    assert wrong == []
    assert seen > 15


def test_constraints_of_records_are_told(schema):
    records = schema["components"]["schemas"]
    name = records["KeyRequest"]["properties"]["name"]
    assert (name["minLength"], name["maxLength"]) == (1, 100)
    labels = records["VocabularyRequest"]["properties"]["labels"]
    assert (labels["minItems"], labels["maxItems"]) == (1, 1000)
    priority = records["JobRequest"]["properties"]["priority"]
    assert (priority["minimum"], priority["maximum"]) == (-10, 10)
    url = records["WebhookPatch"]["properties"]["url"]
    assert (url["type"], url["minLength"]) == ("string", 1)


def test_what_needs_no_key_says_so(schema):
    for name, operation in _operations(schema):
        if name in OPERATIONS:
            assert (operation.get("security") == []) == (OPERATIONS[name].scope is None), name


def test_answers_are_as_they_are_said_to_be(call, schema, sample_report):
    """Of every operation, what is answered to who may do it: declared, of the type and shape that is declared."""
    operations = dict(_operations(schema))

    async def body(api):
        things = Things(api.world.database, sample_report, api.store)
        for name, row in OPERATIONS.items():
            for ids in (await things.make(row.target, "a") if row.target else dict(MISSING), dict(MISSING)):
                answer = await api.a.request(**_filled(row, ids))
                here = f"{name}: {answer.status_code} {answer.text[:200]}"
                declared = operations[name]["responses"]
                assert str(answer.status_code) in declared, here
                content = declared[str(answer.status_code)].get("content", {})
                if row.method == "HEAD" or not answer.content:
                    assert row.method == "HEAD" or content == {}, here
                    continue
                media_type = answer.headers["content-type"].partition(";")[0]
                assert media_type in content, here
                if media_type.endswith("json"):
                    wrong = _wrong(schema, content[media_type]["schema"], answer.json())
                    assert wrong == [], f"{here}: {wrong}"

    call(body)


def test_webhooks_are_as_they_are_said_to_be(run, schema, sample_report):
    async def body(world):
        async with world.database.write("webhook.write", "a") as session:
            hook = await endpoints.create(session, world.keyring, "a", "https://example.com", [], "")
            await endpoints.send_test(session, "a", hook.row.id)
        for end in ("succeed", "fail", "cancel", "long"):
            await submission.submit(world.database, "a", [JobRequest(video_id="vid_a")], key=end)
            lease = await world.queue.claim("w")
            if end == "succeed":
                await outcomes.succeed(world.database, world.keyring, lease, sample_report, METRICS)
            elif end == "cancel":
                await outcomes.canceled(world.database, lease)
            else:
                detail = "x" * (30_000 if end == "long" else 3)
                await outcomes.fail(world.database, lease, Problem(code="corrupt", detail=detail))
        rows = await world.sql("SELECT type, payload, created_at FROM webhook_message ORDER BY id")
        assert {row.type for row in rows} == set(schema["webhooks"])
        for row in rows:
            told = schema["webhooks"][row.type]["post"]["requestBody"]["content"]["application/json"]["schema"]
            assert _wrong(schema, told, json.loads(body_of(row.type, row.created_at, row.payload))) == [], row.type

    run(body)


def test_the_schema_is_made_without_what_models_need():
    code = "import sys; from serving.api.openapi import document; document(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"
