"""An API with videos, whose bytes players ask for."""

import random

import httpx

from tests.serving.api.conftest import call, call_shared
from tests.serving.jobs.conftest import url

__all__ = ["call", "call_shared", "url"]

#: What a WebM begins with.
HEAD = b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01B\xf2\x81\x04B\xf3\x81\x08B\x82\x84webm"


def content_of(size_bytes: int, seed: int = 0) -> bytes:
    """Bytes that are taken for a video, the same ones for the same seed."""
    return HEAD + random.Random(seed).randbytes(size_bytes - len(HEAD))


async def uploaded(client: httpx.AsyncClient, content: bytes, filename: str = "x.webm") -> str:
    """Id of a video with these bytes."""
    answer = await client.post("/v1/videos", params={"filename": filename}, content=content)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()["id"]


async def url_of(client: httpx.AsyncClient, video: str, purpose: str = "stream", **asked: object) -> str:
    """A signed URL."""
    answer = await client.post(f"/v1/videos/{video}/urls", json={"purposes": [purpose], **asked})
    assert answer.status_code == 201, answer.text
    return answer.json()["urls"][purpose]["url"]
