"""Puts an analysis together for this process: the model that was asked for, a decoder, an engine. Composes, no more."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from pipeline.allocator import limit_arenas
from pipeline.errors import IsolationUnavailable, ModelUnavailable
from pipeline.report import Notice
from pipeline.sandbox.client import Sandbox
from pipeline.toolkit import EMBEDDING, STATS, Toolkit
from serving.settings import DEFAULTS, Settings


@contextmanager
def local_toolkit(
    model: str = "auto",
    sandbox: Sandbox | None = None,
    decoder: str = "auto",
    require_gpu: bool = False,
    settings: Settings = DEFAULTS,
) -> Iterator[Toolkit]:
    """A toolkit whose engine runs in this process; its threads end with the block.

    Args:
        sandbox: where videos are read and decoded; None starts one for as long as the block lasts.
        decoder: see `pipeline.decode.choice.choose`, as is `require_gpu`. Frames are decoded where the model runs, if
            they can be.
        settings: bounds on videos, and on the processes of a sandbox that is started here.

    Raises:
        ModelUnavailable: the model cannot be loaded; says why and what to do.
    """
    # Heavy imports live here so that `automations --help` and refusals of bad input are instant.
    from models import catalog
    from models.errors import ModelError
    from models.frame_stats import FrameStats
    from pipeline.decode.choice import choose
    from pipeline.engine import LocalEngine
    from pipeline.sandbox.decoder import SandboxedDecoder
    from pipeline.sandbox.media import SandboxedMedia

    limit_arenas()
    if sandbox is None:
        with Sandbox(settings.worker) as own, local_toolkit(model, own, decoder, require_gpu, settings) as toolkit:
            yield toolkit
        return
    sandbox.start()  # meanwhile the model is loaded
    try:
        loaded = catalog.load(model)
    except ModelError as error:
        raise ModelUnavailable(str(error)) from error
    encoder = loaded.model
    locked_in = SandboxedDecoder(sandbox)
    choice = choose(decoder, encoder.info.device, reference=locked_in, require_gpu=require_gpu)
    if choice.decoder.others and sandbox.required:
        names = ", ".join(choice.decoder.others)
        raise IsolationUnavailable(f"{names} would decode in the server's own process; use --decoder pyav")
    notices = [Notice(code=notice.code, message=notice.message) for notice in loaded.notices]
    notices += [
        Notice(code="not_isolated", message=f"videos are read with less isolation than there should be: {why}")
        for why in (
            *sandbox.isolation().missing,
            *(f"{name} decodes in this process" for name in choice.decoder.others),
        )
    ]
    engine = LocalEngine({EMBEDDING: encoder, STATS: FrameStats()}, choice.decoder)
    try:
        yield Toolkit(
            engine=engine,
            encoder=encoder,
            decoding=choice,
            open=partial(SandboxedMedia, sandbox=sandbox, limits=settings.input),
            notices=(*notices, *choice.notices),
        )
    finally:
        # Workers first: a thread that waits for one that hangs is then told.
        locked_in.close()
        engine.close()
