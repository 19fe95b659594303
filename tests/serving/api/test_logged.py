"""What is in the log of a fault: enough to find it, and nothing that was sent or kept in confidence."""

import logging
import traceback

import pytest

from tests.serving.auth.people import PASSWORD


def _logged(caplog) -> str:
    """All that any log record says, with its errors and what they came from."""
    said = []
    for record in caplog.records:
        said.append(record.getMessage())
        if record.exc_info and record.exc_info[1] is not None:
            said += traceback.format_exception(record.exc_info[1])
    return "\n".join(said)


@pytest.mark.parametrize("constraint", ["CHECK (false) NOT VALID", "PRIMARY KEY"])
def test_a_secret_that_could_not_be_kept_is_in_no_log(call, caplog, constraint):
    caplog.set_level(logging.DEBUG)

    async def body(api):
        # A constraint that no row meets: PostgreSQL then tells the whole row.
        column = {"webhook_endpoint": "secret", "app_user": "password_hash"}
        for table, name in column.items():
            if constraint == "PRIMARY KEY":
                await api.world.change(f"ALTER TABLE {table} ADD COLUMN extra text NOT NULL DEFAULT NULL")
            else:
                await api.world.change(f"ALTER TABLE {table} ADD CONSTRAINT none_at_all {constraint}")
            assert name
        answer = await api.a.post("/v1/webhooks", json={"url": "https://example.com/x"})
        assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
        new = {"email": "new@example.com", "name": "n", "role": "viewer", "password": PASSWORD}
        answer = await api.a.post("/v1/users", json=new)
        assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
        assert "none_at_all" not in answer.text

    call(body)
    logged = _logged(caplog)
    assert "create_webhook" in logged
    assert "create_user" in logged
    for canary in ("whsec_", "$argon2id$", PASSWORD, "new@example.com"):
        assert canary not in logged, canary


def test_where_it_was_is_told_in_ascii_and_odd_queries_are_no_fault(call, caplog, monkeypatch):
    from serving.api import health

    def broken(*_: object) -> bool:
        raise ValueError("a fault of ours")

    monkeypatch.setattr(health, "is_operator", broken)

    async def body(api):
        host, _, port = api.address.removeprefix("http://").partition(":")
        import asyncio

        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /readyz?x=\xff\xfe%ff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 10)
        assert answer.startswith(b"HTTP/1.1 500")
        assert b'"code":"internal_error"' in answer
        writer.close()

    call(body)
    (record,) = [one for one in caplog.records if one.name == "serving.api.problem"]
    assert record.getMessage().startswith("GET ready '/readyz': internal_error [req_")
