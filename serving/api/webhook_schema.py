"""What receivers of webhooks are sent, as the schema's `webhooks`."""

import inspect
from typing import Any, Final

import msgspec

from serving.api.examples import JOB, VIDEO
from serving.webhooks.messages import MESSAGES

_REF: Final = "#/components/schemas/{name}"

_ABOUT_JOB: Final = {"job_id": JOB, "video_id": VIDEO}

_DATA: Final[dict[str, dict[str, Any]]] = {
    "job.succeeded": _ABOUT_JOB | {"state": "succeeded", "segments": 5, "shots": 12, "tags": 9},
    "job.failed": _ABOUT_JOB
    | {
        "state": "failed",
        "error": {
            "type": "/problems/truncated",
            "title": "The file ends too early",
            "status": 422,
            "code": "truncated",
            "detail": "holiday.mp4: the file ends in the middle of its first frame",
            "retryable": False,
        },
    },
    "job.canceled": _ABOUT_JOB | {"state": "canceled"},
    "webhook.test": {"webhook_id": "whk_01KB3T5Q8ZJ6W0Y4N2M7R9C1XD"},
}

#: Headers of Standard Webhooks, which say which message it is and that it is ours.
_HEADERS: Final = {
    "webhook-id": ("The message's id, the same at every attempt: by it, what came twice is told.", "msg_01KB3T5Q8Z"),
    "webhook-timestamp": (
        "When it was sent, seconds since 1970; older than five minutes is to be refused.",
        "1764104970",
    ),
    "webhook-signature": (
        "`v1,` and the signature in base64, HMAC-SHA256 over `id.timestamp.body`; while a secret is rotated two, with "
        "a space between. See standardwebhooks.com.",
        "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
    ),
}


def webhooks() -> tuple[dict[str, Any], dict[str, Any]]:
    """Type of event -> its path item; and the schemas that they refer to."""
    _, components = msgspec.json.schema_components(list(MESSAGES.values()), ref_template=_REF)
    return {type_: {"post": _operation(type_)} for type_ in MESSAGES}, components


def _operation(type_: str) -> dict[str, Any]:
    message = MESSAGES[type_]
    example = {"type": type_, "timestamp": "2026-11-25T21:09:30Z", "data": _DATA[type_]}
    schema = {"$ref": _REF.format(name=message.__name__)}
    return {
        "operationId": f"receive_{type_.replace('.', '_')}",
        "summary": (inspect.getdoc(message) or "").rstrip("."),
        "description": "Sent at least once, in no certain order, and again for a day until it is answered with 2xx; "
        "410 disables the webhook.",
        "tags": ["webhooks"],
        "security": [],
        "parameters": [
            {
                "name": name,
                "in": "header",
                "required": True,
                "description": text,
                "schema": {"type": "string", "examples": [example_]},
            }
            for name, (text, example_) in _HEADERS.items()
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema, "example": example}}},
        "responses": {
            "2XX": {"description": "It arrived"},
            "410": {"description": "No more of them, please"},
        },
    }
