"""Vocabularies: the labels that tags are made of, from a comma-separated list or a TOML file.

The format is shown in `configs/vocabularies/example.toml`:

    templates = ["a photo of {}"]      # how a plain word is put to the model; optional

    [categories]                        # parent -> its labels, by name alone
    animals = ["dog", "cat"]

    [[label]]                           # a label with its own words
    name = "goal celebration"
    prompts = ["football players hugging after a goal"]
    threshold = 0.6
    parent = "sport"
    aliases = ["goal joy"]              # other names that it is found by

A parent may itself be a label that has one: `dog` in `animal` in `nature`.
"""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from pipeline.errors import InvalidSpec
from pipeline.record import Record
from pipeline.spec import Label, check_labels

FOLDER = Path(__file__).resolve().parent.parent / "configs" / "vocabularies"

MAX_LABELS = 1000
"""Labels of one vocabulary: bounds the work per frame and the size of a report."""


class LabelEntry(Record, frozen=True, kw_only=True):
    """A label as it is written."""

    name: str
    prompts: tuple[str, ...] = ()
    threshold: float | None = None
    parent: str | None = None
    aliases: tuple[str, ...] = ()


class VocabularyFile(Record, frozen=True, kw_only=True):
    """A vocabulary as it is written."""

    templates: tuple[str, ...] = ()
    """Phrases with `{}` for the word, for labels without prompts of their own; empty: the model's usual phrasing."""
    threshold: float = 0.5
    """For labels that set none."""
    categories: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """Parent -> names of labels."""
    label: tuple[LabelEntry, ...] = ()


def read(value: str) -> tuple[Label, ...]:
    """What a caller typed: a file's path (ending in .toml), the name of a built-in vocabulary, or `red,a blue circle`.

    Raises:
        InvalidSpec: with the file and the place in it.
    """
    if value.lower().endswith(".toml"):
        return load(Path(value))
    if value in built_in():
        return load(FOLDER / f"{value}.toml")
    if value.strip() and "," not in value:
        raise InvalidSpec(
            f"vocabulary: {value!r} is neither a path that ends in .toml nor one of {', '.join(built_in())}"
        )
    return named(value)


def named(value: str) -> tuple[Label, ...]:
    """`red,a blue circle` -> a label each.

    Raises:
        InvalidSpec: there is no name in it.
    """
    names = tuple(name.strip() for name in value.split(",") if name.strip())
    if not names:
        raise InvalidSpec(f"labels: {value!r} names nothing; write a,b,c or a path that ends in .toml")
    return checked(tuple(Label(name=name) for name in dict.fromkeys(names)), "labels")


def built_in() -> tuple[str, ...]:
    """Names of the vocabularies that come with the package, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def load(path: Path) -> tuple[Label, ...]:
    """The labels of a file; raises InvalidSpec as `read` does."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSpec(f"{path}: the vocabulary cannot be read ({error})") from error
    return parse(text, str(path))


def parse(text: str, place: str) -> tuple[Label, ...]:
    """The labels of a file's text; `place` names the file in errors."""
    try:
        content = msgspec.convert(tomllib.loads(text), VocabularyFile)
    except tomllib.TOMLDecodeError as error:
        raise InvalidSpec(f"{place}: not TOML ({error})") from error
    except RecursionError as error:
        raise InvalidSpec(f"{place}: nested too deeply") from error
    except msgspec.ValidationError as error:
        raise InvalidSpec(f"{place}: {error}") from error
    for template in content.templates:
        if "{}" not in template:
            raise InvalidSpec(f"{place}: templates: {template!r} lacks the {{}} that stands for the word")
    plain = [LabelEntry(name=name, parent=parent) for parent, names in content.categories.items() for name in names]
    return checked(tuple(_label(entry, content) for entry in (*plain, *content.label)), place)


def phrases(label: Label) -> tuple[str, ...]:
    """What is put to the model for a label: its prompts, or else its name."""
    return label.prompts or (label.name,)


def _label(entry: LabelEntry, content: VocabularyFile) -> Label:
    return Label(
        name=entry.name,
        prompts=entry.prompts or tuple(template.replace("{}", entry.name) for template in content.templates),
        threshold=content.threshold if entry.threshold is None else entry.threshold,
        parent=entry.parent,
        aliases=entry.aliases,
    )


def checked(labels: tuple[Label, ...], place: str = "") -> tuple[Label, ...]:
    """The labels themselves, if they can be a vocabulary.

    Args:
        place: what errors begin with, a file's name.

    Raises:
        InvalidSpec: says what is wrong, and points at the label.
    """
    before = f"{place}: " if place else ""
    if not labels:
        raise InvalidSpec(f"{before}no labels; add [categories] or [[label]]" if place else "no labels", "/labels")
    if len(labels) > MAX_LABELS:
        raise InvalidSpec(f"{before}{len(labels)} labels, at most {MAX_LABELS} are possible", "/labels")
    for number, label in enumerate(labels):
        for place_, prompt in enumerate(label.prompts):
            if not prompt.strip():
                message = f"{before}label {label.name[:50]!r} has an empty prompt"
                raise InvalidSpec(message, f"/labels/{number}/prompts/{place_}")
    try:
        check_labels(labels)
    except InvalidSpec as error:
        raise InvalidSpec(f"{before}{error}", error.pointer) from error
    return labels


def written(labels: tuple[Label, ...]) -> str:
    """Labels as the text of a file: `parse` reads the same ones from it."""
    return "\n".join("\n".join(("[[label]]", *_lines(label), "")) for label in labels)


def _lines(label: Label) -> Iterator[str]:
    yield f"name = {_quoted(label.name)}"
    if label.prompts:
        yield f"prompts = [{', '.join(map(_quoted, label.prompts))}]"
    yield f"threshold = {float(label.threshold)!r}"
    if label.parent is not None:
        yield f"parent = {_quoted(label.parent)}"
    if label.aliases:
        yield f"aliases = [{', '.join(map(_quoted, label.aliases))}]"


def _quoted(text: str) -> str:
    # Strings of JSON are strings of TOML, but for one character.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
