"""Records in the API's schema: with the texts under their fields, and closed, as they are when they are read."""

import inspect
import sys
from functools import cache
from typing import Any

import msgspec
from litestar.openapi.spec import Schema
from litestar.plugins import OpenAPISchemaPlugin
from litestar.types import Empty
from litestar.typing import FieldDefinition

from pipeline.record import Record
from pipeline.schema import field_docstrings
from serving.api.constraints import constrain


class RecordSchema(OpenAPISchemaPlugin):
    """Describes subclasses of `Record`."""

    def is_plugin_supported_field(self, field_definition: FieldDefinition) -> bool:
        """See `OpenAPISchemaPlugin`."""
        return not field_definition.is_union and field_definition.is_subclass_of(Record)

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: Any) -> Schema:
        """See `OpenAPISchemaPlugin`."""
        hints = field_definition.get_type_hints(include_extras=True, resolve_generics=True)
        fields = msgspec.structs.fields(field_definition.origin or field_definition.type_)
        schema: Schema = schema_creator.create_component_schema(
            field_definition,
            required=sorted(field.encode_name for field in fields if field.required),
            property_fields={
                field.encode_name: FieldDefinition.from_annotation(
                    hints[field.name], name=field.encode_name, default=_default(field)
                )
                for field in fields
            },
        )
        kind = field_definition.origin or field_definition.type_
        schema.description = inspect.getdoc(kind)
        schema.additional_properties = False
        for field in fields:
            constrain((schema.properties or {}).get(field.encode_name), hints[field.name])
        for name, shape in (schema.properties or {}).items():
            # A field that a record has from another is described there.
            said = (
                _texts(base.__module__).get((base.__name__, name)) for base in kind.__mro__ if issubclass(base, Record)
            )
            text = next(filter(None, said), None)
            # What is only referred to is described where it is.
            if text is not None and isinstance(shape, Schema):
                shape.description = text
        return schema


def _default(field: msgspec.structs.FieldInfo) -> Any:
    """What a plain field is where it is left out."""
    return field.default if isinstance(field.default, str | int | float | bool) else Empty


@cache
def _texts(module: str) -> dict[tuple[str, str], str]:
    return field_docstrings(sys.modules[module])
