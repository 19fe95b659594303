"""Refuses requests whose headers are too long, before anybody looks into them."""

from typing import Final

from litestar.types import Scope

from serving.errors import HeadersTooLarge

#: Bytes of all headers, names and values, that are taken. Ours have less than a tenth.
MAX_HEADER_BYTES: Final = 64 << 10


def too_large(scope: Scope) -> HeadersTooLarge | None:
    """Why a request is not read any further; None where it is."""
    size_bytes = 0
    for name, value in scope["headers"]:
        size_bytes += len(name) + len(value)
    if size_bytes <= MAX_HEADER_BYTES:
        return None
    return HeadersTooLarge(f"the request's headers have more than {MAX_HEADER_BYTES} bytes")
