"""Every way in which a video or a request can be refused. Each error has a stable code and says what to do.

Nothing here knows HTTP or exit codes: `serving` maps a code to those in one place.
"""


class VideoError(Exception):
    """A video or a request cannot be processed. `str(error)` is one line for a person; `code` is for programs."""

    code = "video_error"
    retryable = False


class InputNotFound(VideoError):
    """The file does not exist or cannot be opened for reading."""

    code = "not_found"


class UnsupportedContainer(VideoError):
    """The bytes are no container that we read (text, an archive, an empty file, ...)."""

    code = "unsupported_container"


class NoVideoStream(VideoError):
    """The container is readable but has no moving picture: audio only, or a still image or cover."""

    code = "no_video_stream"


class UnsupportedCodec(VideoError):
    """No decoder here reads the codec."""

    code = "unsupported_codec"


class DecoderStateLost(VideoError):
    """A later part of a long group of pictures reached a decoder that never saw the earlier ones."""

    code = "decoder_state_lost"
    retryable = True


class Encrypted(VideoError):
    """The pictures are encrypted (Common Encryption, DRM, a scrambled broadcast), and this server holds no keys."""

    code = "encrypted"


class Truncated(VideoError):
    """The file ends before what is needed to read anything of it: an upload, copy or recording that was cut off."""

    code = "truncated"


class CorruptVideo(VideoError):
    """A container that is read here, so damaged that a report would mislead, or that none can be made; or a file that
    was changed while it was read."""

    code = "corrupt"


class Altered(VideoError):
    """Stored bytes are not what was sealed there, or belong to something else; nothing of them is used."""

    code = "altered"


class LimitExceeded(VideoError):
    """The video is larger, longer or denser than this server reads; the message names the limit."""

    code = "limit_exceeded"


class DecodeTimeout(VideoError):
    """Reading or decoding took longer than it may: the file is damaged, made to do so, or the machine too busy."""

    code = "decode_timeout"
    retryable = True


class DecoderCrashed(VideoError):
    """The process that read or decoded the video ended in the middle of it."""

    code = "decoder_crashed"
    retryable = True


class IsolationUnavailable(VideoError):
    """This machine cannot contain the processes that read videos, and was told not to do without."""

    code = "isolation_unavailable"


class InvalidSettings(VideoError):
    """A setting of the server is unknown or has a value that it cannot have; the message says where it comes from."""

    code = "invalid_settings"


class InvalidSpec(VideoError):
    """The request itself is wrong: an unknown signal, a negative rate, a malformed vocabulary, ..."""

    code = "invalid_spec"

    def __init__(self, message: str, pointer: str = "") -> None:
        super().__init__(message)
        self.pointer = pointer
        """JSON pointer to what is wrong, into the spec or vocabulary; empty where no one place is."""


class ModelUnavailable(VideoError):
    """The model that was asked for by name cannot be loaded."""

    code = "model_unavailable"


class CheckFailed(ModelUnavailable):
    """A model that is loaded does not compute what it should, or nothing at all."""

    code = "check_failed"
    retryable = True


class EngineUnavailable(VideoError):
    """No replica of the engine answers just now."""

    code = "engine_unavailable"
    retryable = True


class EngineFault(VideoError):
    """An engine failed at something in a way that it should not; the message says how."""

    code = "engine_fault"
    retryable = True


class ModelReplaced(VideoError):
    """The model was replaced meanwhile: what was begun with it has to begin anew."""

    code = "model_replaced"
    retryable = True


class DecodeFailed(VideoError):
    """One decoding library could not decode a Clip; another one may."""

    code = "decode_failed"


class EncodeFailed(VideoError):
    """The video can be decoded, but not encoded for browsers."""

    code = "encode_failed"


class DecoderUnavailable(VideoError):
    """The decoder that was asked for by name does not work on this machine."""

    code = "decoder_unavailable"


class GpuUnavailable(VideoError):
    """Decoding on the GPU was demanded and cannot be had; the message says why."""

    code = "gpu_unavailable"
