"""The schema that clients are generated from."""

import json
from pathlib import Path

from serving.api.openapi import document

COMMITTED = Path(__file__).parents[3] / "docs" / "openapi.json"


def test_the_committed_schema_is_that_of_the_code():
    assert COMMITTED.read_text() == document(), "run python -m serving.api.openapi > docs/openapi.json"


def test_every_operation_can_be_called_by_name_and_tells_its_problems():
    schema = json.loads(document())
    assert schema["openapi"].startswith("3.1")
    operations = [operation for path in schema["paths"].values() for operation in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    for operation in operations:
        assert operation["summary"], operation["operationId"]
        for status, answer in operation["responses"].items():
            if int(status) >= 400 and operation["operationId"] not in ("ready", "explain_problem"):
                (kind,) = answer["content"]
                assert kind == "application/problem+json", (operation["operationId"], status)
    assert "Problem" in schema["components"]["schemas"]
