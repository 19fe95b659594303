"""Signed URLs, made for somebody: none leaves before the audit log says for whom, for what, and for how long."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from serving.audit.reads import Reads
from serving.auth.principals import Principal
from serving.playback.media import Media
from serving.playback.signing import Purpose, Signer


@dataclass(frozen=True, slots=True)
class Granted:
    """What somebody may hand on."""

    expires_at: datetime
    signatures: dict[Purpose, str]


class Grants:
    """Of one process. The only one that has URLs signed."""

    def __init__(self, signer: Signer, reads: Reads) -> None:
        self._signer, self._reads = signer, reads

    async def grant(self, media: Media, principal: Principal, purposes: Sequence[Purpose], lifetime_s: int) -> Granted:
        """Signatures for a video, no better than what they are asked for with. Raises as `Reads.granted`."""
        purposes = tuple(dict.fromkeys(purposes))
        await self._reads.granted((media.id,), purposes, lifetime_s)
        expires = int(time.time()) + lifetime_s
        made: dict[Purpose, str] = {
            purpose: self._signer.sign(media, purpose, principal.credential, expires) for purpose in purposes
        }
        return Granted(datetime.fromtimestamp(expires, UTC), made)
