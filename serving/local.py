"""Puts an analysis together for this process: the model that was asked for, a decoder, an engine. Composes, no more."""

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import ModelUnavailable
from pipeline.report import Notice
from pipeline.toolkit import EMBEDDING, STATS, Toolkit
from serving.allocator import limit_arenas


@contextmanager
def local_toolkit(model: str = "auto") -> Iterator[Toolkit]:
    """A toolkit whose engine runs in this process; its threads end with the block.

    Raises:
        ModelUnavailable: the model cannot be loaded; says why and what to do.
    """
    # Heavy imports live here so that `automations --help` and refusals of bad input are instant.
    from models import catalog
    from models.errors import ModelError
    from models.frame_stats import FrameStats
    from pipeline.decode.pyav import PyAVDecoder
    from pipeline.engine import LocalEngine

    limit_arenas()
    try:
        loaded = catalog.load(model)
    except ModelError as error:
        raise ModelUnavailable(str(error)) from error
    encoder = loaded.model
    engine = LocalEngine({EMBEDDING: encoder, STATS: FrameStats()}, PyAVDecoder())
    try:
        yield Toolkit(
            engine=engine,
            encoder=encoder,
            backend=engine.decoder.name,
            backend_reason="FFmpeg on the CPU, sparse: only the packets that the wanted frames need",
            notices=tuple(Notice(code=notice.code, message=notice.message) for notice in loaded.notices),
        )
    finally:
        engine.close()
