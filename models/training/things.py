"""The list of what the bundled model tells apart in pictures, see `models.things`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from models import things
from models.device import Placement
from models.training.captions import with_article
from models.training.sampling import ALL_PAIRS
from models.weights import from_folder

#: One shape of one colour. Textures and kinds of frames are told apart well enough by their cosines.
NAMES: tuple[str, ...] = tuple(with_article(f"{color} {shape}") for color, shape in ALL_PAIRS)


def write_things(directory: Path) -> None:
    """Write the list beside the weights that are there: vectors in half precision."""
    model = from_folder("bundled", directory, Placement("cpu", "float32", "the same on all machines"))
    vectors = model.embed_text(list(NAMES)).astype(np.float16)
    told = {"space": model.info.space, "names": json.dumps(NAMES)}
    save_file({"vectors": vectors}, directory / things.FILE.name, metadata=told)
