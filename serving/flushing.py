"""What outlasts a loss of power: a file's bytes, and its name in the folder, are each written by themselves."""

import os
from pathlib import Path


def flush(place: Path) -> None:
    """Wait until the bytes of a file, or the names in a folder, are on the disk. Raises OSError."""
    descriptor = os.open(place, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
