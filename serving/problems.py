"""Every problem the server tells: its code, HTTP status, title, and what can be done. One table.

`pipeline.errors` gives the codes of videos, `serving.errors` those of the server.
"""

from dataclasses import dataclass
from typing import Final

from serving.errors import MasterKeyUnavailable, StorageUnavailable


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem."""

    status: int
    title: str
    remedy: str


_VIDEO: Final = 422

KINDS: Final[dict[str, Kind]] = {
    # the request
    "invalid_request": Kind(400, "The request is not valid", "Mend what `errors` points at and send it again."),
    "invalid_spec": Kind(400, "The analysis cannot be done as asked", "Mend the field that `detail` names."),
    "wrong_password": Kind(400, "The password is another one", "Give the password that you sign in with."),
    "weak_password": Kind(
        400,
        "The password is too easily guessed",
        "Choose another one: a few words that have nothing to do with you or with this server.",
    ),
    "unauthenticated": Kind(401, "Who asks is not known", "Send a key or an access token that is good."),
    "forbidden": Kind(403, "This is not allowed", "Ask an administrator for a key with the scope, or for the role."),
    "sign_in_again": Kind(
        403,
        "One has to have signed in just now",
        "Sign in with the password, and do it in the session that this begins.",
    ),
    "url_refused": Kind(
        403, "The URL is not good for this", "Ask for a new one: each is for one purpose of one video, and for a while."
    ),
    "not_found": Kind(404, "There is no such thing", "Look up the id; what belongs to others looks like this, too."),
    "not_in_space": Kind(
        404,
        "Items have no vector in the space",
        "Leave out what `errors` points at, or analyse those videos with the model of the space.",
    ),
    "method_not_allowed": Kind(405, "This cannot be done here", "See the documentation for what can."),
    "request_timeout": Kind(408, "The request did not come in time", "Send it again, without pauses."),
    "conflict": Kind(409, "It cannot be done in this state", "Read what it is like now, and decide anew."),
    "legal_hold": Kind(409, "A legal hold keeps the video", "Have an administrator release it, if it may go."),
    "backup_refused": Kind(409, "The backup cannot be made or restored", "Do what `detail` says."),
    "archive_refused": Kind(422, "This is no archive that can be imported", "Export it anew, and send it whole."),
    "space_mismatch": Kind(
        409, "Vectors of two spaces are not compared", "Search in one space, with the model that the videos have."
    ),
    "gone": Kind(410, "It is no longer there", "Start anew."),
    "version_changed": Kind(412, "It was changed meanwhile", "Read what it is like now, and change that."),
    "protocol_version": Kind(412, "The protocol's version is not spoken here", "Use one that `Tus-Version` names."),
    "too_large": Kind(413, "That is too large", "Send less, or have the operator raise the limit."),
    # Not 507: it is no fault of the server, and nothing that a repeated request would find mended.
    "quota_exceeded": Kind(413, "The quota is used up", "Delete videos, or have the operator raise the quota."),
    "range_not_satisfiable": Kind(416, "There is nothing in that range", "Ask for bytes that are there."),
    "unsupported_media_type": Kind(
        415, "The body is of a type that is not read", "See the documentation for which are."
    ),
    "idempotency_key_reused": Kind(422, "The idempotency key was used before", "Use a new key for another request."),
    "address_refused": Kind(422, "The address is not one this server goes to", "Use a public http or https address."),
    "fetch_failed": Kind(422, "The address could not be read", "Check that it can be read from elsewhere; try again."),
    "headers_too_large": Kind(431, "The headers are too long", "Send fewer or shorter headers."),
    "rate_limited": Kind(429, "Too many requests", "Wait as long as `Retry-After` says."),
    # Nobody reads that: it is what logs and metrics call it, as other servers do.
    "client_gone": Kind(499, "Whoever asked has hung up", "Send it again, whole."),
    "checksum_mismatch": Kind(460, "The bytes are not those of the checksum", "Send them again from the same offset."),
    # the server
    "internal_error": Kind(500, "A fault of the server", "Try again; report it with the request id if it stays."),
    "master_key_missing": Kind(503, "The server's master key is another one", "The operator puts the right one back."),
    "master_key_unavailable": Kind(503, "The key service does not answer", "Try again in a moment."),
    "audit_key_missing": Kind(503, "The audit log cannot be written", "The operator puts its key back."),
    "database_misconfigured": Kind(500, "The database is set up wrongly", "The operator finds why in the log."),
    "database_unavailable": Kind(503, "The database does not answer", "Try again in a moment."),
    "storage_unavailable": Kind(503, "The store of videos does not answer", "Try again in a moment."),
    "storage_full": Kind(507, "There is no room to read the video", "The operator makes room; then try again."),
    "starting": Kind(503, "The server is not there yet", "Try again in a moment."),
    "busy": Kind(503, "Too much is being done just now", "Wait as long as `Retry-After` says."),
    "lease_lost": Kind(409, "The job was given to another worker", "Nothing: it goes on there."),
    "quarantined": Kind(_VIDEO, "Workers died over this job", "Retry it once the cause is known."),
    "deadline_exceeded": Kind(
        _VIDEO, "The job took longer than it may", "Ask for fewer frames, or for more time with `timeout_s`."
    ),
    "check_failed": Kind(503, "A model does not compute", "Try again; the operator sees why at `/readyz`."),
    "engine_unavailable": Kind(503, "No engine answers just now", "Wait: the job goes on once one is there."),
    "engine_fault": Kind(500, "A fault of an engine", "Try again; report it with the request id if it stays."),
    "model_replaced": Kind(503, "The model was replaced meanwhile", "Try again: it begins anew with the new one."),
    "model_unavailable": Kind(_VIDEO, "The model cannot be had", "Choose another, or see why in `detail`."),
    # the video
    "unsupported_container": Kind(_VIDEO, "This is no video that is read here", "Send MP4, MOV, MKV, WebM, AVI or TS."),
    "unsupported_codec": Kind(_VIDEO, "The codec is not read here", "Re-encode it, for example as H.264."),
    "no_video_stream": Kind(_VIDEO, "There is no moving picture in it", "Send a file with a video stream."),
    "encrypted": Kind(_VIDEO, "The video is encrypted", "Decrypt it first; no keys are kept here."),
    "truncated": Kind(_VIDEO, "The file ends too early", "Send it again, whole."),
    "corrupt": Kind(_VIDEO, "The video is damaged", "Export or record it anew."),
    "altered": Kind(
        _VIDEO, "Stored bytes were changed", "Bring it in again; the operator looks into who changed them."
    ),
    "limit_exceeded": Kind(_VIDEO, "The video goes beyond a limit", "Make it smaller, or have the limit raised."),
    "decode_timeout": Kind(_VIDEO, "Decoding took too long", "Re-encode it; try again."),
    "encode_failed": Kind(_VIDEO, "The video cannot be encoded for browsers", "Send it in a form that browsers play."),
    "decoder_crashed": Kind(_VIDEO, "A decoder crashed over it", "Re-encode it; try again."),
}


def kind_of(code: str) -> Kind:
    """Of a code; unknown ones are faults of the server."""
    return KINDS.get(code, KINDS["internal_error"])


def for_callers(error: Exception) -> str:
    """What is told of an error to those who use the API. Where stores and services are, and what they answered, is in
    the log."""
    if isinstance(error, StorageUnavailable):
        return "the storage does not answer as it should; the server's log says more"
    if isinstance(error, MasterKeyUnavailable):
        return "the service that has the master key does not answer as it should; the server's log says more"
    return str(error)
