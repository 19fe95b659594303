"""Figures that can be checked by hand."""

import numpy as np
import pytest

from benchmarks import ratios

BF16 = {"float32_cpu_s": 0.1, "float32_wall_s": 0.05, "bfloat16_cpu_s": 1.1, "bfloat16_wall_s": 0.55}


def _contender(cpu_s: float, wall_s: float) -> dict:
    return {"cpu_s": cpu_s, "wall_s": wall_s, "frames": 10}


def _vectors(count: int = 6) -> dict[str, np.ndarray]:
    rows = np.random.default_rng(3).standard_normal((count, 8)).astype(np.float32)
    return {"times_s": np.arange(count, dtype=float), "embeddings": rows / np.linalg.norm(rows, axis=1, keepdims=True)}


def test_agreement_of_the_same_vectors():
    found = ratios.agreement(_vectors(), _vectors())
    assert found["same_times"]
    assert found["cosine_min"] == pytest.approx(1)
    assert found["matched"] == 1


def test_agreement_notices_a_shift_by_one_frame():
    ours, theirs = _vectors(), _vectors()
    theirs["embeddings"] = np.roll(theirs["embeddings"], 1, axis=0)
    found = ratios.agreement(ours, theirs)
    assert found["same_times"]
    assert found["matched"] == 0


def test_agreement_notices_a_lost_frame():
    assert not ratios.agreement(_vectors(6), _vectors(5))["same_times"]


def test_the_floor_takes_the_cheaper_network():
    parts = {"decode_cpu_s": 1, "decode_wall_s": 0.5, "eager_cpu_s": 3, "eager_wall_s": 1.5, "decoded_frames": 20}
    runs = [{"frames": 10, "parts": parts | {"tower_cpu_s": cpu, "tower_wall_s": cpu / 2}} for cpu in (1.9, 2, 9)]
    floor = ratios.floor_summary(runs, cores=2)
    assert floor["network"] == "the product's tower"
    assert (floor["cpu_s"], floor["wall_ideal_s"], floor["wall_measured_s"]) == (3, 1.5, 1.5)


def test_ratios_and_goals_of_one_video():
    contenders = {"ours-embed": _contender(4, 2), "opencv": _contender(12, 8), "decord": _contender(6, 5)}
    floor = {"cpu_s": 3.0, "wall_measured_s": 1.5, "wall_ideal_s": 1.5}
    found = ratios.video_ratios(contenders, floor, BF16)
    assert found["opencv"] == {"cpu": 3, "wall": 4}
    assert found["opencv+bfloat16"] == {"cpu": 22 / 4, "wall": 13 / 2}
    assert found["opencv_ceiling"]["cpu"] == 4
    means = ratios.geometric_means([{"ratios": found}, {"ratios": found}])
    verdicts = {goal["goal"]: (goal["met_cpu"], goal["met_wall"]) for goal in ratios.goals(means)}
    assert verdicts["at least 3x opencv, float32"] == (True, True)
    assert verdicts["at least 2x decord, float32"] == (False, True)
    assert verdicts["not below opencv, bfloat16"] == (True, True)
    assert verdicts["within 1.2x of the floor"] == (False, False)


def test_geometric_mean_is_no_arithmetic_one():
    videos = [{"ratios": {"opencv": {"cpu": value}}} for value in (1.0, 4.0)]
    assert ratios.geometric_means(videos)["opencv"]["cpu"] == 2
