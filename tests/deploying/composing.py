"""compose.yaml as Compose reads it: variables replaced by what stands for them where nothing is said."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from compose_spec import PyCompose

TOP = Path(__file__).resolve().parents[2]

_VARIABLE = re.compile(r"\$(?:\$|\{(\w+):-([^}]*)\})")


def filled(text: str) -> str:
    """`${X:-y}` -> `y`, `$$` -> `$`; another `$` is refused."""
    assert "$" not in _VARIABLE.sub("", text), "a variable without a value to stand for it"
    return _VARIABLE.sub(lambda found: "$" if found[1] is None else found[2], text)


@cache
def composed() -> dict[str, Any]:
    """The file, with its anchors and variables resolved."""
    return yaml.safe_load(filled((TOP / "compose.yaml").read_text(encoding="utf-8")))


def require_valid(said: dict[str, Any]) -> None:
    """Raises ValueError where it is not as the Compose specification has it, or names what is not there."""
    found = PyCompose.from_json(json.dumps(said))
    found.validate()
    found.validate_volumes()
