"""A caller's own data with a video: any JSON, within bounds."""

from typing import Any, Final

import msgspec

from serving.errors import InvalidRequest

#: Bytes of it, and levels that are within one another.
MAX_METADATA_BYTES: Final = 16 << 10
MAX_METADATA_DEPTH: Final = 32


def require_modest(metadata: dict[str, Any]) -> None:
    """Raises InvalidRequest: it is more than is kept."""
    wrong = None
    if _depth(metadata, MAX_METADATA_DEPTH) > MAX_METADATA_DEPTH:
        wrong = f"more than {MAX_METADATA_DEPTH} levels"
    elif len(msgspec.json.encode(metadata)) > MAX_METADATA_BYTES:
        wrong = f"more than {MAX_METADATA_BYTES} bytes"
    if wrong is not None:
        raise InvalidRequest("too much metadata", (("/user_metadata", wrong),))


def _depth(value: Any, most: int) -> int:
    """Levels of lists and objects within one another; looks no further than one beyond `most`."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    if inner is None or most < 0:
        return 0
    return 1 + max((_depth(one, most - 1) for one in inner), default=0)
