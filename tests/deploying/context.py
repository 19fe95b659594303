"""What a build is given: the working copy, less what .dockerignore leaves out."""

import os
import shutil
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from tests.deploying.dockerfile import NotUnderstood


def files(top: Path) -> Iterator[Path]:
    """Files of the context, relative to `top`. Understands a .dockerignore that leaves out everything (`*`), takes
    things at the top back in (`!name`) and leaves out names anywhere (`**/name`).

    Raises:
        NotUnderstood: a line of another kind.
    """
    kept, left_out = [], []
    lines = (top / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    if rules[:1] != ["*"]:
        raise NotUnderstood(".dockerignore: the first rule has to be *")
    for rule in rules[1:]:
        if rule.startswith("!") and "/" not in rule:
            kept.append(rule[1:])
        elif rule.startswith("**/") and "/" not in rule[3:]:
            left_out.append(rule[3:])
        else:
            raise NotUnderstood(f".dockerignore: {rule}")

    def wanted(name: str) -> bool:
        return not any(fnmatchcase(name, pattern) for pattern in left_out)

    for name in kept:
        if (top / name).is_file():
            yield Path(name)
        for folder, inner, names in os.walk(top / name):
            inner[:] = filter(wanted, sorted(inner))
            yield from (Path(folder, one).relative_to(top) for one in sorted(names) if wanted(one))


def laid_out(top: Path, to: Path) -> None:
    """Copy them into a folder."""
    for file in files(top):
        (to / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(top / file, to / file)
