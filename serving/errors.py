"""What can go wrong around a video rather than in it. `pipeline.errors` has what can go wrong in it."""


class ServerError(Exception):
    """Base of what follows. The message says what was wrong and what to do."""

    code = "internal_error"
    retryable = False


class DatabaseUnavailable(ServerError):
    """PostgreSQL does not answer just now."""

    code = "database_unavailable"
    retryable = True


class Starting(ServerError):
    """The server is not there yet; soon it is."""

    code = "starting"
    retryable = True


class DatabaseMisconfigured(ServerError):
    """It answers, but must not be used like this."""

    code = "database_misconfigured"


class SecretRefused(ServerError):
    """The file with the server's secret cannot be relied on."""


class MasterKeyMissing(ServerError):
    """Keys are wrapped by a master key that is not here; what they seal is unreadable until it is."""

    code = "master_key_missing"
    retryable = True


class MasterKeyUnavailable(MasterKeyMissing):
    """The service that has the master key (a KMS) does not answer just now, or does not let us use the key. Whatever
    waits for a missing master key waits for this."""

    code = "master_key_unavailable"

    def __init__(self, message: str, *, away: bool = False) -> None:
        super().__init__(message)
        self.away = away
        """Whether it does not answer at all, or has too much to do: whatever it is asked, it would not answer now."""


class StorageUnavailable(ServerError, OSError):
    """The store of objects does not answer just now, or not to this server."""

    code = "storage_unavailable"
    retryable = True


class StorageFull(ServerError, OSError):
    """There is no room for a file that is needed to read an object."""

    code = "storage_full"
    retryable = True


class AuditKeyMissing(ServerError):
    """The key of the audit log is gone from the database; no line can be written, nor verified, until it is back."""

    code = "audit_key_missing"


class PlaceRefused(ServerError):
    """The embedded database would be where others of the machine can get at it."""


class NotRunning(ServerError):
    """A part of the server that a command is for does not run."""

    code = "not_running"


class LeaseLost(ServerError):
    """Somebody else has the job by now, or it was canceled; nothing more may be written for it."""

    code = "lease_lost"


class NotFound(ServerError):
    """There is no such thing, or it belongs to somebody else: the answer is the same."""

    code = "not_found"


class UrlRefused(ServerError):
    """A signed URL that is not good, or not for this; which it is, is not told."""

    code = "url_refused"


class RangeRefused(ServerError):
    """A range that begins where there is nothing any more."""

    code = "range_not_satisfiable"

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"the range begins behind the end: there are {size_bytes} bytes")
        self.size_bytes = size_bytes


class Conflict(ServerError):
    """It cannot be done in the state that things are in."""

    code = "conflict"


class Held(ServerError):
    """A video is under a legal hold: it has to stay."""

    code = "legal_hold"


class BackupRefused(ServerError):
    """A backup cannot be made, or is not one that can be restored here."""

    code = "backup_refused"


class ArchiveRefused(ServerError):
    """What was to be imported is no archive that this server wrote or can read."""

    code = "archive_refused"


class SpaceMismatch(ServerError):
    """Vectors of two spaces were to be compared."""

    code = "space_mismatch"


class VersionChanged(ServerError):
    """It is no longer the version that the caller saw."""

    code = "version_changed"


class KeyReused(ServerError):
    """An idempotency key came with another request than the first time."""

    code = "idempotency_key_reused"


class Unauthenticated(ServerError):
    """Nobody knows who asks."""

    code = "unauthenticated"


class Forbidden(ServerError):
    """Whoever asks is known, and may not."""

    code = "forbidden"


class InvalidRequest(ServerError):
    """A value that cannot be; `errors` point at what is wrong."""

    code = "invalid_request"

    def __init__(self, message: str, errors: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.errors = errors
        """(JSON pointer into the request, what is wrong there)."""


class NotInSpace(InvalidRequest):
    """Items that were named have no vector where they are looked for: they were not analysed with that model, or there
    are no such items. `errors` point at them."""

    code = "not_in_space"


class Gone(ServerError):
    """It was there once, and is not any more."""

    code = "gone"


class UnsupportedMediaType(ServerError):
    """A body of a type that is not read there."""

    code = "unsupported_media_type"


class WrongPassword(InvalidRequest):
    """Somebody who is known gave a password that is not theirs."""

    code = "wrong_password"


class ClientGone(ServerError):
    """Whoever sent a request hung up before all of it had come."""

    code = "client_gone"


class RequestTimeout(ServerError):
    """A request's body did not come in time."""

    code = "request_timeout"
    retryable = True


class HeadersTooLarge(ServerError):
    """More bytes of headers than are taken."""

    code = "headers_too_large"


class ProtocolVersion(ServerError):
    """A version of a protocol that is not spoken here."""

    code = "protocol_version"


class ChecksumMismatch(ServerError):
    """Bytes that are not those that were meant to come."""

    code = "checksum_mismatch"
    retryable = True


class UploadErrored(ServerError):
    """An upload that came to an end for what was in it; `code` is that of the problem it had."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class TooLarge(ServerError):
    """More bytes than are taken."""

    code = "too_large"


class QuotaExceeded(ServerError):
    """The tenant may not keep so much more."""

    code = "quota_exceeded"


class RateLimited(ServerError):
    """Too many requests; `retry_after_s` says when more are taken."""

    code = "rate_limited"
    retryable = True

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Busy(ServerError):
    """As much of something is being done here as may be at once; `retry_after_s` says when to ask again."""

    code = "busy"
    retryable = True

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class AddressRefused(ServerError):
    """A URL that leads to where this server does not go on somebody's behalf."""

    code = "address_refused"


class FetchFailed(ServerError):
    """A URL that could not be read. `retryable`: by what it looks like, it may be read later."""

    code = "fetch_failed"

    def __init__(self, message: str, *, retryable: bool = True, after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.after_s = after_s
        """How long whoever answers there wants to be left alone, seconds."""


class FetchedTooMuch(FetchFailed):
    """There is more at a URL than is read."""

    code = "too_large"

    def __init__(self, message: str) -> None:
        super().__init__(message, retryable=False)
