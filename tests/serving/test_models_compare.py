"""`automations models compare` on a generated video, and its figures beside those of a computation of its own."""

import json
from pathlib import Path

import av
import numpy as np
import pytest

from models.base import Score
from models.catalog import load
from models.head_card import HeadCard
from models.heads import Layer, save
from pipeline.synthesis import Encoding, write_video
from tests.serving import commands
from tests.serving.graph.making import variant

JUDGE = "tests.serving.judges:Reds"
FRAMES = 24
"""At 2 frames a second, from 300 frames of 25 a second."""

automations = commands.automations_here
pytestmark = pytest.mark.slow


def scene(number: int, time_s: float) -> np.ndarray:
    """A red disc that moves, stripes, a blue square."""
    picture = np.full((120, 200, 3), (245, 245, 245), np.uint8)
    rows, columns = np.mgrid[:120, :200]
    if number == 0:
        picture[(rows - 60) ** 2 + (columns - 100 - 60 * np.sin(3 * time_s)) ** 2 < 36**2] = (218, 30, 35)
    elif number == 1:
        picture[(columns // 14) % 2 == 0] = (36, 158, 58)
    else:
        picture[26:94, 66:134] = (34, 66, 214)
    return picture


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    """Twelve seconds in three shots."""
    frames = (scene(min(n // 125, 2), n / 25) for n in range(300))
    return write_video(tmp_path_factory.mktemp("film") / "film.mp4", frames, fps=25, encoding=Encoding(gop=50))


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> str:
    """A model like the bundled one, but so far off that it says other things."""
    return variant(tmp_path_factory.mktemp("models"), 8, strength=0.08)


@pytest.fixture(scope="module")
def pixels(film) -> np.ndarray:
    """The frames that are compared, decoded here: those on screen at 0, 0.5, 1, ... seconds."""
    with av.open(str(film)) as container:
        every = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    times_s = np.array([time for time, _ in every]) - every[0][0]
    places = [int(np.searchsorted(times_s, at + 1e-3, side="right")) - 1 for at in np.arange(FRAMES) / 2]
    return np.stack([every[place][1] for place in places])


def alike(rows: np.ndarray) -> np.ndarray:
    return rows.astype(np.float64) @ rows.T.astype(np.float64)


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Still pictures are all equally alike: these share their mean rank."""

    def ranks(row: np.ndarray) -> np.ndarray:
        order = np.sort(row)
        first, last = (np.searchsorted(order, row, side=side) for side in ("left", "right"))
        return (first + last) / 2

    return float(np.corrcoef(*(ranks(np.round(row, 6)) for row in (a, b)))[0, 1])


def held(curve: np.ndarray) -> np.ndarray:
    """bool [N]: frames in which a label holds: a median over 3 s (5 samples), then stretches that stay above 0.35 and
    reach 0.5."""
    padded = [*curve[:1].repeat(2), *curve, *curve[-1:].repeat(2)]
    smooth = [sorted(padded[place : place + 5])[2] for place in range(len(curve))]
    holds = np.zeros(len(curve), bool)
    first = 0
    while first < len(curve):
        last = first
        while last < len(curve) and smooth[last] >= 0.35:
            last += 1
        holds[first:last] = max(smooth[first:last], default=0.0) >= 0.5
        first = last + 1
    return holds


def test_two_encoders_agree_as_their_own_vectors_and_words_say(automations, film, other, pixels, tmp_path):
    page = tmp_path / "compare.html"
    args = ("bundled", other, film, "--fps", 2, "--labels", "red,white,green,blue square", "--seconds", 0.1)
    code, out, err = automations(
        "models", "compare", *args, "--dtype-a", "float32", "--dtype-b", "float32", "--json", "--out", page
    )
    assert code == 0, err
    found = json.loads(out)
    video = found["videos"][0]
    assert (video["frames"], video["labels"], video["duration_s"]) == (FRAMES, 4, pytest.approx(12.0))

    models = [load(name, "cpu", "float32").model for name in ("bundled", other)]
    rows = [model.run(pixels) for model in models]
    assert [found[side]["space"] for side in "ab"] == [model.info.space for model in models]
    upper = np.triu_indices(FRAMES, 1)
    near = video["neighbourhoods"]
    assert near["spearman"] == pytest.approx(rank_correlation(*(alike(one)[upper] for one in rows)), abs=0.01)
    assert (near["nearest"], near["by_chance"]) == (4, pytest.approx(4 / 23))

    names = ["red", "white", "green", "blue square"]
    judged = [
        1 / (1 + np.exp(-(model.likelihood.scale * one @ model.embed_text(names).T + model.likelihood.bias)))
        for model, one in zip(models, rows, strict=True)
    ]
    tags = {tag["label"]: tag for tag in video["tags"]}
    # Each frame stands for half a second, so that a border may lie a sample further on.
    for place, name in enumerate(names):
        a, b = (held(one[:, place]) for one in judged)
        tag = tags.get(name, {"both_s": 0.0, "only_a_s": 0.0, "only_b_s": 0.0})
        for key, frames in (("both_s", a & b), ("only_a_s", a & ~b), ("only_b_s", ~a & b)):
            assert tag[key] == pytest.approx(frames.sum() / 2, abs=1.01), f"{name}: {key}"
    apart = {name for name, tag in tags.items() if tag["only_a_s"] + tag["only_b_s"] > 3}
    assert apart == {"red", "white", "green"}, "the other one is that far off"

    difference = sum(
        np.where((judged[0][:, place] >= 0.5) != (judged[1][:, place] >= 0.5), 1, 0)
        * np.abs(judged[0][:, place] - judged[1][:, place])
        for place in range(4)
    )
    worst = video["disagreements"][0]
    assert worst["labels"] == pytest.approx(difference.max(), abs=0.02)
    assert worst["time_s"] in (np.flatnonzero(difference > difference.max() - 0.05) / 2)
    assert 0 <= video["segments"]["overlap"] <= 1
    text = page.read_text("utf-8")
    assert text.count("data:image/jpeg;base64,") == len(video["disagreements"]) > 0


def test_a_model_in_two_arithmetics_is_compared_by_its_vectors(automations, film, pixels):
    args = ("bundled", "bundled", film, "--fps", 2, "--dtype-a", "float32", "--dtype-b", "bfloat16")
    code, out, err = automations("models", "compare", *args, "--seconds", 0.1, "--json")
    assert code == 0, err
    video = json.loads(out)["videos"][0]
    rows = [load("bundled", "cpu", dtype).model.run(pixels) for dtype in ("float32", "bfloat16")]
    cosines = (rows[0] * rows[1]).sum(1)
    assert video["cosines"]["mean"] == pytest.approx(cosines.mean(), abs=1e-3)
    assert video["cosines"]["lowest"] == pytest.approx(cosines.min(), abs=3e-3)
    assert 0.99 < video["cosines"]["lowest"] < 1.0
    assert video["agreement"] > 0.9
    assert video["segments"]["overlap"] > 0.9


def test_a_model_of_scores_is_compared_by_its_labels(automations, film, pixels):
    args = ("bundled", JUDGE, film, "--fps", 2, "--option-b", "threshold=0.3", "--seconds", 0.1)
    code, out, err = automations("models", "compare", *args, "--json")
    assert code == 0, err
    found = json.loads(out)
    video = found["videos"][0]
    assert (found["b"]["kind"], video["labels"], video["neighbourhoods"]) == ("scores", 2, None)
    tags = {tag["label"]: tag for tag in video["tags"]}
    assert set(tags) == {"red", "white"}, "a signal is no label"
    from tests.serving.judges import Reds

    says = Reds(0.3).run(pixels)
    red_s = (says[:, 0] >= 0.3).sum() / 2
    assert tags["red"]["both_s"] + tags["red"]["only_b_s"] == pytest.approx(red_s, abs=0.51)
    assert video["segments"] is not None, "a model that gives a signal chooses by it"

    code, out, err = automations(
        "models",
        "compare",
        JUDGE,
        JUDGE,
        film,
        "--fps",
        2,
        "--model",
        "bundled",
        *("--seconds", 0.1),
        *("--option-a", "threshold=0.3", "--option-b", "threshold=0.9"),
    )
    assert code == 0, err
    assert "beside the encoder bundled\n" in out
    assert "alike frames: not compared" in out
    row = next(line.split() for line in out.splitlines() if line.startswith("red "))
    assert float(row[1]) == pytest.approx(red_s, abs=0.51)
    assert row[2] == "s", "only A says red, for B is never sure enough"
    assert row[3] == "0%"


def test_a_head_reads_the_vectors_of_the_other_one_on_every_video(automations, film, pixels, tmp_path):
    encoder = load("bundled", "cpu", "float32").model
    words = encoder.embed_text(["red", "stripes"])
    card = HeadCard(
        name="looks",
        encoder="bundled",
        space=encoder.info.space,
        dim=encoder.info.dim,
        labels=(Score("red"), Score("stripes")),
    )
    likelihood = encoder.likelihood
    bias = np.full(2, likelihood.bias, np.float32)
    head = save(tmp_path / "looks.safetensors", [Layer(likelihood.scale * words, bias)], card)
    again = tmp_path / "again.mp4"
    again.write_bytes(film.read_bytes())
    args = ("bundled", f"head:{tmp_path / 'looks.safetensors'}", film, again, "--fps", 2, "--seconds", 0.1)
    code, out, err = automations("models", "compare", *args, "--dtype-a", "float32", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert [Path(video["path"]).name for video in found["videos"]] == ["film.mp4", "again.mp4"]
    assert (head.run(encoder.run(pixels)) >= 0.5).any(0).all(), "both labels are in the video"
    for video in found["videos"]:
        assert {tag["label"] for tag in video["tags"]} == {"red", "stripes"}
        # The head says what the words do: it has the same weights.
        assert video["agreement"] == pytest.approx(1.0)
        assert video["disagreements"] == []
    assert found["agreement"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("bundled", "bundled", "FILM"), "compared with itself"),
        (("bundled", "no-such-model", "FILM"), "[model_unavailable]"),
        (("bundled", JUDGE, "gone.mp4"), "[not_found]"),
        (("bundled", JUDGE, "FILM", "--option-b", "threshold"), "--option-b: 'threshold' is not of the form"),
        (("bundled", JUDGE, "FILM", "--labels", "a", "--vocabulary", "general"), "exclude each other"),
        (("bundled", JUDGE, "FILM", "--dtype-a", "float8"), "unknown arithmetic"),
    ],
)
def test_what_cannot_be_compared_is_one_line(automations, film, args, said):
    code, out, err = automations("models", "compare", *(film if arg == "FILM" else arg for arg in args))
    assert code == 2
    assert said in err
    assert len(err.splitlines()) == 1
    assert out == ""
