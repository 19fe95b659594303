"""A library of scenes that the bundled model knows, and queries whose answers are known."""

from dataclasses import dataclass, replace

import numpy as np

from models.base import Encoder
from models.training.batches import truth_table
from models.training.captions import FOREIGN_WORDS, Caption
from models.training.evaluate import STRANGERS, labels
from models.training.facts import ANY, TRUE, answers, fact
from models.training.sampling import ALL_PAIRS, Pair, sample_scene
from models.training.scenes import Camera, Scene, render

#: Kinds of scenes, as often as they come.
KINDS = ("one",) * 14 + ("texture",) * 2 + ("text", "blank", "static", "gradient")

#: Pairs of colours and shapes that may be in a library; the others are absent from it.
PAIRS = 80

#: Samples of a video, and how far its shapes move from one to the next.
SAMPLES, STEP = 4, 0.02

#: The model's card says that shapes below a quarter of the frame are not known to it.
LEAST_SIZE = 0.35

SIZE = (256, 192)


@dataclass(frozen=True, slots=True)
class Library:
    """V videos of `SAMPLES` frames each, and what is true of them."""

    vectors: np.ndarray
    """float32 [V, SAMPLES, D]."""
    texts: tuple[str, ...]
    truth: np.ndarray
    """int8 [V, texts]: 1 true, -1 false, 0 not clear."""
    pictures: tuple[np.ndarray, ...]
    """uint8 [H, W, 3] each, of a pair of colour and shape: others than those of the library."""
    picture_truth: np.ndarray
    """int8 [V, pictures]."""


def library(model: Encoder, videos: int, seed: int) -> Library:
    """The same for the same seed."""
    rng = np.random.default_rng(seed)
    pairs = [ALL_PAIRS[at] for at in rng.permutation(len(ALL_PAIRS))[:PAIRS]]
    scenes = [known_scene(rng, pairs, str(rng.choice(KINDS))) for _ in range(videos)]
    asked = [*labels(), *(Caption(word, (fact("never"),)) for word in (*STRANGERS, *FOREIGN_WORDS[:40]))]
    frames = (np.stack([render(moved(scene, step), *SIZE) for step in range(SAMPLES)]) for scene in scenes)
    wanted = [Caption(f"{color} {shape}", (fact("object", color, shape, ANY, "some"),)) for color, shape in ALL_PAIRS]
    table = np.stack([answers(scene) for scene in scenes])
    return Library(
        vectors=np.stack([model.run(some) for some in frames]),
        texts=tuple(caption.text for caption in asked),
        truth=truth_table(table, asked),
        pictures=tuple(render(_clear(rng, pair), *SIZE) for pair in ALL_PAIRS),
        picture_truth=truth_table(table, wanted),
    )


def known_scene(rng: np.random.Generator, pairs: list[Pair], kind: str) -> Scene:
    """One that the model's card says it knows: nothing wrong with the camera, no shape too small or on a texture."""
    while True:
        try:
            scene = sample_scene(rng, pairs=pairs, kind=kind)
        except ValueError:
            # Not to be seen on the background that was drawn.
            continue
        scene = replace(scene, camera=Camera(seed=scene.camera.seed))
        plain = scene.text is None and scene.background.kind in ("plain", "gradient")
        if not scene.objects or (plain and scene.objects[0].size >= LEAST_SIZE):
            return scene


def moved(scene: Scene, step: int) -> Scene:
    """The scene `step` samples later."""
    objects = tuple(replace(item, x=min(0.9, max(0.1, item.x + STEP * step))) for item in scene.objects)
    return replace(scene, objects=objects, camera=replace(scene.camera, seed=scene.camera.seed + step))


def _clear(rng: np.random.Generator, pair: Pair) -> Scene:
    while True:
        scene = known_scene(rng, [pair], "one")
        if answers(scene)[fact("object", *pair, ANY, "some")] == TRUE:
            return scene
