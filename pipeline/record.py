"""The base of every value that crosses a process or HTTP border."""

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Immutable, by keyword, unknown fields refused."""
