"""Labels by any of their names."""

from collections.abc import Sequence

from pipeline.spec import Label
from serving.errors import NotFound


def named(labels: Sequence[Label], said: str) -> str:
    """The name of the label or category that is meant. Raises NotFound: there is none of that name."""
    if any(said in (label.name, label.parent) for label in labels):
        return said
    for label in labels:
        if said in label.aliases:
            return label.name
    raise NotFound(f"the vocabulary has no label, category or other name {said[:50]!r}")


def label_named(labels: Sequence[Label], said: str) -> Label:
    """The label that is meant. Raises NotFound: there is none, or it is the name of a category only."""
    name = named(labels, said)
    for label in labels:
        if label.name == name:
            return label
    raise NotFound(f"{name[:50]!r} is a category, and no label of its own: nothing is learnt for it")


def true_names(labels: Sequence[Label]) -> dict[str, str]:
    """Alias -> the name of its label."""
    return {alias: label.name for label in labels for alias in label.aliases}
