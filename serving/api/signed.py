"""Who asks with a signed URL, and the video that is asked for.

An operation that serves media says `by_url="stream"`, or another purpose, and `media=True` (see `serving.audit.reads`)
beside what it `needs`; takes the parameter `signature: Signature = None`, for the schema; and `media: Media`, the
video, whoever asks and however.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final
from urllib.parse import parse_qs

from litestar import Request
from litestar.params import Parameter
from litestar.types import Scope

from serving.api.access import principal_of
from serving.auth.credentials import Credentials
from serving.auth.principals import Principal
from serving.db.quick import QuickReads
from serving.errors import NotFound, UrlRefused
from serving.ids import is_id
from serving.playback.media import Media, read_media
from serving.playback.signing import MAX_CHARS, Signer, is_over, parsed
from serving.storage.keyring import Keyring

Signature = Annotated[
    str | None,
    Parameter(max_length=MAX_CHARS, required=False, description="Instead of a header, see `create_video_urls`"),
]

#: All that a signed URL is good for, of the one video and purpose.
_SCOPES: Final = frozenset({"videos:read"})

_REFUSED: Final = (
    "this URL is not good, or no longer, or not for this; ask for a new one (POST /v1/videos/{video_id}/urls)"
)


class SignedUrls:
    """Recognises those who come with one."""

    def __init__(self, signer: Signer, credentials: Credentials, keyring: Keyring, quick: QuickReads) -> None:
        self._signer, self._credentials, self._keyring, self._quick = signer, credentials, keyring, quick

    async def principal(self, scope: Scope, before_asking: Callable[[], None]) -> Principal | None:
        """Whoever asked for the URL, who may do nothing with it but read what it is for; None where there is no
        signature. The video is in the request's scope from here on: `media_of`.

        Args:
            before_asking: called before the database is asked. What it raises is raised.

        Raises:
            UrlRefused: it is none of ours, is over, was revoked, or is for another video or purpose; or there is no
                such video. All of these look alike.
            DatabaseUnavailable, MasterKeyMissing, Altered: see `read_media`.
        """
        purpose = scope["route_handler"].opt.get("by_url")
        if purpose is None:
            return None
        shown = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True).get("signature", [])
        if not shown:
            return None
        signature = parsed(shown[0]) if len(shown) == 1 else None
        video_id = str(scope["path_params"]["video_id"])
        # Nothing has looked at the path before.
        if signature is None or is_over(signature) or not is_id(video_id):
            raise UrlRefused(_REFUSED)
        before_asking()
        media = await read_media(self._quick, self._keyring, signature.tenant_id, video_id)
        if media is None or not self._signer.holds(signature, media, purpose):
            raise UrlRefused(_REFUSED)
        found = await self._credentials.behind(signature.tenant_id, signature.credential, _SCOPES)
        if found is None or not found.scopes:
            raise UrlRefused(_REFUSED)
        scope["media"] = media  # type: ignore[typeddict-unknown-key]
        # Those who watch do not use up the requests of who asked for it. That more URLs are made gives them no more.
        scope["bucket"] = f"url:{signature.credential}:{purpose}"  # type: ignore[typeddict-unknown-key]
        return found


async def media_of(request: Request[Any, Any, Any]) -> Media:
    """The video that a request is about. Raises NotFound, and as `read_media`."""
    media: Media | None = request.scope.get("media")  # type: ignore[assignment]
    if media is None:
        tenant, state = principal_of(request).tenant_id, request.app.state
        video_id = str(request.path_params["video_id"])
        # Asked for before the handler's own parameters are looked at.
        if is_id(video_id):
            media = await read_media(state.quick, state.keyring, tenant, video_id)
    if media is None:
        raise NotFound("there is no such video")
    return media


def still_may(request: Request[Any, Any, Any], media: Media, credentials: Credentials) -> Callable[[], Awaitable[bool]]:
    """What says, of an answer that is under way, whether whoever asked for it may still have it: the video is there,
    and what they asked with is good. That its time is over does not count: it was not when they asked."""
    principal, state = principal_of(request), request.app.state
    by_url = request.scope.get("media") is not None

    async def allowed() -> bool:
        now = await read_media(state.quick, state.keyring, media.tenant_id, media.id)
        if now is None or (by_url and now.revocations != media.revocations):
            return False
        who = await credentials.current(principal)
        return who is not None and not _SCOPES.isdisjoint(who.scopes)

    return allowed
