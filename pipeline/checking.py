"""Whether a model really computes: its answer to a small example, looked at."""

from collections.abc import Iterator
from contextlib import contextmanager

from models.answers import require_rows
from pipeline.errors import CheckFailed

__all__ = ["MAX_TOLD", "failed_by", "require_rows", "told"]

#: Characters of an error that are passed on.
MAX_TOLD = 500


@contextmanager
def failed_by(name: str) -> Iterator[None]:
    """Whatever goes wrong in the block is a failed check of the model of this name. Raises CheckFailed."""
    try:
        yield
    except Exception as error:
        raise CheckFailed(f"{name}: {told(error)}") from error


def told(error: BaseException) -> str:
    """An error in a line of 500 characters at most: which, and what it says first."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:MAX_TOLD]
