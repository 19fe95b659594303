"""MXF: packs of a key, a length and a value (SMPTE ST 377-1, 7.1)."""

import struct

from pipeline.structure.base import Ending, OpenFile, past_the_end

#: How the key of a header partition begins; its last bytes say of which kind it is.
_HEADER_PARTITION = bytes.fromhex("060e2b34020501010d0102010102")

#: Of the pack: versions, grid, own and previous place, then what is read here.
_FIELDS = struct.Struct(">HHIQQQQ")


def is_it(head: bytes) -> bool:
    """Whether a file that begins like this is one."""
    return head.startswith(_HEADER_PARTITION)


def ending(file: OpenFile) -> Ending | None:
    """See `structure.Kind`. The length of the first pack may be written in one to nine bytes."""
    size = file.size_bytes
    head = file.read_at(0, 16 + 9 + _FIELDS.size)
    first = 16 + (1 + (head[16] & 0x7F) if len(head) > 16 and head[16] & 0x80 else 1)
    if len(head) < first + _FIELDS.size:
        return Ending(f"it ends at byte {size:,}, in its header", in_header=True)
    *_, footer, header_bytes = _FIELDS.unpack_from(head, first)
    if header_bytes > size:
        return past_the_end("header", header_bytes, size, in_header=True)
    # 0 stands for a place that was not known yet.
    return past_the_end("body", footer, size, in_header=False) if footer >= size else None
