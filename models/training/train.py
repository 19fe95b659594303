"""Training: a small CLIP, the truth of every image-caption pair, and a sigmoid for each."""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import open_clip
import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import distributed
from torch.nn.functional import normalize as unit

from models.training.batches import Batch, Batches
from models.training.captions import known_words
from models.training.objectives import PlainQuestions, pair_loss
from models.training.tokenizer import BPE_FILE, CONTEXT_LENGTH, load_tokenizer, write_bpe

CHECKPOINT = "checkpoint.pt"
"""The raw weights, written now and then, and at the end for the process that started the training."""

PREPROCESS: dict[str, Any] = {
    "mean": [0.5, 0.5, 0.5],
    "std": [0.25, 0.25, 0.25],
    "interpolation": "bicubic",
    "resize_mode": "squash",  # keeps the whole frame: what happens at the edges of a video counts too
}


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Everything that decides what comes out of a training."""

    seed: int = 0
    steps: int = 12000
    shards: int = 2
    """Processes that learn side by side, one core each; their gradients are averaged after every step."""
    images: int = 32
    """Images a step and shard; captions are twice as many."""
    learning_rate: float = 8e-4
    weight_decay: float = 0.05
    warmup_steps: int = 100
    image_size: int = 64
    """Side of the square the model sees, pixels; a multiple of 32."""
    embed_dim: int = 192
    vision_layers: tuple[int, int, int, int] = (1, 2, 2, 1)
    vision_width: int = 16
    text_width: int = 96
    text_layers: int = 2
    preprocess: dict[str, Any] = field(default_factory=lambda: dict(PREPROCESS))

    def model_config(self, vocab_size: int) -> dict[str, Any]:
        """The `model_cfg` that open_clip builds the network from."""
        return {
            "embed_dim": self.embed_dim,
            "init_logit_scale": math.log(10.0),
            "init_logit_bias": -4.0,
            "vision_cfg": {
                "image_size": self.image_size,
                "layers": list(self.vision_layers),
                "width": self.vision_width,
                "head_width": 64,
                "patch_size": None,
            },
            "text_cfg": {
                "context_length": CONTEXT_LENGTH,
                "vocab_size": vocab_size,
                "width": self.text_width,
                "heads": 4,
                "layers": self.text_layers,
            },
        }


def prepare_tokenizer(directory: Path) -> SimpleTokenizer:
    """Write the vocabulary into `directory` and load it."""
    directory.mkdir(parents=True, exist_ok=True)
    write_bpe(directory / BPE_FILE, known_words())
    return load_tokenizer(directory)


def build_model(config: TrainingConfig, vocab_size: int) -> open_clip.CLIP:
    """The untrained network, its weights drawn from the seed."""
    torch.manual_seed(config.seed)
    model = open_clip.CLIP(**config.model_config(vocab_size))
    for name, parameter in model.visual.named_parameters():
        # open_clip starts residual branches at zero, for depth. In so shallow a tower it only hides the 3x3
        # convolutions, which are what tells shapes apart: colours were learnt and shapes were not.
        if name.endswith("bn3.weight"):
            torch.nn.init.ones_(parameter)
    return model


def normalize(pixels: torch.Tensor, config: TrainingConfig) -> torch.Tensor:
    """uint8 [N, 3, size, size] to what the vision tower takes: float32, same shape."""
    mean = torch.tensor(config.preprocess["mean"]).view(3, 1, 1)
    std = torch.tensor(config.preprocess["std"]).view(3, 1, 1)
    return ((pixels.float() / 255.0 - mean) / std).contiguous(memory_format=torch.channels_last)


def encode_captions(model: open_clip.CLIP, tokens: torch.Tensor) -> torch.Tensor:
    """`model.encode_text` for captions cut to their longest: float32 [captions, embed_dim], unit length.

    Attention looks back only, so leaving out the padding changes nothing but the time it takes.
    """
    length = tokens.shape[1]
    x = model.token_embedding(tokens) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    x = x[torch.arange(len(x)), tokens.argmax(dim=-1)]
    return unit(x @ model.text_projection, dim=-1)


class Trained(NamedTuple):
    """What a training gives."""

    model: open_clip.CLIP
    """In eval mode, not calibrated yet."""
    steps: int
    """Steps it took; fewer than planned when time ran short."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training stands, told after each step."""

    step: int
    """Steps done."""
    loss: float
    """Loss of the last step, captions only."""
    taught: float
    """Loss of the last step, plain questions only."""
    elapsed_s: float
    done: float
    """Share of the learning-rate schedule that is behind, 0 to 1."""


def report_progress(progress: Progress) -> None:
    """A line on stderr every 50 steps: logging is not set up in the processes that train."""
    if progress.step % 50 == 0:
        losses = f"{progress.loss:.4f} (captions) {progress.taught:.3f} (plain questions)"
        sys.stderr.write(f"step {progress.step}  loss {losses}  {progress.done:.1%}  {progress.elapsed_s:.0f} s\n")
        sys.stderr.flush()


def train(
    config: TrainingConfig,
    directory: Path,
    *,
    minutes: float = math.inf,
    on_step: Callable[[Progress], None] | None = None,
) -> Trained:
    """Train a model from scratch; `directory` gets the vocabulary and the raw weights.

    The same config gives the same weights, unless `minutes` runs short: then the schedule is hurried to its end.
    With more than one shard, the shards are processes and `on_step` must be picklable.
    """
    prepare_tokenizer(directory)
    if config.shards == 1:
        return _train_shard(0, config, directory, minutes, on_step)
    with tempfile.TemporaryDirectory() as meeting_place:
        args = (config, directory, minutes, on_step, f"file://{meeting_place}/store")
        torch.multiprocessing.spawn(_shard_process, args, nprocs=config.shards)
    model = build_model(config, load_tokenizer(directory).vocab_size)
    saved = torch.load(directory / CHECKPOINT)
    model.load_state_dict(saved["weights"])
    return Trained(model.eval(), saved["steps"])


def _shard_process(
    rank: int,
    config: TrainingConfig,
    directory: Path,
    minutes: float,
    on_step: Callable[[Progress], None] | None,
    store: str,
) -> None:
    # One thread a process: threads that share one step wait for each other at every layer, which on a busy
    # machine costs far more than averaging gradients once a step.
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=config.shards)
    try:
        _train_shard(rank, config, directory, minutes, on_step)
    finally:
        distributed.destroy_process_group()


def _train_shard(
    rank: int,
    config: TrainingConfig,
    directory: Path,
    minutes: float,
    on_step: Callable[[Progress], None] | None,
) -> Trained:
    tokenizer = load_tokenizer(directory)
    model = build_model(config, tokenizer.vocab_size).to(memory_format=torch.channels_last).train()
    questions = PlainQuestions(config.embed_dim)
    parameters = [*model.parameters(), *questions.parameters()]
    decayed = [p for p in parameters if p.ndim >= 2]
    others = [p for p in parameters if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=config.learning_rate,
        betas=(0.9, 0.98),
    )
    batches = Batches(tokenizer, size=config.image_size, images=config.images, seed=config.seed * 1000 + rank)
    stream = iter(batches)
    start = time.monotonic()
    done, step = 0.0, 0
    while done < 1.0 and step < config.steps:
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * _learning_curve(step, done, config)
        batch = next(stream)
        raw = model.encode_image(normalize(batch.pixels, config))
        images = unit(raw, dim=-1)
        captions = encode_captions(model, batch.tokens)
        loss = pair_loss(model.logit_scale.exp() * images @ captions.T + model.logit_bias, batch.truth)
        taught = questions(raw, batch.answers)
        optimizer.zero_grad(set_to_none=True)
        (loss + taught).backward()
        elapsed_s = time.monotonic() - start
        step += 1
        hurried = _average_shards(parameters, config.shards, elapsed_s / (60.0 * minutes))
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        done = max(step / config.steps, hurried)
        if rank == 0 and on_step is not None:
            on_step(Progress(step, float(loss.detach()), float(taught.detach()), elapsed_s, done))
        if rank == 0 and step % 200 == 0:
            torch.save({"weights": model.state_dict(), "steps": step}, directory / CHECKPOINT)
    _settle_batch_norm(model, stream, config)
    if rank == 0:
        torch.save({"weights": model.state_dict(), "steps": step}, directory / CHECKPOINT)
    return Trained(model.eval(), step)


def _average_shards(parameters: list[torch.nn.Parameter], shards: int, hurried: float) -> float:
    """Average the gradients, and the share of the time that is used up, over all shards; returns the latter."""
    if shards == 1:
        return hurried
    grads = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([*(g.reshape(-1) for g in grads), torch.tensor([hurried])])
    distributed.all_reduce(flat)
    flat /= shards
    for grad, mean in zip(grads, flat[:-1].split([g.numel() for g in grads]), strict=True):
        grad.copy_(mean.view_as(grad))
    return float(flat[-1])


@torch.no_grad()
def _settle_batch_norm(model: open_clip.CLIP, stream: Iterator[Batch], config: TrainingConfig) -> None:
    # The running averages still remember weights of a few steps ago; measure them once more, evenly, at the end.
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    for _ in range(min(40, config.steps)):
        model.encode_image(normalize(next(stream).pixels, config))


def _learning_curve(step: int, done: float, config: TrainingConfig) -> float:
    """Share of the peak learning rate: a line up, then half a cosine down to zero."""
    return min(1.0, (step + 1) / config.warmup_steps) * 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))
