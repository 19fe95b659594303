"""The base of every value that crosses a process or HTTP border."""

import msgspec


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Immutable, unknown fields refused. Subclasses say `frozen=True, kw_only=True` again: type checkers and msgspec
    want it on each class."""
