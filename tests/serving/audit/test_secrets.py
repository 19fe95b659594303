"""Nothing that was sent or kept in confidence, and nothing that anybody made up, is in the audit log or another one."""

import logging
import traceback

import httpx

from tests.serving.audit.test_refusals import refusals
from tests.serving.auth import people

CANARY = "canary-7f3a"


def test_what_people_send_is_in_no_log(call, caplog):
    caplog.set_level(logging.DEBUG)
    # What the tests' own client says that it asks for.
    for name in ("httpx", "httpcore"):
        caplog.set_level(logging.ERROR, name)

    async def body(api):
        seen: list[str] = []

        async def ask(client: httpx.AsyncClient, method: str, path: str, **more) -> httpx.Response:
            answer = await client.request(method, path, **more)
            seen.append(f"{method} {path}: {answer.status_code}")
            return answer

        admin = await people.signed_in(api, "a", "admin")
        content = b"\x1aE\xdf\xa3" + bytes(100)
        named = await ask(api.a, "PUT", f"/v1/videos/files/{CANARY}-name.mkv", content=content)
        assert named.status_code == 201, named.text
        video = named.json()["id"]
        texts = {
            "title": f"{CANARY}-title",
            "labels": [f"{CANARY}-label"],
            "user_metadata": {CANARY: f"{CANARY}-value"},
        }
        assert (await ask(api.a, "PATCH", f"/v1/videos/{video}", json=texts)).status_code == 200
        await ask(api.a, "GET", f"/v1/videos?q={CANARY}-words&signature={CANARY}-signature")
        vocabulary = {"name": f"{CANARY}-vocabulary", "labels": [f"{CANARY}-label"]}
        assert (await ask(api.a, "POST", "/v1/vocabularies", json=vocabulary)).status_code in (201, 400)
        await ask(api.a, "DELETE", f"/v1/vocabularies/{CANARY}-vocabulary")
        webhook = await ask(api.a, "POST", "/v1/webhooks", json={"url": f"https://example.com/{CANARY}-hook"})
        secret = webhook.json()["secret"]
        job = {"video_id": video, "spec": {"labels": [f"{CANARY}-label"], "prompt": f"{CANARY}-prompt"}}
        await ask(api.a, "POST", "/v1/jobs", json=job)
        await ask(api.a, "POST", "/v1/uploads/url", json={"url": f"https://u:{CANARY}-pass@example.com/{CANARY}.mp4"})
        key = await ask(api.a, "POST", "/v1/keys", json={"name": f"{CANARY}-key", "scopes": ["jobs:read"]})
        new = {
            "email": f"{CANARY}@example.com",
            "name": CANARY,
            "role": "viewer",
            "password": f"{CANARY} on 9 maps",
        }
        assert (await ask(admin, "POST", "/v1/users", json=new)).status_code == 201
        login = {"email": new["email"], "password": new["password"], "tenant": "a"}
        tokens = (await ask(api.nobody, "POST", "/v1/auth/token", json=login)).json()
        await ask(api.nobody, "POST", "/v1/auth/token", json=login | {"password": f"{CANARY}-wrong"})
        bad = {"Authorization": f"Bearer {CANARY}-bearer", "User-Agent": CANARY, "Referer": f"https://{CANARY}/"}
        await ask(api.nobody, "GET", f"/v1/jobs?key={CANARY}", headers=bad)
        await ask(api.a, "GET", f"/v1/videos/{CANARY}-no-such")
        await ask(api.a, "DELETE", f"/v1/videos/{video}")
        await refusals(api.world, 1, "operation = 'list_jobs'")
        told = "\n".join(row.line for row in await api.world.sql("SELECT audit::text AS line FROM audit"))
        for operation in ("sign_in", "change_video", "create_webhook", "create_user", "delete_video", "list_jobs"):
            assert f",{operation}," in told, operation
        secrets = (CANARY, secret, key.json()["key"], tokens["access_token"], tokens["refresh_token"], people.PASSWORD)
        for one in secrets:
            assert one not in told, one
        body.secrets = secrets

    call(body)
    said = "\n".join(
        record.getMessage() + ("".join(traceback.format_exception(record.exc_info[1])) if record.exc_info else "")
        for record in caplog.records
    )
    for one in body.secrets:
        assert one not in said, one
