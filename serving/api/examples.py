"""Examples of what is sent, by the name that it has in the schema. A test holds each against its schema."""

from typing import Any, Final

from serving.api.page import encode_cursor

#: ULIDs of a thing each, as ids look.
_ID: Final = "01KB3T5Q8ZJ6W0Y4N2M7R9C1XD"

VIDEO: Final = f"vid_{_ID}"
JOB: Final = f"job_{_ID}"

#: Of parameters, by name; `operation.name` goes before the name alone.
PARAMETERS: Final[dict[str, Any]] = {
    "Idempotency-Key": "b2f1c0de-0d1e-4c55-9c35-6a2f6c1e9a10",
    "If-Match": '"3"',
    "If-None-Match": '"3"',
    "Last-Event-ID": "17",
    "Prefer": "wait=30",
    "Upload-Checksum": "sha256 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
    "Upload-Defer-Length": "1",
    "Upload-Length": 73_400_320,
    "Upload-Metadata": "filename aG9saWRheS5tcDQ=",
    "Upload-Offset": 0,
    "actor": f"key_{_ID}",
    "after": "2026-11-01T00:00:00Z",
    "batch_id": f"bat_{_ID}",
    "before": "2026-12-01T00:00:00+01:00",
    "code": "not_found",
    "correction_id": f"cor_{_ID}",
    "created_after": "2026-11-01T00:00:00Z",
    "created_before": "2026-12-01T00:00:00+01:00",
    "cursor": encode_cursor(("2026-11-25T21:09:30Z", VIDEO)),
    "delivery_id": f"dlv_{_ID}",
    "filename": "holiday.mp4",
    "job_id": JOB,
    "key_id": f"key_{_ID}",
    "kind": "write",
    "list_tags.kind": "category",
    "label": "summer",
    "list_corrections.label": "a dog",
    "list_learned.label": "a dog",
    "limit": 50,
    "max": 3,
    "max_duration_s": 3600,
    "metadata": ["project:apollo", "year:2026"],
    "min_duration_s": 10.5,
    "min_score": 0.8,
    "name": "mine",
    "get_model.name": "bundled",
    "operation": "delete_video",
    "overlap_s": 3600,
    "part": "api",
    "q": "harbour",
    "session_id": f"ses_{_ID}",
    "sort": "-duration_s",
    "state": "running",
    "status": "analyzed",
    "list_uploads.status": "waiting",
    "tag": "a dog",
    "tagging_id": f"tgg_{_ID}",
    "target_s": 30,
    "ticket": "eyJhbGciOiJIUzI1NiJ9.eyJ0eXAiOiJ0aWNrZXQifQ.c2lnbmF0dXJl",
    "title": "Harbour festival",
    "upload_id": f"upl_{_ID}",
    "user_id": f"usr_{_ID}",
    "video_id": VIDEO,
    "verdict": "rejected",
    "vocabulary": "general",
    "webhook_id": f"whk_{_ID}",
    "weights": "motion=2,audio=0",
}

#: What parameters mean whose handlers do not say it: by name, for they mean the same everywhere.
TEXTS: Final[dict[str, str]] = {
    "Idempotency-Key": "A word of your own: with the same one, the same request does its work once.",
    "Last-Event-ID": "The `id` of the last event that you saw: the stream goes on behind it.",
    "Prefer": "`wait=N`: the answer comes once the job is over, or after N seconds, at most 60.",
    "Upload-Checksum": "Algorithm and digest in base64 of this body; other bytes are refused with 460.",
    "Upload-Defer-Length": "`1` where the length is not known yet.",
    "Upload-Length": "Bytes of the whole upload.",
    "Upload-Metadata": "`filename` and `title`, each with its value in base64.",
    "Upload-Offset": "Where these bytes belong: how many there are already.",
    "batch_id": "Of this batch only.",
    "code": "Kind of a problem, its `code`.",
    "created_after": "Made later than this; with a zone.",
    "created_before": "Made earlier than this; with a zone.",
    "cursor": "`next_cursor` of the page before.",
    "filename": "What the file is called.",
    "limit": "Entries of a page.",
    "max": "Segments, at most.",
    "max_duration_s": "At most so long, seconds; only videos that were analysed have a length.",
    "min_duration_s": "At least so long, seconds.",
    "sort": "By what; with `-`, downwards.",
    "state": "In this state only.",
    "status": "Of this status only.",
    "target_s": "Seconds of all segments together, about.",
    "title": "What it is to be called; its file's name where this is left out.",
    "video_id": "Of this video only.",
}

_SPEC: Final = {"sampling": {"fps": 2.0}, "segments": {"max_segments": 3, "weights": {"motion": 2.0, "relevance": 1.0}}}

#: Of JSON bodies, by the schema that they have.
BODIES: Final[dict[str, Any]] = {
    "BatchRequest": {"jobs": [{"video_id": VIDEO}, {"video_id": VIDEO, "spec": {"sampling": {"policy": "keyframes"}}}]},
    "EmbeddingRequest": {"model": "auto", "input": ["a red car on a bridge", "a harbour at night"]},
    "CorrectionRequest": {
        "video_id": VIDEO,
        "vocabulary": "pets",
        "label": "a poodle",
        "verdict": "rejected",
        "start_s": 12.0,
        "end_s": 15.5,
    },
    "FetchRequest": {"url": "https://example.com/holiday.mp4", "title": "Holiday", "job": {"spec": _SPEC}},
    "GivenRefreshToken": {"refresh_token": "rtk_4fX0n1Yw2s9Jt8RkQm7LcVbZp3HdGe6UaS5iOyTzWxE"},
    "JobRequest": {"video_id": VIDEO, "spec": _SPEC, "vocabulary": "general"},
    "KeyRequest": {
        "name": "ci",
        "scopes": ["videos:read", "jobs:read", "jobs:write"],
        "expires_at": "2027-01-01T00:00:00Z",
    },
    "LabelRequest": {"label": "a poodle"},
    "PasswordChange": {"old_password": "correct horse battery", "new_password": "staple under a blue moon"},
    "SearchRequest": {
        "query": [
            {"text": "a boat in a harbour"},
            {"moment": {"video_id": VIDEO, "at_s": 12.5}, "weight": 0.5},
            {"text": "rain", "weight": -1.0},
        ],
        "group_by": "moments",
        "where": {"label": "summer", "metadata": ["project:apollo"], "before_s": 600},
        "min_score": 0.8,
    },
    "SignIn": {"email": "ada@example.com", "password": "correct horse battery"},
    "UserPatch": {"role": "viewer"},
    "UserRequest": {
        "email": "ada@example.com",
        "name": "Ada",
        "password": "correct horse battery",
        "role": "editor",
    },
    "VideoPatch": {"title": "Harbour festival", "labels": ["summer"], "user_metadata": {"project": "apollo"}},
    "VocabularyRequest": {
        "name": "pets",
        "description": "What lives with people.",
        "labels": [
            {
                "name": "a poodle",
                "prompts": ["a curly dog"],
                "threshold": 0.6,
                "parent": "a dog",
                "aliases": ["a caniche"],
            },
            {"name": "a dog", "parent": "animals", "aliases": ["hound"]},
            {"name": "a cat", "parent": "animals"},
        ],
    },
    "WebhookPatch": {"enabled": True},
    "WebhookRequest": {"url": "https://example.com/hooks/video", "events": ["job.succeeded", "job.failed"]},
}
