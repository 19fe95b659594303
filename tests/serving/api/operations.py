"""Every operation of the API: what it takes, who may do it, and what it answers.

One row each; one that is missing fails the matrix.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from serving.api.access import ANYBODY, PERSON, Needed
from tests.serving.auth.people import PASSWORD

#: Ids that are well formed and nobody's.
MISSING = {
    "video": "vid_" + "0" * 26,
    "job": "job_" + "0" * 26,
    "batch": "bat_" + "0" * 26,
    "key": "key_" + "0" * 26,
    "user": "usr_" + "0" * 26,
    "session": "ses_" + "0" * 26,
    "refresh": "rtk_" + "0" * 26,
    "invitation": "inv_" + "0" * 26,
    "webhook": "whk_" + "0" * 26,
    "upload": "upl_" + "0" * 26,
    "delivery": "dlv_" + "0" * 26,
    "vocabulary": "voc_" + "0" * 26,
    "space": "spc_" + "0" * 26,
    "tagging": "tgg_" + "0" * 26,
    "correction": "cor_" + "0" * 26,
    "retention": "ret_" + "0" * 26,
    "held": "vid_" + "0" * 25 + "1",
}


@dataclass(frozen=True, slots=True)
class Row:
    """An operation."""

    method: str
    path: str
    """With `{kind}` where the id of a thing goes."""
    scope: Needed | None
    """None: nobody has to say who they are."""
    ok: int
    json: Any = None
    """May have `{kind}` in its texts, too, and `{unique}`, which is never the same."""
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    foreign: int = 404
    """What it answers about another tenant's thing, and about none."""
    missing: int = 404
    stored: bool = False
    """Whether it wants the bytes of a video, too."""

    @property
    def target(self) -> str | None:
        """The kind of thing that it is about."""
        return next((kind for kind in MISSING if f"{{{kind}}}" in self.path + str(self.json)), None)


OPERATIONS: dict[str, Row] = {
    "live": Row("GET", "/livez", None, 200),
    "ready": Row("GET", "/readyz?part=api", None, 200),
    "explain_problem": Row("GET", "/problems/not_found", None, 200),
    "metrics": Row("GET", "/metrics", None, 200),
    "list_audit": Row("GET", "/v1/audit", "audit:read", 200),
    # jobs
    "submit_job": Row("POST", "/v1/jobs", "jobs:write", 202, json={"video_id": "{video}"}),
    "put_job": Row("PUT", "/v1/jobs/mine-{video}", "jobs:write", 202, json={"video_id": "{video}"}),
    "submit_jobs": Row("POST", "/v1/jobs/batch", "jobs:write", 202, json={"jobs": [{"video_id": "{video}"}]}),
    "get_batch": Row("GET", "/v1/jobs/batch/{batch}", "jobs:read", 200),
    "cancel_batch": Row("POST", "/v1/jobs/batch/{batch}/cancel", "jobs:write", 202),
    "get_job": Row("GET", "/v1/jobs/{job}", "jobs:read", 200),
    "get_job_report": Row("GET", "/v1/jobs/{job}/report", "jobs:read", 200),
    "list_jobs": Row("GET", "/v1/jobs", "jobs:read", 200),
    "cancel_job": Row("POST", "/v1/jobs/{job}/cancel", "jobs:write", 202),
    "retry_job": Row("POST", "/v1/jobs/{job}/retry", "jobs:write", 202),
    "create_event_ticket": Row("POST", "/v1/jobs/{job}/events/ticket", "jobs:read", 201),
    "watch_job": Row("GET", "/v1/jobs/{job}/events", "jobs:read", 200),
    # videos
    "upload_video": Row("POST", "/v1/videos", "videos:write", 201, content=b"\x1aE\xdf\xa3" + bytes(2000)),
    "list_videos": Row("GET", "/v1/videos", "videos:read", 200),
    "get_video": Row("GET", "/v1/videos/{video}", "videos:read", 200),
    "change_video": Row("PATCH", "/v1/videos/{video}", "videos:write", 200, json={"title": "new"}),
    "delete_video": Row("DELETE", "/v1/videos/{video}", "videos:write", 204),
    "create_video_urls": Row("POST", "/v1/videos/{video}/urls", "videos:read", 201, json={}),
    "revoke_video_urls": Row("DELETE", "/v1/videos/{video}/urls", "videos:write", 204),
    "stream_video": Row("GET", "/v1/videos/{video}/stream", "videos:read", 200, stored=True),
    "describe_stream": Row("HEAD", "/v1/videos/{video}/stream", "videos:read", 200, stored=True),
    # There is none.
    "stream_rendition": Row("GET", "/v1/videos/{video}/rendition/stream", "videos:read", 404),
    "describe_rendition_stream": Row("HEAD", "/v1/videos/{video}/rendition/stream", "videos:read", 404),
    # Its bytes are nowhere.
    "get_playback": Row("GET", "/v1/videos/{video}/playback", "videos:read", 404),
    "create_rendition": Row("POST", "/v1/videos/{video}/rendition", "videos:write", 404),
    "get_playlist": Row("GET", "/v1/videos/{video}/hls/index.m3u8", "videos:read", 404),
    "describe_playlist": Row("HEAD", "/v1/videos/{video}/hls/index.m3u8", "videos:read", 404),
    "get_segment": Row("GET", "/v1/videos/{video}/hls/0.m4s", "videos:read", 404),
    "describe_segment": Row("HEAD", "/v1/videos/{video}/hls/0.m4s", "videos:read", 404),
    "revoke_urls": Row("DELETE", "/v1/urls", "videos:write", 204),
    "get_report": Row("GET", "/v1/videos/{video}/report", "videos:read", 200),
    "list_segments": Row("GET", "/v1/videos/{video}/segments", "videos:read", 200),
    "list_shots": Row("GET", "/v1/videos/{video}/shots", "videos:read", 200),
    "list_tags": Row("GET", "/v1/videos/{video}/tags", "videos:read", 200),
    "get_signals": Row("GET", "/v1/videos/{video}/signals", "videos:read", 200),
    # pictures: there is no file behind these videos
    "get_pictures": Row("GET", "/v1/videos/{video}/pictures", "videos:read", 404),
    "get_thumbnail": Row("GET", "/v1/videos/{video}/thumbnail?at_s=1.5", "videos:read", 404),
    "describe_thumbnail": Row("HEAD", "/v1/videos/{video}/thumbnail?at_s=1.5", "videos:read", 404),
    "get_poster": Row("GET", "/v1/videos/{video}/poster", "videos:read", 404),
    "describe_poster": Row("HEAD", "/v1/videos/{video}/poster", "videos:read", 404),
    "get_storyboard": Row("GET", "/v1/videos/{video}/storyboard.jpg", "videos:read", 404),
    "describe_storyboard": Row("HEAD", "/v1/videos/{video}/storyboard.jpg", "videos:read", 404),
    "get_storyboard_track": Row("GET", "/v1/videos/{video}/storyboard.vtt", "videos:read", 404),
    "describe_storyboard_track": Row("HEAD", "/v1/videos/{video}/storyboard.vtt", "videos:read", 404),
    "get_chapters_track": Row("GET", "/v1/videos/{video}/chapters.vtt", "videos:read", 200),
    "describe_chapters_track": Row("HEAD", "/v1/videos/{video}/chapters.vtt", "videos:read", 200),
    "get_tags_track": Row("GET", "/v1/videos/{video}/tags.vtt", "videos:read", 200),
    "describe_tags_track": Row("HEAD", "/v1/videos/{video}/tags.vtt", "videos:read", 200),
    # uploads
    "put_video": Row("PUT", "/v1/videos/files/x.mp4", "videos:write", 201, content=b"\x1aE\xdf\xa3" + bytes(2000)),
    "fetch_upload": Row("POST", "/v1/uploads/url", "videos:write", 202, json={"url": "https://example.com/x.mp4"}),
    "get_usage": Row("GET", "/v1/usage", "videos:read", 200),
    "list_uploads": Row("GET", "/v1/uploads", "videos:write", 200),
    "create_upload": Row(
        "POST", "/v1/uploads", "videos:write", 201, headers={"Tus-Resumable": "1.0.0", "Upload-Length": "100"}
    ),
    "get_upload": Row("GET", "/v1/uploads/{upload}", "videos:write", 200),
    "get_upload_offset": Row("HEAD", "/v1/uploads/{upload}", "videos:write", 200, headers={"Tus-Resumable": "1.0.0"}),
    "append_to_upload": Row(
        "PATCH",
        "/v1/uploads/{upload}",
        "videos:write",
        204,
        content=b"x",
        headers={
            "Tus-Resumable": "1.0.0",
            "Upload-Offset": "0",
            "Content-Type": "application/offset+octet-stream",
        },
    ),
    "cancel_upload": Row("DELETE", "/v1/uploads/{upload}", "videos:write", 204, headers={"Tus-Resumable": "1.0.0"}),
    # webhooks
    "list_webhooks": Row("GET", "/v1/webhooks", "webhooks:manage", 200),
    "create_webhook": Row("POST", "/v1/webhooks", "webhooks:manage", 201, json={"url": "https://example.com/hook"}),
    "get_webhook": Row("GET", "/v1/webhooks/{webhook}", "webhooks:manage", 200),
    "patch_webhook": Row("PATCH", "/v1/webhooks/{webhook}", "webhooks:manage", 200, json={"description": "new"}),
    "delete_webhook": Row("DELETE", "/v1/webhooks/{webhook}", "webhooks:manage", 204),
    "rotate_webhook_secret": Row("POST", "/v1/webhooks/{webhook}/rotate", "webhooks:manage", 200),
    "test_webhook": Row("POST", "/v1/webhooks/{webhook}/test", "webhooks:manage", 202),
    "list_webhook_deliveries": Row("GET", "/v1/webhooks/{webhook}/deliveries", "webhooks:manage", 200),
    "resend_webhook_delivery": Row(
        "POST", "/v1/webhooks/{webhook}/deliveries/{delivery}/resend", "webhooks:manage", 202
    ),
    # models
    "list_models": Row("GET", "/v1/models", "jobs:read", 200),
    "get_model": Row("GET", "/v1/models/bundled", "jobs:read", 200),
    # There is no graph.
    "embed_texts": Row("POST", "/v1/embeddings", "videos:read", 503, json={"input": ["a red circle"]}),
    # search
    "search": Row("POST", "/v1/search", "videos:read", 200, json={"query": [{"text": "a red circle"}]}),
    "list_spaces": Row("GET", "/v1/spaces", "videos:read", 200),
    "get_space": Row("GET", "/v1/spaces/{space}", "videos:read", 200),
    # Nobody is there to say what the model's space is.
    "build_space": Row("POST", "/v1/spaces", "jobs:write", 503, json={"model": "bundled"}),
    "activate_space": Row("POST", "/v1/spaces/{space}/activate", "jobs:write", 200, json={}),
    "remove_space": Row("DELETE", "/v1/spaces/{space}", "jobs:write", 204),
    # copies and recommendations
    "list_video_copies": Row("GET", "/v1/videos/{video}/copies", "videos:read", 200),
    "list_copies": Row("GET", "/v1/copies", "videos:read", 200),
    # Nothing has vectors.
    "list_similar_videos": Row("GET", "/v1/videos/{video}/similar", "videos:read", 404),
    "list_similar_segments": Row("GET", "/v1/videos/{video}/segments/0/similar", "videos:read", 404),
    "recommend": Row("POST", "/v1/recommendations", "videos:read", 200, json={"diversity": 0.5}),
    # data rights
    "list_erasures": Row("GET", "/v1/erasures", "rights:manage", 200),
    "place_hold": Row("PUT", "/v1/videos/{video}/hold", "rights:manage", 200, json={"reason": "file 12"}),
    "get_hold": Row("GET", "/v1/videos/{held}/hold", "rights:manage", 200),
    "release_hold": Row("DELETE", "/v1/videos/{held}/hold", "rights:manage", 204),
    "list_retention_rules": Row("GET", "/v1/retention", "rights:manage", 200),
    "create_retention_rule": Row(
        # Another label each time, or there would be a rule for it.
        "POST",
        "/v1/retention",
        "rights:manage",
        201,
        json={"label": "{unique}", "keep_days": None},
    ),
    "change_retention_rule": Row("PATCH", "/v1/retention/{retention}", "rights:manage", 200, json={"keep_days": 7}),
    "delete_retention_rule": Row("DELETE", "/v1/retention/{retention}", "rights:manage", 204),
    "export_video": Row("GET", "/v1/videos/{video}/export", "rights:manage", 200),
    "export_tenant": Row("GET", "/v1/export", "rights:manage", 200),
    "import_archive": Row("POST", "/v1/import", "rights:manage", 422, content=b"no archive"),
    "preview_retention": Row("GET", "/v1/retention/preview", "rights:manage", 200),
    # vocabularies
    "list_vocabularies": Row("GET", "/v1/vocabularies", "videos:read", 200),
    "create_vocabulary": Row(
        "POST",
        "/v1/vocabularies",
        "vocabularies:write",
        201,
        # Another name each time, or it would be taken.
        json={"name": "of-{unique}", "labels": [{"name": "a dog"}]},
    ),
    "get_vocabulary": Row("GET", "/v1/vocabularies/{vocabulary}", "videos:read", 200),
    "replace_vocabulary": Row(
        "PUT",
        "/v1/vocabularies/{vocabulary}",
        "vocabularies:write",
        200,
        json={"name": "of-{unique}", "labels": [{"name": "a cat"}]},
    ),
    "delete_vocabulary": Row("DELETE", "/v1/vocabularies/{vocabulary}", "vocabularies:write", 204),
    # taxonomies
    "apply_vocabulary": Row("POST", "/v1/vocabularies/{vocabulary}/apply", "vocabularies:write", 202),
    "unapply_vocabulary": Row("DELETE", "/v1/vocabularies/{vocabulary}/apply", "vocabularies:write", 204),
    "list_taggings": Row("GET", "/v1/taggings", "videos:read", 200),
    "get_tagging": Row("GET", "/v1/taggings/{tagging}", "videos:read", 200),
    "cancel_tagging": Row("POST", "/v1/taggings/{tagging}/cancel", "vocabularies:write", 200),
    "correct": Row(
        "POST",
        "/v1/corrections",
        "vocabularies:write",
        200,
        json={"video_id": "{video}", "label": "a dog", "verdict": "accepted"},
    ),
    "list_corrections": Row("GET", "/v1/corrections", "videos:read", 200),
    "delete_correction": Row("DELETE", "/v1/corrections/{correction}", "vocabularies:write", 204),
    "list_learned": Row("GET", "/v1/vocabularies/{vocabulary}/learned", "videos:read", 200),
    # Nothing was learnt.
    "undo_learned": Row(
        "POST",
        "/v1/vocabularies/{vocabulary}/learned/undo",
        "vocabularies:write",
        409,
        json={"label": "a dog"},
    ),
    "list_learning": Row("GET", "/v1/vocabularies/{vocabulary}/learning", "videos:read", 200),
    "learn": Row("POST", "/v1/vocabularies/{vocabulary}/learning", "vocabularies:write", 202, json={"label": "a dog"}),
    # signing in
    "sign_in": Row(
        "POST",
        "/v1/auth/token",
        None,
        200,
        json={"email": "{user}@example.com", "password": PASSWORD, "tenant": "a"},
        foreign=401,
        missing=401,
    ),
    # Whoever has a refresh token is whom it was given to.
    "refresh_session": Row(
        "POST", "/v1/auth/refresh", None, 200, json={"refresh_token": "{refresh}"}, foreign=200, missing=401
    ),
    "sign_out": Row(
        "POST", "/v1/auth/logout", None, 204, json={"refresh_token": "{refresh}"}, foreign=204, missing=204
    ),
    # Whoever has an invitation is whom it was made for.
    "accept_invitation": Row(
        "POST",
        "/v1/auth/password",
        None,
        204,
        json={"invitation": "{invitation}", "password": PASSWORD},
        foreign=204,
        missing=401,
    ),
    # who asks
    "get_me": Row("GET", "/v1/me", ANYBODY, 200),
    "change_my_password": Row(
        "POST", "/v1/me/password", PERSON, 204, json={"old_password": PASSWORD, "new_password": PASSWORD}
    ),
    "list_my_sessions": Row("GET", "/v1/me/sessions", PERSON, 200),
    "end_my_session": Row("DELETE", "/v1/me/sessions/{session}", PERSON, 204),
    # users
    "create_user": Row(
        "POST",
        "/v1/users",
        "users:manage",
        201,
        json={"email": "{unique}@example.com", "name": "n", "role": "viewer", "password": PASSWORD},
    ),
    "list_users": Row("GET", "/v1/users", "users:manage", 200),
    "get_user": Row("GET", "/v1/users/{user}", "users:manage", 200),
    "change_user": Row("PATCH", "/v1/users/{user}", "users:manage", 200, json={"name": "new"}),
    "invite_user": Row("POST", "/v1/users/{user}/invitation", "users:manage", 201),
    "delete_user": Row("DELETE", "/v1/users/{user}", "users:manage", 204),
    # keys
    "create_key": Row("POST", "/v1/keys", "keys:manage", 201, json={"name": "k", "scopes": ["jobs:read"]}),
    "list_keys": Row("GET", "/v1/keys", "keys:manage", 200),
    "revoke_key": Row("DELETE", "/v1/keys/{key}", "keys:manage", 204),
}
