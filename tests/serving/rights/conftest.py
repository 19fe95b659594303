"""A library in which something is known of a video in every place where something can be."""

import base64
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from models.base import Likelihood
from pipeline.indexing import index_of
from pipeline.report import Embeddings, Report
from pipeline.tracks import Track
from serving.db.copies import LOOKS_DIM
from serving.jobs import outcomes
from tests.serving.api.conftest import call, call_shared, url
from tests.serving.api.fuzz_world import METRICS

__all__ = ["call", "call_shared", "url"]

#: What begins as a video does.
HEAD = b"\x1aE\xdf\xa3"


async def uploaded(client, content: bytes, **query: str) -> dict:
    """A video that was sent; as callers see it."""
    answer = await client.post("/v1/videos", params=query, content=HEAD + content)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


async def analyzed(api, client, video_id: str, report: Report, **headers: str) -> str:
    """A job for a video, done as a worker does it; its id."""
    answer = await client.post("/v1/jobs", json={"video_id": video_id, "priority": 5}, headers=headers)
    assert answer.status_code == 202, answer.text
    lease = await api.world.queue.claim("w")
    assert lease.video_id == video_id
    await api.world.queue.checkpoint(lease, [("clip", b"of a checkpoint")])
    index = index_of(report, Likelihood(scale=10.0, bias=None))
    await outcomes.succeed(api.world.database, api.store.keyring, lease, report, METRICS, index, looks())
    return lease.job_id


def looks() -> Track:
    """What a video looks like."""
    vectors = np.random.default_rng(1).normal(size=(3, LOOKS_DIM)).astype(np.float32)
    return Track(vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True), pts_s=np.arange(3.0))


def marked(report: Report, mark: str) -> Report:
    """A report that can be told from others wherever a part of it is."""
    replace = msgspec.structs.replace
    vectors = np.random.default_rng(2).normal(size=(4, 4)).astype("<f2")
    embeddings = Embeddings(
        space="9b1f02ac",
        dim=4,
        pts_s=(0.5, 10.0, 24.0, 50.0),
        float16_base64=base64.b64encode(vectors.tobytes()).decode(),
    )
    return replace(
        report,
        features=replace(report.features, embeddings=embeddings),
        tags=tuple(replace(tag, label=f"{mark} {tag.label}") for tag in report.tags),
        segments=tuple(replace(one, reasons=(f"{mark} reason",)) for one in report.segments),
    )


#: Rows that no operation of these tests makes: what comes of uploads, of other models, of copies.
BESIDES = """
INSERT INTO upload (id, tenant_id, status, method, filename, title, url, received_bytes, video_id, expires_at, sha256)
    VALUES ('upl_' || :video, 'a', 'completed', 'url', cast(:mark AS text), :mark, :mark, 0, :video,
        now(), 'x');
INSERT INTO idempotency_key (tenant_id, operation, key, digest, target)
    VALUES ('a', 'fetch_video', 'key:fetched ' || :video, '', 'upl_' || :video);
INSERT INTO video_copy (id, tenant_id, first_id, second_id, first_share, second_share, likeness, moments, stretches)
    VALUES ('cpy_' || :video, 'a', least(:video, :other), greatest(:video, :other), 1, 1, 1, 1, '[]');
INSERT INTO rendition (video_id, tenant_id, state, attempts, fence, detail)
    VALUES (:video, 'a', 'failed', 1, 1, cast(:mark AS text));
INSERT INTO derived (video_id, object_key, name, tenant_id, sealed)
    SELECT id, object_key, 'cut', 'a', convert_to(:mark, 'UTF8') FROM video WHERE id = :video;
INSERT INTO space (tenant_id, space, dim, model, scale, state) VALUES ('a', 'shadow', 4, 'other', 1, 'shadow')
    ON CONFLICT DO NOTHING;
INSERT INTO space_due (tenant_id, space, video_id) VALUES ('a', 'shadow', :video);
INSERT INTO checkpoint (tenant_id, feature_key, clip, video_id, output)
    SELECT 'a', feature_key, 'late', :video, convert_to(:mark, 'UTF8') FROM job WHERE video_id = :video LIMIT 1;
INSERT INTO found_tags (video_id, vocabulary_id, tenant_id, space, tags, stamp)
    SELECT :video, id, 'a', '9b1f02ac', '[]', '' FROM vocabulary WHERE tenant_id = 'a';
INSERT INTO learned_label (id, tenant_id, vocabulary_id, label, number, space, basis, kind, threshold, accepted,
        rejected, before, after, gained, lost, gained_videos, lost_videos)
    SELECT 'lrn_1', 'a', id, 'a dog', 1, '9b1f02ac', '', 'threshold',
        0.5, 1, 1, '{}', '{}', 2, 1, ARRAY[:video, :other], ARRAY[:other, :video]
    FROM vocabulary WHERE tenant_id = 'a';
"""


async def lived_in(api, mark: str, report: Report, other: str | None = None) -> str:
    """A video of tenant `a` of which something is known everywhere; its id. `other`: one that it shares a stretch
    with."""
    video = (await uploaded(api.a, mark.encode() * 50, filename=f"{mark}.mp4", title=f"{mark} title"))["id"]
    changes = {"labels": [mark], "user_metadata": {"who": f"{mark} person"}}
    assert (await api.a.patch(f"/v1/videos/{video}", json=changes)).status_code == 200
    await analyzed(api, api.a, video, marked(report, mark), **{"Idempotency-Key": f"{mark}-key"})
    name = "held"
    made = await api.a.post("/v1/vocabularies", json={"name": name, "labels": [{"name": "a dog"}]})
    assert made.status_code in (201, 409), made.text
    for vocabulary, label in ((None, f"{mark} said"), (name, "a dog")):
        said = {"video_id": video, "label": label, "verdict": "accepted", "vocabulary": vocabulary}
        answer = await api.a.post("/v1/corrections", json={k: v for k, v in said.items() if v is not None})
        assert answer.status_code == 200, answer.text
    for statement in BESIDES.split(";\n"):
        if statement.strip() and (other or ":other" not in statement):
            values = {
                name: value
                for name, value in (("video", video), ("other", other), ("mark", mark))
                if f":{name}" in statement
            }
            await api.world.change(statement, **values)
    batch = {"jobs": [{"video_id": video, "spec": {"model": mark}}]}
    assert (await api.a.post("/v1/jobs/batch", json=batch, headers={"Idempotency-Key": mark})).status_code == 202
    return video


@pytest.fixture
def library(call, sample_report) -> Callable:
    """As `call`, for `async def test(api, video)`, where a video is of which all is known."""

    def run(body: Callable) -> None:
        async def with_video(api) -> None:
            # Those of the world have no bytes.
            await api.world.change("DELETE FROM video")
            video = await lived_in(api, "MARKED", sample_report)
            await api.world.change("UPDATE vocabulary SET applied_at = now()")
            tag = {"label": "a dog", "kind": "tag", "parent": None, "score": 0.9, "coverage": 0.5, "start_s": 1.0}
            tag |= {"end_s": 2.0, "ranges": [{"start_s": 1.0, "end_s": 2.0, "score": 0.9}]}
            tag |= {"source": {"name": "bundled", "version": "1"}}
            await api.world.change(
                "UPDATE found_tags SET tags = cast(:tags AS jsonb)", tags=msgspec.json.encode([tag]).decode()
            )
            said = {"video_id": video, "label": "a dog", "verdict": "rejected", "vocabulary": "held", "start_s": 1.5}
            assert (await api.a.post("/v1/corrections", json=said)).status_code == 200
            await body(api, video)

        call(with_video)

    return run
