"""Writes the tables of docs/graph-config.md: `python -m serving.graph.config_page`. A test fails where they differ."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from pipeline.record import Record
from pipeline.schema import field_docstrings
from serving.graph import args

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "graph-config.md"

BEGIN: Final = "<!-- What follows is written by `python -m serving.graph.config_page`. -->\n"
END: Final = "<!-- Until here. -->\n"

_RECORDS: Final[tuple[tuple[str, type[Record]], ...]] = (
    ("`args`", args.GraphArgs),
    ("`user_config` of `engine-<name>`", args.EngineConfig),
    ("Each of the `models`", args.ModelConfig),
    ("`user_config` of `text`", args.TextConfig),
    ("`user_config` of `worker`", args.WorkerConfig),
)


def renewed(page: str) -> str:
    """The page with the tables as the records have them now."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{tables()}{END}{after}"


def tables() -> str:
    """One for each record: its fields, defaults, bounds, and what they are."""
    return "".join(line + "\n" for title, record in _RECORDS for line in _table(title, record))


def _table(title: str, record: type[Record]) -> Iterator[str]:
    texts = field_docstrings(args)
    yield from (f"### {title}", "", "| field | default | bounds | what it is |", "|---|---|---|---|")
    schema = msgspec.json.schema(record)["$defs"]
    for field in msgspec.structs.fields(record):
        bounds = _bounds(schema[record.__name__]["properties"][field.name], schema)
        text = texts[record.__name__, field.name].replace("None: ", "`null`: ")
        yield f"| `{field.name}` | {_default(field)} | {bounds} | {text} |"
    yield ""


def _default(field: msgspec.structs.FieldInfo) -> str:
    value: Any = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    if value is None:
        return "`null`"
    if isinstance(value, dict | tuple):
        return ", ".join(f"`{name}`" for name in value) or "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _bounds(shape: dict[str, Any], schema: dict[str, Any]) -> str:
    """Of numbers; what else may be said, as far as it can be listed."""
    one = next((part for part in shape.get("anyOf", ()) if part.get("type") != "null"), shape)
    one = schema[one["$ref"].rpartition("/")[2]] if "$ref" in one else one
    if "enum" in one:
        return ", ".join(f"`{value}`" for value in one["enum"] if value is not None)
    words = {"minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most", "minItems": "at least"}
    words |= {"maxItems": "at most", "minProperties": "at least", "maxProperties": "at most"}
    return ", ".join(f"{word} {one[key]:,g}" for key, word in words.items() if key in one)


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
