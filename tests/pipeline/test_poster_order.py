"""Which of two generated pictures stands for a video: scenes before what is sharper and shows less."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from pipeline import poster
from pipeline.poster import Candidate

WIDTH, HEIGHT = 320, 180


def scene(seed: int) -> Image.Image:
    """A sky and a meadow, in front of which forty discs lie."""
    rng = np.random.default_rng(seed)
    drawn = Image.new("RGB", (WIDTH, HEIGHT), (60, 90, 150))
    pen = ImageDraw.Draw(drawn)
    pen.rectangle((0, HEIGHT * 2 // 3, WIDTH, HEIGHT), fill=(70, 120, 60))
    for _ in range(40):
        x, y, size = (int(one) for one in (rng.integers(WIDTH), rng.integers(HEIGHT // 3, HEIGHT), rng.integers(5, 40)))
        pen.ellipse((x, y, x + size, y + size), fill=tuple(int(one) for one in rng.integers(40, 220, 3)))
    return drawn


def textured(seed: int) -> Image.Image:
    """As nature has it: the finer, the fainter."""
    rng = np.random.default_rng(seed)
    fine = np.hypot(np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)[None])
    fine[0, 0] = 1.0
    planes = [np.fft.irfft2(np.fft.rfft2(rng.standard_normal((HEIGHT, WIDTH))) / fine, (HEIGHT, WIDTH)) for _ in "lrgb"]
    light, *colours = (plane / plane.std() for plane in planes)
    pixels = np.stack([120 + 45 * light + 20 * colour for colour in colours], -1)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def soft(picture: Image.Image, pixels: float) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(pixels))


def grainy(picture: Image.Image, levels: float) -> Image.Image:
    noisy = np.asarray(picture) + np.random.default_rng(0).normal(0, levels, (HEIGHT, WIDTH, 3))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def static(planes: int) -> Image.Image:
    pixels = np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, planes)).astype(np.uint8)
    return Image.fromarray(np.repeat(pixels, 3 // planes, 2))


def text(ground: tuple[int, int, int], letters: tuple[int, int, int]) -> Image.Image:
    drawn = Image.new("RGB", (WIDTH, HEIGHT), ground)
    pen = ImageDraw.Draw(drawn)
    for y in range(10, HEIGHT - 10, 12):
        pen.text((20, y), "CREDITS and more text that scrolls 12345", fill=letters)
    return drawn


def bars() -> Image.Image:
    colours = [
        (180, 180, 180),
        (180, 180, 16),
        (16, 180, 180),
        (16, 180, 16),
        (180, 16, 180),
        (180, 16, 16),
        (16, 16, 180),
    ]
    return Image.fromarray(np.array([colours], np.uint8)).resize((WIDTH, HEIGHT), Image.Resampling.NEAREST)


SCENES = {
    "a scene": scene(1),
    "another": scene(2),
    "texture": textured(1),
    "a soft scene": soft(scene(2), 1.2),
    "soft texture": soft(textured(1), 1.2),
    "a grainy scene": grainy(scene(1), 20),
    "grainy texture": grainy(textured(1), 20),
}
OTHERS = {
    "static": static(3),
    "grey static": static(1),
    "encoded static": soft(static(3), 0.6),
    "credits": text((120, 120, 120), (250, 250, 250)),
    "credits on black": text((0, 0, 0), (250, 250, 250)),
    "credits in colours": text((20, 30, 90), (240, 240, 80)),
    "a scene out of focus": soft(scene(1), 4),
    "texture out of focus": soft(textured(1), 4),
    "a scene in a fade": scene(1).point(lambda level: level * 0.5),
    "black": Image.new("RGB", (WIDTH, HEIGHT)),
}
AT = Candidate(0.0, 0.0, 0.0)


def measured(picture: Image.Image) -> poster.Measured:
    return poster.measured(np.asarray(picture.resize((160, 90), Image.Resampling.BOX)))


@pytest.mark.parametrize("other", OTHERS)
def test_a_scene_is_taken_before(other):
    seen = measured(OTHERS[other])
    lost = [name for name, shown in SCENES.items() if poster.choose([(AT, seen), (AT, measured(shown))]).place != 1]
    assert lost == []


@pytest.mark.parametrize("other", ["static", "grey static", "encoded static"])
def test_so_is_one_that_is_out_of_focus(other):
    blurred = measured(OTHERS["a scene out of focus"])
    assert poster.choose([(AT, measured(OTHERS[other])), (AT, blurred)]).place == 1


def test_bars_are_taken_after_sharp_scenes():
    for name in ("a scene", "another", "texture"):
        assert poster.choose([(AT, measured(bars())), (AT, measured(SCENES[name]))]).place == 1


def test_the_sharper_one_of_two_is_taken_still():
    for sharp, blurred in (("another", "a soft scene"), ("texture", "soft texture")):
        assert poster.choose([(AT, measured(SCENES[blurred])), (AT, measured(SCENES[sharp]))]).place == 1
