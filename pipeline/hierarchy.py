"""Labels in categories in categories: a parent may be a label that has a parent itself, or the name of a category."""

from collections.abc import Mapping

MAX_DEPTH = 8
"""Names from a label up to the highest category, the label included."""


def ancestors(name: str, parents: Mapping[str, str | None]) -> tuple[str, ...]:
    """Its parent, that one's parent and so on.

    Args:
        parents: label -> its parent; what is not in it has none.

    Raises:
        ValueError: they go in a circle, or on for longer than `MAX_DEPTH`.
    """
    line = [name]
    while (parent := parents.get(line[-1])) is not None:
        if parent in line:
            raise ValueError(f"{' > '.join([*line, parent])} goes in a circle")
        line.append(parent)
        if len(line) > MAX_DEPTH:
            raise ValueError(f"{' > '.join(line)} has {len(line)} levels, at most {MAX_DEPTH} are possible")
    return tuple(line[1:])
