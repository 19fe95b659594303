"""Frame statistics on pictures whose answer is known."""

import numpy as np
import pytest
import torch

from models.base import FrameModel
from models.frame_columns import COLUMNS, LAYOUT, LOOKS, column
from models.frame_stats import FrameStats


def picture(height=90, width=160, rgb=(128, 128, 128)):
    return np.full((1, height, width, 3), rgb, np.uint8)


def noise(seed=0, height=90, width=160):
    return np.random.default_rng(seed).integers(0, 256, (1, height, width, 3), dtype=np.uint8)


def stat(pixels, name):
    return float(column(FrameStats().run(pixels), name)[0])


def test_it_is_a_measurement_with_one_row_a_frame():
    model = FrameStats()
    out = model.run(np.concatenate([noise(), picture()]))
    assert FrameModel in type(model).__mro__
    assert model.info.kind == "measurement"
    assert model.info.columns == COLUMNS
    assert out.shape == (2, model.info.dim)
    assert out.dtype == np.float32
    assert np.isfinite(out).all()


def test_no_frames_give_no_rows():
    assert FrameStats().run(np.zeros((0, 4, 4, 3), np.uint8)).shape == (0, len(COLUMNS))


@pytest.mark.parametrize("pixels", [np.zeros((2, 4, 4, 3), np.float32), np.zeros((4, 4, 3), np.uint8)])
def test_other_pixels_are_refused(pixels):
    with pytest.raises(ValueError, match="uint8"):
        FrameStats().run(pixels)


@pytest.mark.parametrize(("rgb", "exposure", "dark", "bright"), [((0, 0, 0), 0, 1, 0), ((255, 255, 255), 1, 0, 1)])
def test_black_and_white_are_clipped(rgb, exposure, dark, bright):
    assert stat(picture(rgb=rgb), "exposure") == pytest.approx(exposure, abs=1e-5)
    assert stat(picture(rgb=rgb), "dark") == dark
    assert stat(picture(rgb=rgb), "bright") == bright
    assert stat(picture(rgb=rgb), "sharpness") == 0


def test_half_black_half_white():
    pixels = picture(rgb=(255, 255, 255))
    pixels[:, :, :80] = 0
    assert stat(pixels, "exposure") == pytest.approx(0.5, abs=1e-5)
    assert stat(pixels, "contrast") == pytest.approx(0.5, abs=1e-5)
    assert stat(pixels, "dark") == pytest.approx(0.5)


def test_blurring_lowers_sharpness():
    sharp = noise()
    blurred = torch.nn.functional.avg_pool2d(torch.from_numpy(sharp).permute(0, 3, 1, 2).float(), 5, 1, 2)
    assert stat(sharp, "sharpness") > stat(blurred.permute(0, 2, 3, 1).byte().numpy(), "sharpness") + 1


def test_colourfulness_is_zero_for_gray_and_as_published_for_two_halves():
    assert stat(picture(), "colourfulness") == 0
    pixels = picture(rgb=(255, 0, 0))
    pixels[:, :, :80] = (0, 0, 255)
    # rg is 255 and 0, yb 127.5 and -255: standard deviations 127.5 and 191.25, means 127.5 and -63.75.
    expected = np.hypot(127.5, 191.25) + 0.3 * np.hypot(127.5, 63.75)
    assert stat(pixels, "colourfulness") == pytest.approx(expected, rel=1e-4)


def test_layout_says_where_the_colours_are():
    pixels = picture(rgb=(0, 0, 255))
    pixels[:, :45, :80] = (255, 0, 0)
    tiles = FrameStats().run(pixels)[0, LAYOUT].reshape(8, 8, 3)
    np.testing.assert_allclose(tiles[0, 0], (1, 0, 0), atol=1e-5)
    np.testing.assert_allclose(tiles[0, -1], (0, 0, 1), atol=1e-5)
    np.testing.assert_allclose(tiles[-1, 0], (0, 0, 1), atol=1e-5)


def test_looks_say_what_a_frame_is_made_of_wherever_it_lies():
    pixels = picture(rgb=(0, 0, 255))
    pixels[:, :, :80] = (255, 0, 0)
    looks = FrameStats().run(pixels)[0, LOOKS]
    colours, edges = looks[:64], looks[64:]
    assert colours[3] ** 2 == pytest.approx(0.5)  # blue is 0, 0, 3
    assert colours[48] ** 2 == pytest.approx(0.5)  # red is 3, 0, 0
    assert np.square(colours).sum() == pytest.approx(1.0)
    # Red's luma is above blue's: the one edge of the frame rises towards the left, direction 0 or its neighbour.
    assert edges[1:7].max() == 0
    assert edges.max() > 0
    np.testing.assert_allclose(FrameStats().run(pixels[:, ::-1])[0, LOOKS], looks, atol=1e-5)


def test_resolution_hardly_matters():
    small = noise(height=90, width=160)
    large = small.repeat(6, axis=1).repeat(6, axis=2)
    a, b = FrameStats().run(small), FrameStats().run(large)
    np.testing.assert_allclose(a[:, LAYOUT], b[:, LAYOUT], atol=0.03)
    assert column(a, "exposure") == pytest.approx(column(b, "exposure"), abs=0.01)


def test_torch_and_numpy_agree():
    pixels = noise(height=200, width=120)
    np.testing.assert_array_equal(FrameStats().run(pixels), FrameStats().run(torch.from_numpy(pixels)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_agrees():
    pixels = noise(height=720, width=1280)
    on_host, on_device = FrameStats().run(pixels), FrameStats().run(torch.from_numpy(pixels).cuda())
    np.testing.assert_allclose(on_host[:, LAYOUT], on_device[:, LAYOUT], atol=0.02)
