"""What `msgspec.Meta` says about a field, in the words of the schema: the framework passes over it."""

from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

import msgspec
from litestar.openapi.spec import Schema

_NOTHING = (NoneType, msgspec.UnsetType)

#: `schema_extra` of parameters with `ge=0` and `gt=0`: the framework takes a bound of 0 for none.
FROM_ZERO: Final = {"minimum": 0}
ABOVE_ZERO: Final = {"exclusive_minimum": 0}


def constrain(shape: object, hint: Any) -> None:
    """Add to a field's schema what its type says about its values, and those within it.

    Args:
        shape: its schema, or a reference, which is left alone: what it refers to has constraints of its own.
        hint: its type, with annotations.
    """
    if not isinstance(shape, Schema):
        return
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        constrain(shape, parts[0])
        for meta in parts[1:]:
            if isinstance(meta, msgspec.Meta):
                _apply(_value_of(shape), meta)
    elif origin in (Union, UnionType):
        values = [part for part in parts if part not in _NOTHING]
        if len(values) == 1:
            constrain(_value_of(shape), values[0])
    elif origin in (tuple, list):
        constrain(shape.items, parts[0])
    elif origin is dict:
        constrain(shape.additional_properties, parts[1])


def _value_of(shape: Schema) -> Schema:
    """Of `this or null`, this."""
    found = [one for one in shape.one_of or () if isinstance(one, Schema) and one.type not in (None, "null")]
    return found[0] if len(found) == 1 else shape


def _apply(shape: Schema, meta: msgspec.Meta) -> None:
    listed = shape.items is not None
    if listed:
        shape.min_items, shape.max_items = meta.min_length, meta.max_length
    else:
        shape.min_length, shape.max_length, shape.pattern = meta.min_length, meta.max_length, meta.pattern
    shape.minimum, shape.maximum = meta.ge, meta.le
    shape.exclusive_minimum, shape.exclusive_maximum = meta.gt, meta.lt
