"""Pictures as examples: a file to the vector that an encoder gives it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from models.base import FrameModel
from models.training.examples import BadExamples


def embed(path: Path, encoder: FrameModel) -> np.ndarray:
    """float32 [1, D], of length 1; the picture is turned upright as its camera says.

    Raises:
        BadExamples: it cannot be read.
    """
    try:
        with Image.open(path, formats=("JPEG", "PNG")) as opened:
            pixels = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadExamples(f"{path} cannot be read as a picture ({error})") from error
    return encoder.run(pixels[None])
