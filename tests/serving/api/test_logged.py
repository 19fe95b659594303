"""What is in the log of a fault: enough to find it, and nothing that was sent or kept in confidence."""

import logging
import traceback
from typing import Any

import pytest
from litestar import Request

from serving.api import problem
from tests.serving.auth.people import PASSWORD


def _logged(caplog) -> str:
    """All that any log record says, with its errors and what they came from."""
    said = []
    for record in caplog.records:
        said.append(record.getMessage())
        if record.exc_info and record.exc_info[1] is not None:
            said += traceback.format_exception(record.exc_info[1])
    return "\n".join(said)


@pytest.mark.parametrize(
    "what", ["ADD CONSTRAINT none_at_all CHECK (false) NOT VALID", "ADD COLUMN more text NOT NULL"]
)
def test_a_secret_that_could_not_be_kept_is_in_no_log(call, caplog, what):
    caplog.set_level(logging.DEBUG)

    async def body(api):
        # No row can be as is asked for here: PostgreSQL then tells all of it.
        for table in ("webhook_endpoint", "app_user"):
            await api.world.change(f"ALTER TABLE {table} {what}")
        answer = await api.a.post("/v1/webhooks", json={"url": "https://example.com/x"})
        assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
        new = {"email": "new@example.com", "name": "n", "role": "viewer", "password": PASSWORD}
        answer = await api.a.post("/v1/users", json=new)
        assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")

    call(body)
    logged = _logged(caplog)
    assert "create_webhook" in logged
    assert "create_user" in logged
    for canary in ("whsec_", "$argon2id$", PASSWORD, "new@example.com"):
        assert canary not in logged, canary


def test_where_it_was_is_told_in_ascii_and_odd_bytes_are_no_fault(caplog):
    scope: Any = {
        "type": "http",
        "method": "GET",
        "path": "/v1/vidéos/\x1b[2J\nERROR forged",
        "query_string": b"x=\xff\xfe",
        "headers": [],
        "request_id": "req_1",
        "state": {},
    }
    answer = problem.handle(Request(scope), ValueError("a fault of ours"))
    assert answer.status_code == 500
    (record,) = caplog.records
    assert record.getMessage() == r"GET unmatched '/v1/vid\xe9os/\x1b[2J\nERROR forged': internal_error [req_1]"
