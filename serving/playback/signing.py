"""Signed URLs: who has one may see one thing of one video for a while, and needs no key.

A signature is made with the video's own data key besides the server's secret. So who has the disk but not the master
key makes none, and those of a video that was deleted are good for nothing, wherever its row may come back from. It
says how often URLs of the video, and of the tenant, were revoked when it was made: those numbers are read with the
video each time it is asked for, so that one more ends all from before, at every process, with the next request.
"""

import hashlib
import hmac
import re
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from typing import Final, Literal, get_args

from serving.playback.media import Media

Purpose = Literal["stream", "hls", "rendition", "thumbnail", "storyboard", "text"]
"""What a URL is for: the bytes of the video, its HLS playlists and segments, the bytes of its rendition, pictures of
it, all of them on one sheet, its tracks of text."""

PURPOSES: Final[tuple[Purpose, ...]] = get_args(Purpose)

#: The longest signature that is looked at, characters; ours have about 120.
MAX_CHARS: Final = 512

#: tenant, id of what it was asked for with, when it ends, MAC.
_FORM: Final = re.compile(r"([A-Za-z0-9_-]{1,64})\.([A-Za-z0-9_-]{1,64})\.([0-9]{1,12})\.([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class Signature:
    """What a signature says, which nothing proves yet."""

    tenant_id: str
    credential: str
    """Id of the key or session that it was asked for with, and is no better than."""
    expires: int
    """Seconds since 1970."""
    mac: str


class Signer:
    """Makes signatures and proves them."""

    def __init__(self, secret: bytes) -> None:
        """`secret`: the server's."""
        self._secret = hmac.digest(secret, b"signs automations:media", hashlib.sha256)

    def sign(self, media: Media, purpose: Purpose, credential: str, expires: int) -> str:
        """A signature that says this. `credential`, `expires`: see `Signature`."""
        mac = self._mac(media, purpose, credential, expires)
        return f"{media.tenant_id}.{credential}.{expires}.{mac}"

    def holds(self, signature: Signature, media: Media, purpose: Purpose) -> bool:
        """Whether it is one of ours for this and still good; whether what it was asked for with is, others ask."""
        mac = self._mac(media, purpose, signature.credential, signature.expires)
        return hmac.compare_digest(mac, signature.mac) and not is_over(signature)

    def _mac(self, media: Media, purpose: Purpose, credential: str, expires: int) -> str:
        # One that is not sealed has no key of its own; then the server's secret does alone.
        key = hmac.digest(self._secret, media.key or b"", hashlib.sha256)
        said = (media.tenant_id, media.id, purpose, credential, str(expires), *map(str, media.revocations))
        # None of them has a line's end in it.
        return urlsafe_b64encode(hmac.digest(key, "\n".join(said).encode(), hashlib.sha256)).decode().rstrip("=")


def parsed(shown: str) -> Signature | None:
    """What it says; None where it cannot be one of ours."""
    found = _FORM.fullmatch(shown) if len(shown) <= MAX_CHARS else None
    if found is None:
        return None
    return Signature(tenant_id=found[1], credential=found[2], expires=int(found[3]), mac=found[4])


def is_over(signature: Signature) -> bool:
    """Whether its time is over."""
    return signature.expires <= time.time()
