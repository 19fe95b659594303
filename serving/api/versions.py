"""Versions of things, as HTTP names them: `ETag`, `If-Match` and `If-None-Match` (RFC 9110, 8.8.3 and 13.1)."""

import re
from typing import Annotated, Final

from litestar.params import Parameter

from serving.errors import InvalidRequest, VersionChanged

#: What the schema says of both; `_TAGS` is what is read.
_FORM: Final = {"pattern": r'^(\*|(W/)?"[!#-~]*"(, *(W/)?"[!#-~]*")*)$'}

IfMatch = Annotated[
    str | None,
    Parameter(
        header="If-Match",
        max_length=1000,
        schema_extra=_FORM,
        required=False,
        description="The `ETag` that you saw: done only if it is still that one. Left out: done in any case.",
    ),
]
IfNoneMatch = Annotated[
    str | None,
    Parameter(
        header="If-None-Match",
        max_length=1000,
        schema_extra=_FORM,
        required=False,
        description="The `ETag` that you have: answered with 304 where it is still that one.",
    ),
]

_TAGS: Final = re.compile(r'\s*(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"\s*(?:,\s*(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"\s*)*')
_TAG: Final = re.compile(r'(W/)?("[^"]*")')


def etag(version: int) -> str:
    """A version as a strong entity tag."""
    return f'"{version}"'


def require_match(if_match: str | None, version: int) -> None:
    """Go on only if the caller saw this version, or does not care.

    Raises:
        VersionChanged: it saw another.
        InvalidRequest: no such header can be.
    """
    if if_match is None or if_match.strip() == "*":
        return
    # Compared strongly: a weak tag never is the same (13.1.1).
    if etag(version) not in [tag for weak, tag in _tags("If-Match", if_match) if not weak]:
        raise VersionChanged(f"it is at version {etag(version)} by now, not at {if_match}")


def is_known(if_none_match: str | None, version: int) -> bool:
    """Whether the caller has this version already. Raises InvalidRequest as `require_match`."""
    return has(if_none_match, etag(version))


def has(if_none_match: str | None, tag: str) -> bool:
    """Whether the caller has what this entity tag, in its quotes, is of; weak tags are as good as strong ones here.
    Raises InvalidRequest as `require_match`."""
    if if_none_match is None:
        return False
    if if_none_match.strip() == "*":
        return True
    return tag.removeprefix("W/") in [one for _, one in _tags("If-None-Match", if_none_match)]


def _tags(header: str, value: str) -> list[tuple[str, str]]:
    if not _TAGS.fullmatch(value):
        raise InvalidRequest(f"{header} holds no entity tags", ((header, 'has to be like "3", in quotes, or *'),))
    return _TAG.findall(value)
