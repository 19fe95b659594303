"""What is measured of a frame: the columns of `models.frame_stats`, for those who read them. Loads nothing heavy."""

import numpy as np

LAYOUT_SIDE = 8
"""Rows and columns of the colour layout, as in the MPEG-7 colour layout descriptor (ISO/IEC 15938-3)."""

_SCALARS = ("sharpness", "exposure", "dark", "bright", "contrast", "colourfulness")

COLOUR_STEPS = 4
"""Levels of each of R, G and B in the colour histogram."""

EDGE_DIRECTIONS = 8
"""Directions of the edge histogram, 45 degrees each."""

_LAYOUT = tuple(
    f"layout_{row}_{column}_{channel}"
    for row in range(LAYOUT_SIDE)
    for column in range(LAYOUT_SIDE)
    for channel in "rgb"
)
_LOOKS = (
    *(f"colour_{r}{g}{b}" for r in range(COLOUR_STEPS) for g in range(COLOUR_STEPS) for b in range(COLOUR_STEPS)),
    *(f"edge_{direction}" for direction in range(EDGE_DIRECTIONS)),
)

COLUMNS: tuple[str, ...] = (*_SCALARS, *_LAYOUT, *_LOOKS)
"""What each column means:

- `sharpness`: log10(1 + variance of the Laplacian of luma); about 1 for a blurred frame, 2.5-4 for a sharp one
  (Pech-Pacheco et al., ICPR 2000).
- `exposure`: mean luma, 0-1.
- `dark`, `bright`: share of pixels clipped at either end, 0-1.
- `contrast`: standard deviation of luma, 0-0.5.
- `colourfulness`: Hasler & Süsstrunk, "Measuring colourfulness in natural images", 2003; 0 gray, 15 slightly,
  60 quite, 110 extremely colourful.
- `layout_<row>_<column>_<channel>`: mean colour of that tile, 0-1, rows from the top.
- `colour_<r><g><b>`: square root of the share of pixels with that colour, 0-1; their squares add up to 1.
- `edge_<direction>`: square root of ten times the mean strength (luma 0-1) of the edges that rise that way, 0 is left
  and then clockwise; ten, so that edges weigh about as much as colours.
"""

LAYOUT = slice(len(_SCALARS), len(_SCALARS) + len(_LAYOUT))
"""The columns of the colour layout: what lies where."""

LOOKS = slice(len(COLUMNS) - len(_LOOKS), len(COLUMNS))
"""The columns of the two histograms: what a frame is made of, wherever it lies."""


def column(stats: np.ndarray, name: str) -> np.ndarray:
    """One named column of `FrameStats.run`'s output: float32 [N]."""
    return stats[:, COLUMNS.index(name)]
