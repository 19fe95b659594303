"""A Dockerfile, read into its steps: as much of the language as ours uses. Anything else is refused, not skipped."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


class NotUnderstood(Exception):
    """A line says something that this reader has no meaning for."""


@dataclass(frozen=True)
class Mount:
    """`RUN --mount=...`."""

    type: str
    """`cache` or `bind`."""
    target: str
    source: str = "."
    """Of a bind: in the build context."""


@dataclass(frozen=True)
class Run:
    """A command for `/bin/sh -c`."""

    command: str
    mounts: tuple[Mount, ...] = ()


@dataclass(frozen=True)
class Copy:
    """Files out of the build context, or out of another stage."""

    sources: tuple[str, ...]
    target: str
    stage: str | None = None


@dataclass(frozen=True)
class Set:
    """`ENV` (kept in the image) or `ARG` (not kept, and given by who builds)."""

    name: str
    value: str
    kept: bool


@dataclass(frozen=True)
class Say:
    """What is noted in the image: USER, WORKDIR, VOLUME, EXPOSE, ENTRYPOINT, CMD, HEALTHCHECK."""

    what: str
    value: str

    def words(self) -> list[str]:
        """Of the form `["a", "b"]`."""
        return json.loads(self.value)


Step = Run | Copy | Set | Say


@dataclass(frozen=True)
class Stage:
    """From one FROM to the next."""

    name: str
    base: str
    """Name of another stage, or of an image."""
    steps: list[Step] = field(default_factory=list)


_SAID = frozenset({"USER", "WORKDIR", "VOLUME", "EXPOSE", "ENTRYPOINT", "CMD", "HEALTHCHECK"})

_WORD = re.compile(r"\$(?:(\w+)|\{(\w+)(?:(:[-+])([^}]*))?\})")


def stages(text: str) -> list[Stage]:
    """The stages of a file, in order; the last is what is built by default.

    Raises:
        NotUnderstood: see there; names the line.
    """
    found: list[Stage] = []
    for line in _lines(text):
        what, _, rest = line.partition(" ")
        rest = rest.strip()
        if what == "FROM":
            words = rest.split()
            if len(words) != 3 or words[1] != "AS":
                raise NotUnderstood(f"a stage without a name: {line}")
            found.append(Stage(words[2], words[0]))
        elif not found:
            raise NotUnderstood(f"before the first FROM: {line}")
        else:
            found[-1].steps.extend(_steps(what, rest))
    return found


def stage(all_stages: list[Stage], name: str) -> Stage:
    """The one of that name."""
    return next(one for one in all_stages if one.name == name)


def chain(all_stages: list[Stage], name: str) -> list[Stage]:
    """A stage and those that it is built on, the first one first."""
    names = {one.name: one for one in all_stages}
    found: list[Stage] = []
    while name in names:
        found.insert(0, names[name])
        name = names[name].base
    return found


def expanded(word: str, values: Mapping[str, str]) -> str:
    """`word` with `$X`, `${X}`, `${X:-otherwise}` and `${X:+then}` replaced."""

    def value(match: re.Match) -> str:
        name, sign, other = match[1] or match[2], match[3], match[4]
        had = values.get(name, "")
        if sign == ":-":
            return had or other
        if sign == ":+":
            return other if had else ""
        return had

    return _WORD.sub(value, word)


def _lines(text: str) -> Iterator[str]:
    """Instructions, each in one line; comments are left out, within continued lines, too."""
    held = ""
    for line in text.splitlines():
        if line.lstrip().startswith("#") or (not held and not line.strip()):
            continue
        if line.endswith("\\"):
            held += line[:-1].strip() + " "
        else:
            yield (held + line.strip()).strip()
            held = ""
    if held:
        raise NotUnderstood(f"goes on after the end: {held}")


def _steps(what: str, rest: str) -> Iterator[Step]:
    if what in _SAID:
        yield Say(what, rest)
    elif what == "ENV":
        for word in shlex.split(rest):
            name, equals, value = word.partition("=")
            if not equals:
                raise NotUnderstood(f"ENV without =: {rest}")
            yield Set(name, value, kept=True)
    elif what == "ARG":
        name, _, value = rest.partition("=")
        yield Set(name, "".join(shlex.split(value)), kept=False)
    elif what == "RUN":
        flags, command = _flags(rest)
        if command.startswith(("[", "<<")):
            raise NotUnderstood(f"RUN in another form than for a shell: {rest}")
        yield Run(command, tuple(map(_mount, flags)))
    elif what == "COPY":
        flags, files = _flags(rest)
        if any(not flag.startswith("--from=") for flag in flags):
            raise NotUnderstood(f"COPY {rest}")
        *sources, target = shlex.split(files)
        yield Copy(tuple(sources), target, flags[0].removeprefix("--from=") if flags else None)
    else:
        raise NotUnderstood(f"{what} {rest}")


def _flags(rest: str) -> tuple[list[str], str]:
    flags = []
    while rest.startswith("--"):
        flag, _, rest = rest.partition(" ")
        flags.append(flag)
        rest = rest.lstrip()
    return flags, rest


def _mount(flag: str) -> Mount:
    if not flag.startswith("--mount="):
        raise NotUnderstood(f"RUN {flag}")
    said = dict(part.partition("=")[::2] for part in flag.removeprefix("--mount=").split(","))
    if said.get("type") not in ("cache", "bind") or set(said) - {"type", "target", "source"}:
        raise NotUnderstood(f"RUN {flag}")
    return Mount(**said)
