"""Writes a small package with a model of somebody's own: `automations models new`."""

from __future__ import annotations

import importlib.util
import keyword
import re
import shutil
import sys
import tempfile
from pathlib import Path
from string import Template

from models.custom import GROUP, registered
from models.scaffold_files import FILES, MODELS, TESTS, USES

KINDS = tuple(MODELS)

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
"""Lower case, and no two underscores in a row: `models.catalog` takes such names for pretrained tags."""


class CannotWrite(ValueError):
    """The package cannot be written; says why, in a line."""


def write_package(name: str, folder: Path, kind: str = "classifier") -> list[Path]:
    """Write the package `folder/name`, all of it or nothing.

    Args:
        name: of the package, of its module and of the model.
        kind: one of `KINDS`.

    Returns:
        The files, the README first.

    Raises:
        CannotWrite: it cannot be called that, something of that name is there already, or the folder takes nothing.
    """
    if kind not in KINDS:
        raise CannotWrite(f"there is no kind {kind!r}; there are {', '.join(KINDS)}")
    _require_free(name)
    target = folder / name
    if target.exists():
        raise CannotWrite(f"{target} is there already; nothing is overwritten")
    values = {
        "name": name,
        "distribution": name.replace("_", "-"),
        "class_name": "".join(part.capitalize() for part in name.split("_")),
        "group": GROUP,
        "use": USES[kind].replace("$name", name),
        **(_bundled() if kind == "head" else {}),
    }
    texts = FILES | {"$name/model.py": MODELS[kind], "tests/test_model.py": TESTS[kind]}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder))
        try:
            for path, text in texts.items():
                file = made / path.replace("$name", name)
                file.parent.mkdir(exist_ok=True)
                file.write_text(Template(text).substitute(values), encoding="utf-8")
            made.chmod(0o755)
            made.rename(target)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
    except OSError as error:
        raise CannotWrite(f"{target} cannot be written ({error.strerror})") from error
    return [target / path.replace("$name", name) for path in texts]


def _require_free(name: str) -> None:
    """Raises CannotWrite where it can be no name, or is one."""
    if not _NAME.fullmatch(name):
        raise CannotWrite(f"{name!r} can be no name: lower-case letters, digits and single underscores, as `sharpness`")
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise CannotWrite(f"{name} is a word of Python's: choose another name")
    if name in ("auto", "bundled") or name in registered():
        raise CannotWrite(f"there is a model {name} already: choose another name")
    if name in sys.stdlib_module_names or importlib.util.find_spec(name) is not None:
        raise CannotWrite(f"there is a module {name} already, which yours would hide: choose another name")


def _bundled() -> dict[str, str]:
    """What a head has to know of the vectors that it reads."""
    from models.catalog import load

    info = load("bundled", "cpu", "float32").model.info
    return {"space": info.space, "width": str(info.dim)}
