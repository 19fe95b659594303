"""Puts an analysis together for this process: the model that was asked for, a decoder, an engine. Composes, no more."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pipeline.allocator import limit_arenas
from pipeline.decode.base import Decoder
from pipeline.errors import IsolationUnavailable
from pipeline.report import Notice
from pipeline.sandbox.client import Sandbox
from pipeline.toolkit import EMBEDDING, STATS, Toolkit
from serving.graph.args import ModelConfig
from serving.named_models import load_any, named_models
from serving.settings import DEFAULTS, Settings

if TYPE_CHECKING:
    from models.base import Encoder
    from models.catalog import Loaded
    from pipeline.decode.choice import Choice

_PLAIN: Final = ModelConfig()


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalToolkit(Toolkit):
    """A toolkit whose engine is here, so that pictures can be looked at, too."""

    decoder: Decoder
    """What the engine decodes with."""


Load = Callable[[str], "Loaded[Any]"]
"""From a name to a model. Raises ModelUnavailable."""


@contextmanager
def local_toolkit(
    model: str = "auto",
    sandbox: Sandbox | None = None,
    decoder: str = "auto",
    require_gpu: bool = False,
    settings: Settings = DEFAULTS,
    also: Sequence[str] = (),
    load: Load | None = None,
) -> Iterator[LocalToolkit]:
    """A toolkit whose engine runs in this process; its threads end with the block.

    Args:
        model: the encoder.
        sandbox: where videos are read and decoded; None starts one for as long as the block lasts.
        decoder: see `pipeline.decode.choice.choose`, as is `require_gpu`. Frames are decoded where the model runs, if
            they can be.
        settings: bounds on videos, and on the processes of a sandbox that is started here; and named models.
        also: models that look on besides.
        load: what they come from; None: `named_models` and the catalog.

    Raises:
        ModelUnavailable: a model cannot be loaded, or not be run beside the others; says why and what to do.
    """
    # Heavy imports live here so that `automations --help` and refusals of bad input are instant.
    from models.frame_stats import FrameStats
    from pipeline.batching import smaller_batches
    from pipeline.decode.choice import choose
    from pipeline.engine import EngineOptions, LocalEngine
    from pipeline.sandbox.decoder import SandboxedDecoder
    from pipeline.sandbox.media import SandboxedMedia
    from serving.beside import all_added, require_encoder

    limit_arenas()
    if sandbox is None:
        with (
            Sandbox(settings.worker) as own,
            local_toolkit(model, own, decoder, require_gpu, settings, also, load) as toolkit,
        ):
            yield toolkit
        return
    sandbox.start()  # meanwhile the model is loaded
    load = load or loader(settings)
    loaded = load(model)
    others = {name: load(name) for name in also}
    encoder = require_encoder(model, loaded.model)
    added = all_added({name: one.model for name, one in others.items()}, EMBEDDING, encoder.info)
    locked_in = SandboxedDecoder(sandbox)
    choice = choose(decoder, encoder.info.device, reference=locked_in, require_gpu=require_gpu)
    told = [notice for one in (loaded, *others.values()) for notice in one.notices]
    notices = [Notice(code=notice.code, message=notice.message) for notice in told]
    notices += isolation_notices(sandbox, choice)
    options = EngineOptions(batch_sizes=_batch_sizes(encoder))
    engine = LocalEngine({EMBEDDING: encoder, STATS: FrameStats()}, choice.decoder, options, added)
    try:
        yield LocalToolkit(
            engine=engine,
            encoder=encoder,
            decoding=choice.told,
            decoder=choice.decoder,
            open=partial(SandboxedMedia, sandbox=sandbox, limits=settings.input),
            notices=(*notices, *choice.notices),
            later=lambda: smaller_batches(engine.shrunk(), {EMBEDDING: model}),
            added={name: added[name].model.info for name in also},
        )
    finally:
        # Workers first: a thread that waits for one that hangs is then told.
        locked_in.close()
        engine.close()


def _batch_sizes(encoder: "Encoder") -> dict[str, int]:
    """On a GPU, by a measurement that is kept. On a CPU 32 frames are near the best for every network: there the cores
    take a batch apart anyway."""
    from models.sizing import size

    return {EMBEDDING: size(encoder).batch_size} if encoder.info.device.startswith("cuda") else {}


def loader(settings: Settings) -> Load:
    """Loads models of the settings' file by their names there, and others as the catalog does."""
    named = named_models(settings)
    return lambda name: load_any(named.get(name, _PLAIN), name)


def isolation_notices(sandbox: Sandbox, choice: "Choice | None" = None) -> tuple[Notice, ...]:
    """What the caller should know of how videos are read and decoded; starts a worker to find out. `choice`: what
    decodes; None where nothing does.

    Raises:
        IsolationUnavailable: something would decode outside of the sandbox, which must not be.
    """
    others = () if choice is None else choice.decoder.others
    if others and sandbox.required:
        raise IsolationUnavailable(f"{', '.join(others)} would decode in the server's own process; use --decoder pyav")
    missing = (*sandbox.isolation().missing, *(f"{name} decodes in this process" for name in others))
    told = "videos are read with less isolation than there should be"
    return tuple(Notice(code="not_isolated", message=f"{told}: {why}") for why in missing)
