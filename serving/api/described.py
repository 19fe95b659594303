"""The schema as it is published: what the framework makes of the handlers, with examples, bodies that are no JSON,
webhooks and without what means nothing to a client."""

from dataclasses import fields
from typing import Any, Final

from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import OpenAPI, Tag

from serving.api.bodies import (
    ANSWERS,
    EMPTY,
    FURTHER_ANSWERS,
    FURTHER_PARAMETERS,
    FURTHER_REQUESTS,
    REQUESTS,
    REQUIRED,
    TAGS,
)
from serving.api.examples import BODIES, PARAMETERS, TEXTS
from serving.api.webhook_schema import webhooks

#: Parameters that a schema must not hold: they are said by bodies and security (OpenAPI 3.1, 4.8.12.1).
_IMPLIED: Final = frozenset({"accept", "authorization", "content-type", "content-length"})

_BODILESS: Final = frozenset({"204", "304"})

_REF: Final = "#/components/schemas/"


class Described(OpenAPI):
    """A schema that is completed when it is written."""

    def to_schema(self) -> dict[str, Any]:
        """See `OpenAPI.to_schema`."""
        return described(super().to_schema())


class DescribedConfig(OpenAPIConfig):
    """Has the framework make a `Described` one."""

    def to_openapi_schema(self) -> OpenAPI:
        """See `OpenAPIConfig.to_openapi_schema`."""
        self.tags = [Tag(name=name, description=text) for name, text in TAGS.items()]
        plain = super().to_openapi_schema()
        return Described(**{field.name: getattr(plain, field.name) for field in fields(plain) if field.init})


def described(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema, completed in place."""
    for component in schema["components"]["schemas"].values():
        for name, shape in component.get("properties", {}).items():
            component["properties"][name] = _plain(shape)
    for methods in schema["paths"].values():
        for method, operation in methods.items():
            _describe(method, operation)
    hooks, components = webhooks()
    schema["webhooks"] = hooks
    schema["components"]["schemas"] = components | schema["components"]["schemas"]
    return schema


def _describe(method: str, operation: dict[str, Any]) -> None:
    name = operation["operationId"]
    if "parameters" in operation:
        given = [one for one in operation["parameters"] if one["name"].lower() not in _IMPLIED]
        operation["parameters"] = [*(_parameter(name, one) for one in given), *FURTHER_PARAMETERS.get(name, ())]
    if name in REQUESTS:
        operation["requestBody"] = REQUESTS[name]
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        kind = content["schema"].get("$ref", "").removeprefix(_REF)
        if media_type == "application/json" and kind in BODIES:
            content["example"] = BODIES[kind]
    if name in FURTHER_REQUESTS:
        operation["requestBody"]["content"] |= FURTHER_REQUESTS[name]
    _describe_answers(name, method, operation["responses"])
    if operation.get("security") == [{}]:
        # None, in the schema's own words.
        operation["security"] = []


def _describe_answers(name: str, method: str, answers: dict[str, Any]) -> None:
    for status, answer in FURTHER_ANSWERS.get(name, {}).items():
        same = answers.get(answer.get("like", ""), {})
        said = {key: same[key] for key in ("content", "headers") if key in same}
        answers[status] = {"description": answer["description"], **said}
    for status, types in ANSWERS.get(name, {}).items():
        kept = answers[status].get("content", {}) if name == "get_vocabulary" else {}
        answers[status]["content"] = kept | types
    for status, answer in answers.items():
        empty = status in _BODILESS or (name, status) in EMPTY or (method == "head" and status < "400")
        if empty:
            answer.pop("content", None)


def _parameter(operation: str, parameter: dict[str, Any]) -> dict[str, Any]:
    """A parameter is there or is not; that it may be null as well says only how the server writes that it is not."""
    schema = _plain(_without_null(parameter["schema"]))
    name = parameter["name"]
    example = PARAMETERS.get(f"{operation}.{name}", PARAMETERS.get(name))
    if example is not None:
        # In the schema, not beside it: from there, documentation pages would fill it in where nobody asked for it.
        schema["examples"] = [example]
    # Said once, and of the parameter.
    text = schema.pop("description", None) or parameter.get("description") or TEXTS.get(name)
    required = parameter.get("required", False) or (operation, name) in REQUIRED
    return parameter | {"schema": schema, "required": required} | ({"description": text} if text else {})


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    schema = dict(schema)
    if "oneOf" in schema:
        schema["oneOf"] = [one for one in schema["oneOf"] if one.get("type") != "null"]
    if isinstance(schema.get("type"), list):
        kinds = [kind for kind in schema["type"] if kind != "null"]
        schema["type"] = kinds[0] if len(kinds) == 1 else kinds
    if "enum" in schema:
        schema["enum"] = [value for value in schema["enum"] if value is not None]
    return schema


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """One of one thing is that thing."""
    if len(schema.get("oneOf", ())) == 1 and "$ref" not in schema["oneOf"][0]:
        (only,) = schema["oneOf"]
        return only | {key: value for key, value in schema.items() if key != "oneOf"}
    return schema
