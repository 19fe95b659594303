"""AVI: chunks in chunks (RIFF)."""

import struct

from pipeline.structure.base import Ending, OpenFile, past_the_end


def is_it(head: bytes) -> bool:
    """Whether a file that begins like this is one."""
    return head[:4] == b"RIFF" and head[8:12] == b"AVI "


def ending(file: OpenFile) -> Ending | None:
    """See `structure.Kind`."""
    size = file.size_bytes
    head = file.read_at(0, 24)
    # Of larger files, further chunks follow; that the first is whole says enough.
    end = 8 + struct.unpack_from("<I", head, 4)[0]
    described = len(head) == 24 and size >= 20 + struct.unpack_from("<I", head, 16)[0]
    return past_the_end("RIFF chunk", end, size, in_header=not described) if end > size else None
