"""Writes docs/settings.md: `python -m serving.settings_page > docs/settings.md`. A test fails where they differ."""

import sys
from typing import get_args

import msgspec

from pipeline import limits
from pipeline.schema import field_docstrings
from serving import options, settings

_HEAD = f"""# Settings

Each is set by a variable of the environment or in a TOML file that the variable `{settings.CONFIG}` names; a variable
goes before the file, the file before the default. `automations config show` prints what holds and where it comes from.
A name that is not known, or a value out of bounds, ends every command with one line (`invalid_settings`, exit code 2).

```toml
[input]
max_duration_s = 7200.0

[worker]
clip_s = 60.0
```

Written by `python -m serving.settings_page` from the records in `pipeline/limits.py` and `serving/options.py`; a test
fails where they differ. For a secret, `_FILE` behind the variable names a file that holds it; no command shows it.
"""


def page() -> str:
    """The page."""
    texts = field_docstrings(limits) | field_docstrings(options)
    sections = field_docstrings(settings)
    lines = [_HEAD]
    for section in msgspec.structs.fields(settings.Settings):
        lines += [f"## [{section.name}]", "", sections["Settings", section.name], ""]
        lines += ["| setting | variable | default | bounds | what it is |", "|---|---|---|---|---|"]
        for field in msgspec.structs.fields(section.type):
            name = f"{section.name}.{field.name}"
            text = texts[section.type.__name__, field.name]
            cells = f"`{name}`", f"`{settings.variable(name)}`", settings.figure(field.default), _bounds(field), text
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def _bounds(field: msgspec.structs.FieldInfo) -> str:
    kind, meta = get_args(field.type)
    if kind is str:
        return f"a secret, or `{settings.IN_FILE}`" if settings.is_secret(field) else "text"
    least = f"more than {meta.gt:,}" if meta.gt is not None else f"at least {meta.ge:,}"
    return least + (f", at most {meta.le:,}" if meta.le is not None else "")


if __name__ == "__main__":
    sys.stdout.write(page())
