"""What a frame looks like, of pictures that are changed as copies are."""

import numpy as np
import pytest

from models.frame_columns import COLUMNS
from models.frame_stats import FrameStats
from models.training.sampling import sample_scene
from models.training.scenes import render
from pipeline.looks import DIM, SPACE, looks


def pictures(count: int = 60) -> np.ndarray:
    """uint8 [N, 144, 256, 3], of scenes with several things."""
    rng = np.random.default_rng(4)
    drawn = (sample_scene(rng) for _ in range(10 * count))
    scenes = [scene for scene in drawn if len(scene.objects) > 1 and 0.7 < scene.camera.exposure < 1.3]
    drawn = (render(scene, 256, 144) for scene in scenes)
    return np.stack([picture for picture in drawn if picture.std(axis=(0, 1)).max() > 12][:count])


def vectors(pixels: np.ndarray) -> np.ndarray:
    return looks(FrameStats().run(np.ascontiguousarray(pixels)))


def brighter(pixels: np.ndarray) -> np.ndarray:
    return np.clip(pixels * 1.12, 0, 255).astype(np.uint8)


def cropped(pixels: np.ndarray) -> np.ndarray:
    return pixels[:, 7:-7, 12:-12]


def signed(pixels: np.ndarray) -> np.ndarray:
    pixels = pixels.copy()
    pixels[:, 8:28, 8:48] = (200, 20, 90)
    return pixels


@pytest.mark.parametrize("change", [brighter, cropped, signed, lambda pixels: pixels[:, ::2, ::2]])
def test_a_changed_picture_is_nearest_to_its_original(change):
    originals = pictures()
    own = vectors(originals)
    nearest = (vectors(change(originals)) @ own.T).argmax(1)
    assert len(own) == 60
    assert np.mean(nearest == np.arange(len(own))) >= 0.95


def test_vectors_have_the_length_one_and_flat_frames_none():
    own = vectors(pictures(8))
    assert own.shape == (8, DIM)
    assert own.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(own, axis=1), 1.0, atol=1e-5)
    flat = np.stack([np.full((90, 160, 3), level, np.uint8) for level in (0, 128, 255)])
    assert not vectors(flat).any()
    assert looks(np.zeros((0, len(COLUMNS)), np.float32)).shape == (0, DIM)


def test_places_tell_two_pictures_of_the_same_colours_apart():
    left = np.zeros((1, 90, 160, 3), np.uint8)
    left[:, :, :60] = (220, 40, 40)
    similarity = float((vectors(left) @ vectors(left[:, :, ::-1]).T)[0, 0])
    assert similarity < 0.6


def test_the_space_is_what_libraries_have_stored():
    # Another number here makes all stored vectors useless: raise VERSION, and say so in the changelog.
    assert (SPACE, DIM) == ("5da660c8b56b12da", 147)
