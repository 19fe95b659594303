"""The training of the bundled model: its world, its language, its vocabulary, and that it learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.training.backgrounds import BACKGROUND_KINDS
from models.training.batches import Batches
from models.training.calibrate import fit_probabilities
from models.training.captions import (
    PHRASES,
    Caption,
    foreign_caption,
    known_words,
    object_caption,
    sample_caption,
)
from models.training.facts import FACTS, FALSE, TAUGHT, TRUE, UNCLEAR, answers, fact
from models.training.objectives import pair_loss
from models.training.outlines import SHAPES, outline
from models.training.sampling import SEEN_PAIRS, UNSEEN_PAIRS, sample_scene
from models.training.scenes import COLORS, HELD_OUT, Background, Camera, Object, Scene, Text, render
from models.training.tokenizer import learn_merges, load_tokenizer, write_bpe
from models.training.train import TrainingConfig, build_model, encode_captions, normalize, prepare_tokenizer, train

SEEDS = st.integers(0, 2**32 - 1)
TINY = TrainingConfig(
    shards=1, images=8, steps=3, warmup_steps=1, vision_layers=(1, 1, 1, 1), vision_width=8, text_width=32,
    text_layers=1, embed_dim=32,
)  # fmt: skip


def told(scene: Scene, *name: str) -> int:
    """The answer of a scene to one fact."""
    return int(answers(scene)[fact(*name)])


def holds(scene: Scene, caption: Caption) -> int:
    """The answer of a scene to a caption."""
    return int(answers(scene)[list(caption.facts)].min())


class TestScenes:
    @given(SEEDS)
    @settings(max_examples=20, deadline=None)
    def test_the_same_seed_gives_the_same_pixels(self, seed: int) -> None:
        first, second = (sample_scene(np.random.default_rng(seed)) for _ in range(2))
        assert first == second
        assert np.array_equal(render(first, 64, 36), render(second, 64, 36))

    @pytest.mark.parametrize("kind", BACKGROUND_KINDS)
    @pytest.mark.parametrize("size", [(64, 36), (33, 57)])
    def test_every_background_renders_at_any_size(self, kind: str, size: tuple[int, int]) -> None:
        pixels = render(Scene(Background(kind, "red", "white"), text=Text(("hello",))), *size)
        assert pixels.shape == (size[1], size[0], 3)
        assert pixels.dtype == np.uint8

    @pytest.mark.parametrize("shape", SHAPES)
    def test_an_object_is_where_the_scene_says(self, shape: str) -> None:
        scene = Scene(Background(color="white"), (Object(shape, "blue", x=0.25, y=0.5, size=0.5),))
        is_blue = (np.abs(render(scene, 160, 90).astype(int) - COLORS["blue"]) < 30).all(axis=2)
        assert is_blue[:, :80].sum() > 200
        assert not is_blue[:, 80:].any()
        moved = replace(scene, objects=(replace(scene.objects[0], x=0.75),))
        assert (np.abs(render(moved, 160, 90)[:, :80].astype(int) - COLORS["white"]) < 30).all()

    @pytest.mark.parametrize("shape", SHAPES)
    def test_outlines_have_diameter_one(self, shape: str) -> None:
        assert 0.4 < np.abs(outline(shape)).max() < 0.65

    def test_exposure_darkens_and_blows_out(self) -> None:
        plain = Scene(Background(color="gray"))
        levels = [render(replace(plain, camera=Camera(exposure=e)), 16, 16).mean() for e in (0.1, 1.0, 4.0)]
        assert levels[0] < 20 < levels[1] < 200 < levels[2]

    def test_unknown_words_are_refused(self) -> None:
        with pytest.raises(ValueError, match="shape"):
            Object("blob", "red")
        with pytest.raises(ValueError, match="size"):
            Object("circle", "red", size=0.0)
        with pytest.raises(ValueError, match="pixels"):
            render(Scene(), 4, 4)

    @given(SEEDS)
    @settings(max_examples=30, deadline=None)
    def test_training_never_draws_a_held_out_pair(self, seed: int) -> None:
        scene = sample_scene(np.random.default_rng(seed))
        assert not {(o.color, o.shape) for o in scene.objects} & HELD_OUT

    def test_every_color_and_shape_is_held_out_somewhere_and_seen_elsewhere(self) -> None:
        assert {c for c, _ in HELD_OUT} == set(COLORS)
        assert {s for _, s in HELD_OUT} == set(SHAPES)
        assert len(SEEN_PAIRS) + len(UNSEEN_PAIRS) == len(COLORS) * len(SHAPES)


class TestTruth:
    scene = Scene(
        Background(color="white"),
        (
            Object("circle", "red", x=0.2, size=0.15),
            Object("circle", "red", x=0.5, size=0.15),
            Object("star", "blue", x=0.8, size=0.5),
        ),
    )

    @pytest.mark.parametrize(
        ("name", "answer"),
        [
            (("object", "red", "circle", "any", "some"), TRUE),
            (("object", "red", "circle", "any", "two"), TRUE),
            (("object", "red", "circle", "any", "one"), FALSE),
            (("object", "red", "circle", "small", "plural"), TRUE),
            (("object", "red", "circle", "large", "some"), FALSE),
            (("object", "blue", "circle", "any", "some"), FALSE),
            (("object", "any", "star", "large", "some"), TRUE),
            (("object", "any", "any", "any", "three"), TRUE),
            (("object", "any", "any", "any", "many"), FALSE),
            (("object", "white", "any", "any", "some"), FALSE),
            (("color", "white"), TRUE),
            (("color", "red"), TRUE),
            (("color", "green"), FALSE),
            (("background", "white"), TRUE),
            (("background", "light"), TRUE),
            (("background", "red"), FALSE),
            (("kind", "stripes"), FALSE),
            (("condition", "text"), FALSE),
            (("condition", "blank"), FALSE),
            (("never",), FALSE),
        ],
    )
    def test_of_a_plain_scene(self, name: tuple[str, ...], answer: int) -> None:
        assert told(self.scene, *name) == answer

    def test_what_can_be_argued_about_is_unclear(self) -> None:
        dots = Scene(Background("dots", "red", "white"))
        assert told(dots, "object", "any", "circle", "any", "some") == UNCLEAR
        assert told(dots, "object", "any", "star", "any", "some") == FALSE
        dark = replace(self.scene, camera=Camera(exposure=0.1))
        assert told(dark, "object", "red", "circle", "any", "some") == UNCLEAR
        assert told(dark, "object", "any", "heart", "any", "some") == FALSE
        assert told(dark, "condition", "dark") == TRUE
        four = Scene(objects=tuple(Object("ring", "red", x=0.2 * i, size=0.15) for i in range(1, 5)))
        assert told(four, "object", "red", "ring", "any", "many") == UNCLEAR

    @given(SEEDS)
    @settings(max_examples=40, deadline=None)
    def test_what_is_drawn_is_never_denied(self, seed: int) -> None:
        scene = sample_scene(np.random.default_rng(seed))
        for item in scene.objects:
            assert told(scene, "object", item.color, item.shape, "any", "some") != FALSE
            assert told(scene, "color", item.color) != FALSE
        exact = [told(scene, "object", "any", "any", "any", n) for n in ("one", "two", "three", "four", "five")]
        assert exact.count(TRUE) <= 1

    @given(SEEDS)
    @settings(max_examples=40, deadline=None)
    def test_general_facts_follow_from_special_ones(self, seed: int) -> None:
        table = answers(sample_scene(np.random.default_rng(seed)))
        for color in COLORS:
            whole = table[fact("object", color, "any", "any", "some")]
            parts = [table[fact("object", color, shape, "any", "some")] for shape in SHAPES]
            assert whole >= max(parts) or whole == UNCLEAR

    def test_nothing_taught_directly_is_about_a_held_out_pair(self) -> None:
        assert not {FACTS[i][1:3] for i in TAUGHT if FACTS[i][0] == "object"} & HELD_OUT


class TestCaptions:
    @given(SEEDS)
    @settings(max_examples=60, deadline=None)
    def test_captions_name_no_held_out_pair_and_only_known_or_foreign_words(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        caption = sample_caption(rng, sample_scene(rng) if seed % 2 else None)
        assert not {FACTS[i][1:3] for i in caption.facts if FACTS[i][0] == "object"} & HELD_OUT
        if fact("never") not in caption.facts:
            assert set(caption.text.split()) <= set(known_words())

    def test_words_and_facts_agree(self) -> None:
        rng = np.random.default_rng(0)
        caption = object_caption(rng, "red", "square", count="two")
        assert set(caption.text.split()) & {"two", "2"}
        assert caption.text.endswith("red squares")
        scene = Scene(objects=(Object("square", "red", x=0.3, size=0.2), Object("square", "red", x=0.7, size=0.2)))
        assert holds(scene, caption) == TRUE
        assert holds(replace(scene, objects=scene.objects[:1]), caption) == FALSE

    def test_held_out_pairs_are_refused(self) -> None:
        with pytest.raises(ValueError, match="held out"):
            object_caption(np.random.default_rng(0), "red", "arrow")

    def test_every_phrase_has_a_fact(self) -> None:
        assert all(name in FACTS for name in PHRASES)

    def test_foreign_words_are_false_of_everything(self) -> None:
        rng = np.random.default_rng(0)
        assert all(holds(sample_scene(rng), foreign_caption(rng)) == FALSE for _ in range(20))


class TestTokenizer:
    def test_known_words_are_one_token_and_all_text_comes_back(self, tmp_path) -> None:
        tokenizer = prepare_tokenizer(tmp_path)
        assert all(len(tokenizer.encode(word)) == 1 for word in known_words())
        for text in ("a red circle", "two blue stars", "giraffe", "żółw 42"):
            assert tokenizer.decode(tokenizer.encode(text)).strip().replace(" ", "") == text.replace(" ", "")
        assert tokenizer.vocab_size < 1200

    @given(st.lists(st.text("abcde", min_size=1, max_size=6), min_size=1, max_size=8))
    @settings(max_examples=20, deadline=None)
    def test_merges_reach_every_word(self, words: list[str]) -> None:
        merges = {"".join(pair) for pair in learn_merges(words)}
        assert all(word + "</w>" in merges or len(word) == 1 for word in words)

    def test_equal_words_give_equal_bytes(self, tmp_path) -> None:
        write_bpe(tmp_path / "a.gz", ["red", "blue"])
        write_bpe(tmp_path / "b.gz", ["blue", "red", "red"])
        assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


class TestTraining:
    def test_a_few_steps_lower_the_loss_and_the_seed_decides(self, tmp_path) -> None:
        torch.set_num_threads(1)
        config = replace(TINY, steps=20, learning_rate=3e-3)
        first = train(config, tmp_path)
        assert first.steps == 20
        tokenizer = load_tokenizer(tmp_path)
        unseen = next(iter(Batches(tokenizer, size=config.image_size, images=48, seed=99)))

        def loss(model: torch.nn.Module) -> float:
            images = model.encode_image(normalize(unseen.pixels, config), normalize=True)
            captions = encode_captions(model, unseen.tokens)
            return float(pair_loss(model.logit_scale.exp() * images @ captions.T + model.logit_bias, unseen.truth))

        with torch.no_grad():
            assert loss(first.model) < loss(build_model(config, tokenizer.vocab_size).eval())
        again = train(config, tmp_path)
        for name, tensor in first.model.state_dict().items():
            assert torch.equal(tensor, again.model.state_dict()[name]), name

    def test_batches_repeat_with_the_seed(self, tmp_path) -> None:
        tokenizer = prepare_tokenizer(tmp_path)
        first, second = (next(iter(Batches(tokenizer, size=32, images=4, seed=3))) for _ in range(2))
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
        assert first.pixels.shape == (4, 3, 32, 32)
        assert first.truth.shape == (4, 8)

    def test_cutting_the_padding_changes_no_embedding(self, tmp_path) -> None:
        tokenizer = prepare_tokenizer(tmp_path)
        model = build_model(TINY, tokenizer.vocab_size).eval()
        tokens = tokenizer(["a red circle", "text"])
        whole = model.encode_text(tokens, normalize=True)
        assert torch.allclose(encode_captions(model, tokens[:, :6]), whole, atol=1e-5)
        assert load_tokenizer(tmp_path).encode("red") == tokenizer.encode("red")

    def test_unclear_pairs_teach_nothing(self) -> None:
        logits = torch.zeros(1, 3, requires_grad=True)
        pair_loss(logits, torch.tensor([[1, 0, -1]], dtype=torch.int8)).backward()
        assert logits.grad is not None
        assert logits.grad[0, 1] == 0
        assert logits.grad[0, 0] < 0 < logits.grad[0, 2]

    def test_calibration_finds_the_probabilities(self) -> None:
        generator = torch.Generator().manual_seed(0)
        cosine = torch.rand(200, 200, generator=generator) * 2 - 1
        chance = torch.sigmoid(8.0 * cosine - 4.0)
        truth = (torch.rand(200, 200, generator=generator) < chance).int() * 2 - 1
        prior = float((truth > 0).float().mean())
        scale, bias = fit_probabilities(cosine, truth, 1.0, 0.0, prior=prior)
        assert scale == pytest.approx(8.0, rel=0.1)
        assert bias == pytest.approx(-4.0, rel=0.1)
