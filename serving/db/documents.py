"""JSON columns, as rows have them: text in those that are read quickly (`quick`), objects in all others."""

from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")

#: What stands in a column that holds nothing yet.
_NOTHING = ("{}", "null", {}, None)


class Document(Generic[T]):
    """A column that holds one type."""

    def __init__(self, type_: Any) -> None:
        """`type_`: a `T`."""
        self._type, self._decoder = type_, msgspec.json.Decoder(type_)

    def read(self, value: Any) -> T:
        """What it holds. Raises msgspec.ValidationError: something else."""
        return self._decoder.decode(value) if isinstance(value, str) else msgspec.convert(value, self._type)

    def read_any(self, value: Any) -> T | None:
        """The same; None where it holds nothing. Raises as `read`."""
        return None if value in _NOTHING else self.read(value)
