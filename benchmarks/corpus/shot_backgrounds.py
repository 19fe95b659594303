"""Backgrounds for the shot benchmark: photo-like textures, low contrast, night, slides, from a seeded generator."""

import cv2
import numpy as np


def fractal(rng: np.random.Generator, h: int, w: int, slope: float = 1.0, finest: int = 10) -> np.ndarray:
    """float32 [h, w] in 0..1: octaves of noise whose amplitude falls by 2^-slope, like the spectra of photographs."""
    out = np.zeros((h, w), np.float32)
    for octave in range(1, finest):
        cells = rng.standard_normal((max(2, 2**octave * h // w), 2**octave)).astype(np.float32)
        out += cv2.resize(cells, (w, h), interpolation=cv2.INTER_CUBIC) * 2.0 ** (-slope * octave)
    low, high = np.percentile(out, (1, 99))
    return np.clip((out - low) / (high - low + 1e-6), 0, 1)


def palette(rng: np.random.Generator, colours: int = 5) -> np.ndarray:
    """float32 [256, 3]: a smooth ramp through related colours, from dark to bright."""
    hue = rng.uniform(0, 180)
    hues = (hue + rng.normal(0, 25, colours)) % 180
    hsv = np.stack(
        [hues, rng.uniform(20, 200, colours), np.linspace(rng.uniform(10, 70), rng.uniform(150, 250), colours)], 1
    )
    rgb = cv2.cvtColor(hsv[None].astype(np.uint8), cv2.COLOR_HSV2RGB)[0].astype(np.float32)
    return np.stack(
        [np.interp(np.linspace(0, colours - 1, 256), np.arange(colours), rgb[:, c]) for c in range(3)], 1
    ).astype(np.float32)


def paint(field: np.ndarray, ramp: np.ndarray) -> np.ndarray:
    return ramp[(field * 255).astype(np.uint8)]


def background(rng: np.random.Generator, kind: str, h: int, w: int, ramp: np.ndarray) -> np.ndarray:
    """uint8 [h, w, 3] of a kind in `KINDS`."""
    field = fractal(rng, h, w, rng.uniform(0.35, 1.2))
    picture = paint(field, ramp)
    y = np.linspace(0, 1, h, dtype=np.float32)[:, None]
    if kind == "landscape":
        picture = paint(np.clip(1 - 0.6 * y + 0.1 * (fractal(rng, h, w, 1.6) - 0.5), 0, 1), ramp)
        for depth in range(3):
            ridge = (0.35 + 0.18 * depth + 0.25 * (fractal(rng, 8, w, 0.9)[0] - 0.5)) * h
            below = np.arange(h)[:, None] > ridge[None]
            ground = paint(field * rng.uniform(0.2, 0.7), palette(rng) if depth == 2 else ramp)
            picture = np.where(below[..., None], ground, picture)
    elif kind == "city":
        for _ in range(60):
            bw, bh = int(w * rng.uniform(0.03, 0.15)), int(h * rng.uniform(0.2, 0.8))
            x = int(rng.integers(0, w - bw))
            colour = ramp[rng.integers(0, 256)] * rng.uniform(0.5, 1)
            picture[h - bh :, x : x + bw] = colour * (0.85 + 0.15 * field[h - bh :, x : x + bw, None])
            step = max(6, bw // 6)
            picture[h - bh + step : h : 2 * step, x + step // 2 : x + bw] *= rng.uniform(0.4, 1.3)
    elif kind == "room":
        corner = int(w * rng.uniform(0.3, 0.7))
        shade = np.ones((h, w), np.float32)
        shade[:, :corner] *= np.linspace(0.9, 0.6, corner)[None]
        shade[int(h * 0.7) :] *= 0.7
        picture = ramp[rng.integers(90, 230)] * shade[..., None] * (0.95 + 0.1 * field[..., None])
        for _ in range(12):
            bw, bh = int(w * rng.uniform(0.04, 0.2)), int(h * rng.uniform(0.08, 0.35))
            x, top = int(rng.integers(0, w - bw)), int(rng.integers(0, h - bh))
            picture[top : top + bh, x : x + bw] = ramp[rng.integers(0, 256)] * (
                0.8 + 0.4 * fractal(rng, bh, bw)[..., None]
            )
    elif kind == "fog":
        picture = ramp[170] + (picture - ramp[128]) * rng.uniform(0.08, 0.2) + 30 * (y - 0.5)[..., None]
    elif kind == "night":
        picture = picture * rng.uniform(0.08, 0.2)
        for _ in range(int(rng.integers(20, 80))):
            centre = (int(rng.integers(0, w)), int(rng.integers(0, h)))
            cv2.circle(picture, centre, int(rng.integers(1, h // 40 + 2)), tuple(rng.uniform(80, 255, 3)), -1)
        picture = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 1.5)
    elif kind == "foliage":
        picture = paint(np.clip(0.5 + 1.2 * (fractal(rng, h, w, 0.1, 11) - 0.5), 0, 1), ramp) * (
            0.6 + 0.5 * field[..., None]
        )
    elif kind == "slide":
        picture = np.ascontiguousarray(np.full((h, w, 3), ramp[250]) * (1 - 0.1 * y[..., None])).astype(np.uint8)
        for row in range(int(rng.integers(4, 11))):
            text = "".join(rng.choice(list("abcdefghijk lmnopqrs tuvwxyz"), int(rng.integers(15, 60))))
            at = (int(w * rng.uniform(0.05, 0.4)), int(h * (0.12 + 0.08 * row)))
            cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, h / 700, ramp[20].tolist(), 2)
        if rng.random() < 0.6:
            bw, bh = w // 3, h // 3
            x, top = int(rng.integers(0, w - bw)), int(rng.integers(0, h - bh))
            picture[top : top + bh, x : x + bw] = paint(fractal(rng, bh, bw), palette(rng))
    elif kind == "stripes":
        x = np.linspace(0, 1, w, dtype=np.float32)[None]
        turn, count = rng.uniform(0, np.pi), rng.uniform(8, 40)
        wave = 0.5 + 0.5 * np.sin(2 * np.pi * count * (x * np.cos(turn) + y * np.sin(turn)))
        picture = paint(np.clip(0.25 + 0.5 * wave + 0.25 * (field - 0.5), 0, 1), ramp)
    return np.clip(picture, 0, 255).astype(np.uint8)


KINDS = ("fractal", "landscape", "city", "room", "fog", "night", "foliage", "slide", "stripes")
