"""Keys are listed in pages, are only so many, and are revoked by who may do as much."""

from serving.auth import keys
from tests.serving.auth.people import refused


def test_they_come_in_pages(call):
    async def body(api):
        made = [await _made(api.a, f"key {number}") for number in range(5)]
        first = (await api.a.get("/v1/keys", params={"limit": 3})).json()
        second = (await api.a.get("/v1/keys", params={"limit": 3, "cursor": first["next_cursor"]})).json()
        assert [key["id"] for key in first["data"] + second["data"]][:5] == made[::-1]
        assert (len(second["data"]), second["next_cursor"]) == (3, None), "with that of who asks"
        assert len((await api.b.get("/v1/keys")).json()["data"]) == 1
        refused(await api.a.get("/v1/keys", params={"cursor": "x"}), 400, "invalid_request")

    call(body)


def test_a_tenant_has_only_so_many(call, monkeypatch):
    monkeypatch.setattr(keys, "MAX_KEYS", 3)

    async def body(api):
        first = await _made(api.a, "second of three")
        await _made(api.a, "third of three")
        request = {"name": "k", "scopes": ["jobs:read"]}
        refused(await api.a.post("/v1/keys", json=request), 409, "conflict")
        await _made(api.b, "another tenant's")
        assert (await api.a.delete(f"/v1/keys/{first}")).status_code == 204
        await _made(api.a, "instead")

    call(body)


def test_nobody_revokes_a_key_that_may_do_more(call):
    async def body(api):
        strong, weak = await _made(api.a, "strong", "jobs:write"), await _made(api.a, "weak", "jobs:read")
        limited = await api.with_key("a", frozenset({"keys:manage", "jobs:read"}))
        assert "jobs:write" in refused(await limited.delete(f"/v1/keys/{strong}"), 403, "forbidden")["detail"]
        assert (await limited.delete(f"/v1/keys/{weak}")).status_code == 204
        assert (await api.a.delete(f"/v1/keys/{strong}")).status_code == 204

    call(body)


async def _made(client, name: str, scope: str = "jobs:read") -> str:
    answer = await client.post("/v1/keys", json={"name": name, "scopes": [scope]})
    assert answer.status_code == 201, answer.text
    return answer.json()["about"]["id"]
