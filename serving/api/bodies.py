"""Bodies and answers that the framework cannot tell from a handler's types: bytes, streams, pages, second statuses."""

from typing import Any, Final

_BYTES: Final = {"type": "string", "format": "binary"}


def _raw(*media_types: str, schema: dict[str, Any] = _BYTES) -> dict[str, Any]:
    return {media_type: {"schema": schema} for media_type in media_types}


def _body(content: dict[str, Any], description: str, *, required: bool = True) -> dict[str, Any]:
    return {"content": content, "description": description, "required": required}


#: Type of archives.
TAR: Final = "application/x-tar"

_PIECE: Final = _raw("application/offset+octet-stream")
_FORM: Final = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "minLength": 1, "maxLength": 500, "description": "Goes before the file."},
        "file": {"type": "string", "format": "binary", "description": "The video."},
    },
    "required": ["file"],
    "additionalProperties": False,
}

#: Operation -> its body, where that is no JSON.
REQUESTS: Final[dict[str, dict[str, Any]]] = {
    "upload_video": _body(
        _raw("application/octet-stream", "video/*") | _raw("multipart/form-data", schema=_FORM),
        "The video's bytes, as they are or as the one file of a form.",
    ),
    "put_video": _body(_raw("application/octet-stream", "video/*"), "The video's bytes, as they are."),
    "append_to_upload": _body(_PIECE, "The bytes from `Upload-Offset` on."),
    "import_archive": _body(_raw(TAR), "An archive, as an export gave it."),
    "create_upload": _body(_PIECE, "The first bytes, where some come along.", required=False),
}


def _tus(*, required: bool = True) -> dict[str, Any]:
    return {
        "name": "Tus-Resumable",
        "in": "header",
        "required": required,
        "description": "Version of the protocol; another one is refused with 412."
        + ("" if required else " Left out where the server fetches."),
        "schema": {"type": "string", "enum": ["1.0.0"], "examples": ["1.0.0"]},
    }


#: Operation -> parameters that are looked at before the handler is.
FURTHER_PARAMETERS: Final[dict[str, list[dict[str, Any]]]] = {
    "create_upload": [_tus()],
    "get_upload_offset": [_tus()],
    "append_to_upload": [_tus()],
    "cancel_upload": [_tus(required=False)],
}

#: Parameters that their handlers miss themselves, to say so in the words of a protocol.
REQUIRED: Final = {("append_to_upload", "Upload-Offset")}

_TOML_EXAMPLE: Final = '[categories]\nanimals = ["a dog", "a cat"]\n'

#: Operation -> further types of a JSON body.
FURTHER_REQUESTS: Final[dict[str, dict[str, Any]]] = {
    name: {"application/toml": {"schema": {"type": "string"}, "example": _TOML_EXAMPLE}}
    for name in ("create_vocabulary", "replace_vocabulary")
}

_PICTURES: Final = ("get_thumbnail", "get_poster", "get_storyboard")
_TRACKS: Final = ("get_storyboard_track", "get_chapters_track", "get_tags_track")

_STREAM: Final = {
    "type": "string",
    "description": "Server-Sent Events: `id` counts from 1, `event` is the kind, `data` a JSON object with `at`.",
}

_VIDEO: Final = {
    name: {"schema": _BYTES} for name in ("video/*", "application/mxf", "image/gif", "application/octet-stream")
}

#: Operation -> status -> an answer besides those that the handler declares. `like` is the status of one that has the
#: same body.
FURTHER_ANSWERS: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "submit_job": {"200": {"description": "It is over already", "like": "202"}},
    "put_job": {"200": {"description": "It is over already", "like": "202"}},
    "upload_video": {"200": {"description": "The same bytes were there already", "like": "201"}},
    "put_video": {"200": {"description": "The same bytes were there already", "like": "201"}},
    "stream_video": {
        "206": {"description": "The range that was asked for", "like": "200"},
        "304": {"description": "They are those that `If-None-Match` names"},
    },
    "get_segment": {"304": {"description": "It is the one that `If-None-Match` names"}},
    "describe_stream": {"304": {"description": "They are those that `If-None-Match` names"}},
    "watch_job": {"204": {"description": "The job is over, and all was told"}},
    "get_vocabulary": {"304": {"description": "It is the version that `If-None-Match` names"}},
    **{name: {"304": {"description": "It is the one that `If-None-Match` names"}} for name in (*_PICTURES, *_TRACKS)},
}

#: Operation -> status -> type -> what else an answer may be, or is instead of JSON.
ANSWERS: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "stream_video": {"200": _VIDEO, "206": _VIDEO},
    "get_playlist": {"200": {"application/vnd.apple.mpegurl": {"schema": {"type": "string"}}}},
    "get_segment": {"200": {"video/mp4": {"schema": {"type": "string", "format": "binary"}}}},
    "watch_job": {"200": {"text/event-stream": {"schema": _STREAM}}},
    "export_video": {"200": _raw(TAR)},
    "export_tenant": {"200": _raw(TAR)},
    "get_vocabulary": {"200": {"application/toml": {"schema": {"type": "string"}}}},
    **{name: {"200": _raw("image/jpeg", "image/webp")} for name in ("get_thumbnail", "get_poster")},
    "get_storyboard": {"200": _raw("image/jpeg")},
    **{name: {"200": _raw("text/vtt", schema={"type": "string"})} for name in _TRACKS},
    "explain_problem": {"404": {"text/html": {"schema": {"type": "string"}}}},
}

#: Answers without a body, whatever type the handler's annotation comes to.
EMPTY: Final = {("create_upload", "201")}

TAGS: Final[dict[str, str]] = {
    "audit": "Who changed what, and who was refused what.",
    "auth": "People sign in, and stay so.",
    "health": "Whether the server lives, is ready, and how it does.",
    "jobs": "Analyses: asked for, watched, stopped, tried again. A job that was taken is never lost.",
    "keys": "Keys of programs, with scopes.",
    "copies": "Videos that share stretches, however they were altered.",
    "me": "Whoever asks.",
    "models": "What jobs may be done with, and where it is loaded.",
    "playback": "A video's bytes, for players: in ranges and in segments, by URLs that need no key.",
    "pictures": "Pictures of a moment, of the whole, of all of it at a glance; chapters and tags as text tracks.",
    "problems": "The page behind each kind of problem.",
    "recommendations": "What is like something, what somebody may like, what to begin with.",
    "rights": "How long videos are kept, which have to stay, and which are gone.",
    "search": "Find moments by what they show and what is said of them.",
    "taxonomies": "Vocabularies that stand for a library: its tags, what is said of them, and what is learnt of that.",
    "uploads": "Videos on their way in: in one request, in pieces (tus 1.0), or fetched from an address.",
    "users": "People who may sign in.",
    "videos": "What was uploaded, and what their latest report found.",
    "vocabularies": "Labels to look for, under a name; some come with the server.",
    "webhooks": "Addresses that are told what happens.",
}
