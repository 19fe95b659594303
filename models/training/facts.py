"""Everything that can be asked about a scene, and its answer: true, false, or not clear enough to say.

A scene answers all facts at once, as one int8 vector; a caption is a handful of indices into it. Answers are
`TRUE` (1), `UNCLEAR` (0) and `FALSE` (-1), so "and" is the minimum and "or" the maximum.
"""

from __future__ import annotations

import numpy as np

from models.training.backgrounds import TEXTURES
from models.training.outlines import SHAPES
from models.training.sampling import distance
from models.training.scenes import COLORS, HELD_OUT, Background, Scene

TRUE, UNCLEAR, FALSE = 1, 0, -1

ANY = "any"
SIZES = (ANY, "small", "large")
COUNTS = ("some", "plural", "one", "two", "three", "four", "five", "many")
"""How many objects are asked for: at least one, at least two, exactly so many, six or more."""

_COLOR_AXIS = (ANY, *COLORS)
_SHAPE_AXIS = (ANY, *SHAPES)
_MANY = 6
_NO_LIMIT = 99

KINDS = (*TEXTURES, "gradient", "static")
CONDITIONS = ("pattern", "text", "title", "subtitles", "dark", "overexposed", "blank", "black frame", "blurry")

FACTS: tuple[tuple[str, ...], ...] = (
    *(("object", c, s, z, n) for c in _COLOR_AXIS for s in _SHAPE_AXIS for z in SIZES for n in COUNTS),
    *(("color", c) for c in COLORS),
    *(("background", c) for c in (*COLORS, "dark", "light")),
    *(("kind", k) for k in KINDS),
    *(("texture", k, c) for k in TEXTURES for c in COLORS),
    *(("condition", k) for k in CONDITIONS),
    ("never",),
)
"""The names of all facts, in the order of the vector; "never" is false of every scene: the meaning of unknown words."""


def _is_taught(name: tuple[str, ...]) -> bool:
    if name[0] != "object":
        return name[0] != "never"
    _, color, shape, size, count = name
    # Pairs are left to the captions: here each would be a thing of its own, with nothing in common with its kin.
    return ANY in (color, shape) and (size == ANY or count == "some")


TAUGHT: tuple[int, ...] = tuple(i for i, name in enumerate(FACTS) if _is_taught(name))
"""The facts that training asks of every picture directly."""

_INDEX = {name: i for i, name in enumerate(FACTS)}


def fact(*name: str) -> int:
    """Index of a fact by its name, e.g. `fact("object", "red", "circle", "any", "some")`. Raises KeyError."""
    return _INDEX[name]


_OF_SHAPE = {s: [i for i, n in enumerate(FACTS) if n[:3] == ("object", ANY, s)] for s in SHAPES}
_OF_COLOR = {c: [i for i, n in enumerate(FACTS) if n[:3] == ("object", c, ANY) or n == ("color", c)] for c in COLORS}


def without_hints(scene: Scene, table: np.ndarray) -> np.ndarray:
    """The answers of a scene, less those that would give away which pairs training holds out.

    If red arrows are never drawn, "no arrow here" is true of every red thing, and a model that learns this is blind to
    the first red arrow it meets. So pictures of red things do not teach that there is no arrow, nor arrows that there
    is nothing red.
    """
    out = table.copy()
    for item in scene.objects:
        for color, shape in HELD_OUT:
            hints = _OF_SHAPE[shape] if item.color == color else _OF_COLOR[color] if item.shape == shape else []
            out[hints] = np.maximum(out[hints], UNCLEAR)
    return out


def answers(scene: Scene) -> np.ndarray:
    """The answer of `scene` to every fact: int8 [len(FACTS)]."""
    camera, background = scene.camera, scene.background
    readable = 0.6 <= camera.exposure <= 1.3
    sharp = camera.blur <= 0.01
    low, high = _count_bounds(scene, readable, sharp)
    shades = _shade_answers(background, readable)
    some = COUNTS.index("some")
    object_answers = _ask_counts(low, high)
    words = np.maximum(object_answers[1:, 0, 0, some], shades.max(axis=0))
    kinds = np.full(len(KINDS), FALSE, dtype=np.int8)
    if background.kind in KINDS:
        kinds[KINDS.index(background.kind)] = TRUE if readable and (sharp or background.kind == "gradient") else UNCLEAR
    if background.kind == "clouds":
        kinds[KINDS.index("gradient")] = UNCLEAR
    if camera.noise > 8:
        kinds[KINDS.index("static")] = max(int(kinds[KINDS.index("static")]), UNCLEAR)
    textures = np.full((len(TEXTURES), len(COLORS)), FALSE, dtype=np.int8)
    if background.kind in TEXTURES:
        row = TEXTURES.index(background.kind)
        textures[row] = np.minimum(shades[1], kinds[row])
        if not readable:
            textures[row] = UNCLEAR
    conditions = _conditions(scene, readable, sharp)
    parts = [object_answers.ravel(), words, shades[0], _tone(background, readable), kinds, textures.ravel()]
    return np.concatenate([*parts, conditions, np.array([FALSE])]).astype(np.int8)


def _count_bounds(scene: Scene, readable: bool, sharp: bool) -> tuple[np.ndarray, np.ndarray]:
    """Fewest and most objects one could count, each int [colours + 1, shapes + 1, sizes]; index 0 is "any"."""
    shape = (len(_COLOR_AXIS), len(_SHAPE_AXIS), len(SIZES))
    low, high = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for item in scene.objects:
        # Sizes between the two words belong to neither for sure.
        sure = np.array([1, item.size <= 0.28, item.size >= 0.48])
        maybe = np.array([1, item.size < 0.34, item.size > 0.40])
        cells = np.ix_((0, _COLOR_AXIS.index(item.color)), (0, _SHAPE_AXIS.index(item.shape)))
        low[cells] += sure
        high[cells] += maybe
    if scene.background.kind == "dots":
        high[:, [0, _SHAPE_AXIS.index("circle")], :2] += _NO_LIMIT
    elif scene.background.kind in ("checkerboard", "grid"):
        high[:, [0, _SHAPE_AXIS.index("square"), _SHAPE_AXIS.index("diamond")], :2] += _NO_LIMIT
    elif scene.background.kind == "clutter":
        # Shards may look like anything at all once, but never make a crowd of one kind.
        high[:, 0] += _NO_LIMIT
    if not readable:  # neither colours nor numbers can be trusted; shapes that are not there still are not
        low[:] = 0
        high[:] = np.maximum(high, high[:1])
    if not sharp:
        low[:, 1:] = 0
        high[:] = np.maximum(high, high[:, :1])
    return low, high


def _ask_counts(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Answers of every count query, int8 [colours + 1, shapes + 1, sizes, counts]."""

    def at_least(n: int, clear: int | None = None) -> np.ndarray:
        return np.where(low >= n, TRUE, np.where(high < (clear or n), FALSE, UNCLEAR))

    def exactly(n: int) -> np.ndarray:
        return np.where((low == n) & (high == n), TRUE, np.where((high < n) | (low > n), FALSE, UNCLEAR))

    many = at_least(_MANY, clear=4)  # four and five are many to some
    return np.stack([at_least(1), at_least(2), *(exactly(n) for n in range(1, 6)), many], axis=-1)


def _shade_answers(background: Background, readable: bool) -> np.ndarray:
    """Which colours the background has: int8 [2, colours]; row 0 "is all of it so?", row 1 "is any of it so?"."""
    out = np.full((2, len(COLORS)), FALSE, dtype=np.int8)
    if background.kind in ("clouds", "clutter") or not readable:
        out[:] = UNCLEAR
        return out
    if background.kind == "static":
        out[:, [i for i, c in enumerate(COLORS) if c in ("black", "white", "gray")]] = UNCLEAR
        return out
    first, second = background.rgbs
    mixed = background.kind == "gradient" or background.color is None
    for i, (name, pure) in enumerate(COLORS.items()):
        if mixed:
            steps = [first, second] if background.kind != "gradient" else np.linspace(first, second, 6)
            if min(distance(step, pure) for step in steps) < 125.0:
                out[:, i] = UNCLEAR
        elif name in (background.color, background.second):
            out[1, i] = TRUE
            out[0, i] = TRUE if background.kind == "plain" else UNCLEAR
    return out


def _tone(background: Background, readable: bool) -> np.ndarray:
    """Is the background dark, is it light: int8 [2]."""
    if not readable or background.kind in ("static", "clouds", "clutter"):
        return np.array([UNCLEAR, UNCLEAR])
    tones = np.array(background.rgbs) @ np.array([0.3, 0.59, 0.11])
    if tones.max() < 65:
        return np.array([TRUE, FALSE])
    if tones.min() > 185:
        return np.array([FALSE, TRUE])
    dark = FALSE if tones.min() > 110 else UNCLEAR
    return np.array([dark, FALSE if tones.max() < 140 else UNCLEAR])


def _conditions(scene: Scene, readable: bool, sharp: bool) -> np.ndarray:
    """Answers in the order of `CONDITIONS`, int8."""
    background, camera, text = scene.background, scene.camera, scene.text
    calm = background.kind in ("plain", "gradient")
    near_black = max(max(rgb) for rgb in background.rgbs) < 45 and background.kind == "plain"
    near_white = min(min(rgb) for rgb in background.rgbs) > 205 and background.kind in ("plain", "gradient")
    empty = not scene.objects and text is None
    out = dict.fromkeys(CONDITIONS, FALSE)
    if background.kind in TEXTURES or background.kind in ("static", "clutter"):
        clear = background.kind in TEXTURES and readable and sharp
        out["pattern"] = TRUE if clear else UNCLEAR
    if text is not None:
        legible = TRUE if readable and sharp else UNCLEAR
        low_line = text.y > 0.8
        out["text"] = UNCLEAR if low_line and not calm else legible
        out["subtitles"] = out["text"] if low_line else FALSE
        out["title"] = UNCLEAR if low_line or scene.objects or not calm else legible
    if camera.exposure <= 0.25 or (near_black and empty):
        out["dark"] = TRUE
    elif camera.exposure < 0.7 or near_black:
        out["dark"] = UNCLEAR
    if camera.exposure >= 2.5:
        out["overexposed"] = UNCLEAR if near_black else TRUE
    elif camera.exposure > 1.25 or near_white:
        out["overexposed"] = UNCLEAR
    if not readable or (empty and background.kind in ("gradient", "clouds")):
        out["blank"] = UNCLEAR
    elif empty and background.kind == "plain":
        out["blank"] = TRUE
    if camera.exposure < 0.7:
        out["black frame"] = UNCLEAR
    elif empty and near_black:
        out["black frame"] = TRUE
    plain_to_see = not empty or background.kind not in ("plain", "gradient", "clouds")
    if camera.blur >= 0.03:
        out["blurry"] = TRUE if plain_to_see and readable else UNCLEAR
    elif not sharp or not plain_to_see or background.kind == "clouds":
        out["blurry"] = UNCLEAR
    return np.array([out[name] for name in CONDITIONS])
