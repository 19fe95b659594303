"""The language of the bundled model: captions, each with the facts that make it true."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.training.backgrounds import TEXTURES
from models.training.facts import ANY, COUNTS, fact
from models.training.outlines import SHAPES
from models.training.scenes import COLORS, HELD_OUT, Object, Scene


@dataclass(frozen=True, slots=True)
class Caption:
    """A sentence and what it claims."""

    text: str
    facts: tuple[int, ...]
    """Indices into `facts.FACTS`; the caption is true when all of them are."""


SHAPE_WORDS = {shape: (shape,) for shape in SHAPES} | {
    "circle": ("circle", "circle", "disc"),
    "cross": ("cross", "cross", "plus"),
    "ring": ("ring", "ring", "donut"),
    "crescent": ("crescent", "crescent", "moon"),
    "diamond": ("diamond", "diamond", "rhombus"),
    ANY: ("shape", "object"),
}
COLOR_WORDS = {color: (color,) for color in COLORS} | {
    "gray": ("gray", "grey"),
    "purple": ("purple", "purple", "violet"),
}
SIZE_WORDS = {"small": ("small", "tiny", "little"), "large": ("large", "big")}
COUNT_WORDS = {
    "two": ("two", "2"), "three": ("three", "3"), "four": ("four", "4"), "five": ("five", "5"), "many": ("many",)
}  # fmt: skip
TEXTURE_PHRASES = {
    "stripes": ("{}stripes", "a {}striped background", "a {}striped pattern", "{}lines"),
    "checkerboard": ("a {}checkerboard", "a {}checkerboard pattern", "a {}checkered background", "a {}chessboard"),
    "dots": ("{}dots", "{}polka dots", "a {}dotted background", "a {}dotted pattern"),
    "grid": ("a {}grid", "a {}grid pattern", "{}grid lines"),
    "waves": ("{}waves", "a {}wavy pattern", "{}wavy lines", "a {}wavy background"),
}
PHRASES: dict[tuple[str, ...], tuple[str, ...]] = {
    ("kind", "gradient"): ("a gradient", "a color gradient", "a colour gradient", "a smooth gradient background"),
    ("kind", "static"): ("static", "tv static", "noise", "random noise", "television snow"),
    ("condition", "pattern"): ("a pattern", "a patterned background", "a texture", "a repeating pattern"),
    ("condition", "text"): ("text", "writing", "words", "some text on screen", "letters", "a caption"),
    ("condition", "title"): ("a title card", "a text card", "a title", "a title screen", "a text slide", "credits"),
    ("condition", "subtitles"): ("subtitles", "a subtitle", "subtitles at the bottom"),
    ("condition", "dark"): (
        "a dark frame", "dark", "a dark scene", "darkness", "an underexposed frame", "a dark image"
    ),
    ("condition", "overexposed"): (
        "an overexposed frame", "overexposed", "a blown out frame", "washed out", "too bright", "an overexposed image"
    ),
    ("condition", "blank"): (
        "a blank frame", "blank", "an empty frame", "nothing", "a plain background", "a blank screen"
    ),
    ("condition", "black frame"): ("a black frame", "a black screen", "a fully black frame"),
    ("condition", "blurry"): ("a blurry frame", "blurry", "out of focus", "a blurred image", "blur"),
    ("background", "dark"): ("a dark background",),
    ("background", "light"): ("a light background", "a bright background"),
}  # fmt: skip
TEMPLATES = (
    "{}", "{}", "{}", "{}", "a photo of {}", "a picture of {}", "an image of {}", "a video frame of {}",
    "a frame showing {}", "a drawing of {}", "there is {}", "a video of {}", "this is {}",
)  # fmt: skip
FOREIGN_WORDS = (
    "dog", "cat", "bird", "horse", "cow", "giraffe", "elephant", "person", "man", "woman", "child", "face", "hand",
    "crowd", "car", "truck", "bus", "train", "plane", "boat", "bike", "road", "street", "city", "house", "building",
    "room", "kitchen", "table", "chair", "bed", "door", "window", "computer", "phone", "screen", "keyboard", "book",
    "paper", "food", "pizza", "cake", "fruit", "apple", "banana", "coffee", "water", "sea", "beach", "river",
    "lake", "mountain", "forest", "tree", "flower", "grass", "garden", "sky", "sun", "night", "rain", "fire",
    "smoke", "explosion", "gun", "knife", "sport", "football", "soccer", "tennis", "basketball", "goal", "ball",
    "player", "dance", "music", "guitar", "piano", "concert", "stage", "wedding", "party", "baby", "doctor",
    "hospital", "school", "teacher", "office", "meeting", "interview", "news", "weather", "map", "logo",
    "advertisement", "cartoon", "animation", "game", "racing", "running", "swimming", "cooking", "walking",
    "talking", "laughing", "crying", "happy", "sad", "angry", "fast", "slow", "old", "young", "indoor", "outdoor",
    "landscape", "portrait", "closeup", "drone", "aerial", "robot", "space", "rocket",
)  # fmt: skip
"""Ordinary words that mean nothing here. They are trained to be false of every scene, as made-up words are."""

_EDGES = ("a", "an", "the")


def _one(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def object_caption(
    rng: np.random.Generator, color: str = ANY, shape: str = ANY, size: str = ANY, count: str = "some"
) -> Caption:
    """Words for objects, e.g. "two red circles". Raises ValueError when the pair is one that training holds out."""
    if (color, shape) in HELD_OUT:
        raise ValueError(f"{color} {shape} is held out of training")
    noun = _one(rng, SHAPE_WORDS[shape])
    words = [_one(rng, SIZE_WORDS[size])] if size != ANY else []
    words += [_one(rng, COLOR_WORDS[color])] if color != ANY else []
    if count in COUNT_WORDS:
        words.insert(0, _one(rng, COUNT_WORDS[count]))
    elif count == "one":
        words.insert(0, _one(rng, ("exactly one", "a single", "only one", "one")))
    if count not in ("some", "one"):
        noun = plural(noun)
    text = " ".join([*words, noun])
    if count == "some" and rng.random() < 0.75:
        text = with_article(text)
    return Caption(text, (fact("object", color, shape, size, count),))


def plural(noun: str) -> str:
    """Plural of a known noun."""
    return noun + ("es" if noun.endswith("s") else "s")


def with_article(text: str) -> str:
    """`text` after "a" or "an"."""
    return ("an " if text[0] in "aeio" else "a ") + text


def texture_caption(rng: np.random.Generator, kind: str, colors: Sequence[str] = ()) -> Caption:
    """Words for a texture, with up to two of its colours, e.g. "red and white stripes"."""
    facts = tuple(fact("texture", kind, c) for c in colors) or (fact("kind", kind),)
    words = " and ".join(_one(rng, COLOR_WORDS[c]) for c in colors)
    text = _one(rng, TEXTURE_PHRASES[kind]).format(words + " " if words else "")
    return Caption(re.sub(r"^a (?=[aeio])", "an ", text), facts)


def background_caption(rng: np.random.Generator, color: str) -> Caption:
    """Words for the colour of what is behind, e.g. "a red background"."""
    noun = _one(rng, ("background", "background", "screen", "frame"))
    if color == "black" and noun != "background":  # those words mean an empty frame: PHRASES has them
        noun = "background"
    return Caption(with_article(f"{_one(rng, COLOR_WORDS[color])} {noun}"), (fact("background", color),))


def phrase_caption(rng: np.random.Generator, name: tuple[str, ...]) -> Caption:
    """Words for one of the fixed `PHRASES`."""
    return Caption(_one(rng, PHRASES[name]), (fact(*name),))


def foreign_caption(rng: np.random.Generator) -> Caption:
    """Words that mean nothing to the model, hence false everywhere."""
    word = _one(rng, FOREIGN_WORDS)
    if rng.random() < 0.5:
        word = "".join(rng.choice(list(string.ascii_lowercase), int(rng.integers(2, 10))))
    draw = rng.random()
    if draw < 0.35:
        word = f"{_one(rng, tuple(COLORS))} {word}"
    elif draw < 0.5:
        word = f"{word} {_one(rng, FOREIGN_WORDS)}"
    return Caption(with_article(word) if rng.random() < 0.6 else word, (fact("never"),))


def sample_caption(rng: np.random.Generator, scene: Scene | None = None) -> Caption:
    """A random caption; with a scene, one that is about it: mostly true of it, often wrong in one word."""
    caption = _about(rng, scene) if scene is not None else _anything(rng)
    return Caption(_one(rng, TEMPLATES).format(caption.text), caption.facts)


def _anything(rng: np.random.Generator) -> Caption:
    draw = rng.random()
    if draw < 0.16:
        return foreign_caption(rng)
    if draw < 0.26:
        return phrase_caption(rng, list(PHRASES)[int(rng.integers(len(PHRASES)))])
    if draw < 0.32:
        return texture_caption(rng, _one(rng, TEXTURES), [_one(rng, tuple(COLORS))] if rng.random() < 0.5 else [])
    if draw < 0.36:
        return background_caption(rng, _one(rng, tuple(COLORS)))
    if draw < 0.42:
        color = _one(rng, tuple(COLORS))
        return Caption(_one(rng, COLOR_WORDS[color]), (fact("color", color),))
    color, shape = _one(rng, tuple(COLORS)), _one(rng, SHAPES)
    if draw < 0.48:
        color = ANY
    elif draw < 0.54:
        shape = ANY
    elif (color, shape) in HELD_OUT:
        return _anything(rng)
    size = _one(rng, ("small", "large")) if rng.random() < 0.15 else ANY
    return object_caption(rng, color, shape, size, _one(rng, COUNTS) if rng.random() < 0.2 else "some")


def _about(rng: np.random.Generator, scene: Scene) -> Caption:
    choices = ["background", "condition"]
    choices += ["object"] * 6 + ["word"] if scene.objects else []
    choices += ["pair"] * 2 if len(scene.objects) > 1 else ["on"] if scene.objects else []
    choices += ["texture"] * 3 if scene.background.kind in TEXTURES else []
    choices += ["condition"] * 3 if not scene.objects else []
    match _one(rng, choices):
        case "object":
            return _about_object(rng, scene)
        case "pair":
            first, second = _about_object(rng, scene, plain=True), _about_object(rng, scene, plain=True)
            return Caption(f"{first.text} and {second.text}", first.facts + second.facts)
        case "on":
            first, behind = _about_object(rng, scene, plain=True), _about_background(rng, scene)
            return Caption(f"{first.text} on {behind.text}", first.facts + behind.facts)
        case "word":
            color = _one(rng, scene.objects).color
            return Caption(_one(rng, COLOR_WORDS[color]), (fact("color", color),))
        case "texture":
            background = scene.background
            colors = [c for c in (background.color, background.second) if c is not None][: int(rng.integers(3))]
            if colors and rng.random() < 0.25:
                colors[0] = _one(rng, tuple(COLORS))
            rng.shuffle(colors)
            return texture_caption(rng, background.kind if rng.random() < 0.85 else _one(rng, TEXTURES), colors)
        case "background":
            return _about_background(rng, scene)
        case _:
            return phrase_caption(rng, _likely_phrase(rng, scene))


def _about_object(rng: np.random.Generator, scene: Scene, *, plain: bool = False) -> Caption:
    chosen: Object = _one(rng, scene.objects)
    color, shape = chosen.color, chosen.shape
    if rng.random() < 0.15:
        color = _one(rng, tuple(COLORS))
    if rng.random() < 0.15:
        shape = _one(rng, SHAPES)
    if len(scene.objects) > 1 and rng.random() < 0.25:  # colours and shapes that are there, but not together
        shape = _one(rng, scene.objects).shape
    draw = rng.random()
    color, shape = (ANY, shape) if draw < 0.2 else (color, ANY) if draw < 0.35 else (color, shape)
    if (color, shape) in HELD_OUT:
        color, shape = chosen.color, chosen.shape
    size, count = ANY, "some"
    if not plain and rng.random() < 0.2:
        size = "small" if (chosen.size < 0.3) != (rng.random() < 0.3) else "large"
    if rng.random() < (0.15 if plain else 0.35):
        same = sum(color in (ANY, o.color) and shape in (ANY, o.shape) for o in scene.objects)
        count = ("some", "one", "two", "three", "four", "five", "many")[min(same, 6)]
        if rng.random() < 0.35:
            count = _one(rng, COUNTS)
    return object_caption(rng, color, shape, size, count)


def _about_background(rng: np.random.Generator, scene: Scene) -> Caption:
    background = scene.background
    if background.kind in TEXTURES and rng.random() < 0.7:
        return texture_caption(rng, background.kind)
    if rng.random() < 0.25:
        return phrase_caption(rng, ("background", _one(rng, ("dark", "light"))))
    color = background.color if background.color and rng.random() < 0.75 else _one(rng, tuple(COLORS))
    return background_caption(rng, color)


def _likely_phrase(rng: np.random.Generator, scene: Scene) -> tuple[str, ...]:
    names = [n for n in PHRASES if n[0] == "condition"]
    if scene.background.kind in ("gradient", "static"):
        names += [("kind", scene.background.kind)] * 8
    if scene.text is not None:
        names += [("condition", n) for n in ("text", "title", "subtitles")] * 3
    if scene.camera.blur > 0.02:
        names += [("condition", "blurry")] * 8
    if scene.camera.exposure > 2:
        names += [("condition", "overexposed")] * 8
    if scene.camera.exposure < 0.3:
        names += [("condition", "dark")] * 8
    return names[int(rng.integers(len(names)))]


def known_words() -> tuple[str, ...]:
    """Every word the model has been taught a meaning of, sorted; articles and such little words included."""
    rng_free: list[str] = [*_EDGES, "on", "and", "one", "exactly", "single", "only", "background", "screen", "frame"]
    for group in (SHAPE_WORDS, COLOR_WORDS, SIZE_WORDS, COUNT_WORDS, TEXTURE_PHRASES, PHRASES):
        rng_free += [text.format("") for texts in group.values() for text in texts]
    rng_free += [plural(noun) for nouns in SHAPE_WORDS.values() for noun in nouns]
    rng_free += [template.format("") for template in TEMPLATES]
    return tuple(sorted({word for text in rng_free for word in text.split()}))
