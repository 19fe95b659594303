"""Who takes part in `python -m benchmarks job`: usual scripts, this package, and what is possible."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.contender import ARCHITECTURE, BATCH, MODEL, Answer, Contender, Unavailable, serve

FRAMES_PER_S = 1.0


def make(name: str) -> Contender:
    """The contender of that name. Raises Unavailable where it cannot run here."""
    plain, _, dtype = name.partition("+")
    scripts = {"opencv": _opencv, "decord": _decord, "torchcodec": _torchcodec}
    if plain in scripts:
        return Script(scripts[plain], dtype or "float32")
    if plain == "floor":
        from benchmarks.floor import Floor

        return Floor()
    return {"ours-embed": OursEmbed, "ours-report": OursReport}[name]()


class Script:
    """A user's script: a reader of whole frames, open_clip's own transform through PIL, one forward pass a batch."""

    def __init__(self, reader: Callable[[], Callable[[Path], tuple[list, float]]], dtype: str) -> None:
        import open_clip
        import torch

        self._read = reader()
        # The catalogue's seed: equal weights, so that the embeddings must be equal too.
        torch.manual_seed(0)
        model, _, self._preprocess = open_clip.create_model_and_transforms(ARCHITECTURE, pretrained=None)
        self._dtype = getattr(torch, dtype)
        self._model = model.eval().to(self._dtype)

    def prepare(self, path: Path) -> None:
        """Nothing: a script pays for all that it does."""

    def run(self, path: Path) -> Answer:
        """See `Contender.run`."""
        import torch

        pictures, step_s = self._read(path)
        images = torch.stack([self._preprocess(picture) for picture in pictures]).to(self._dtype)
        with torch.no_grad():
            rows = [self._model.encode_image(batch, normalize=True) for batch in images.split(BATCH)]
        embeddings = torch.cat(rows).float().numpy()
        return Answer(np.arange(len(embeddings)) * step_s, embeddings)


def _opencv():
    import cv2
    from PIL import Image

    def read(path: Path) -> tuple[list, float]:
        capture = cv2.VideoCapture(str(path))
        rate = capture.get(cv2.CAP_PROP_FPS)
        step = round(rate / FRAMES_PER_S)
        pictures = []
        number = 0
        while True:
            there, frame = capture.read()
            if not there:
                break
            if number % step == 0:
                pictures.append(Image.fromarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)))
            number += 1
        capture.release()
        return pictures, step / rate

    return read


def _decord():
    try:
        import decord
    except (ImportError, OSError) as error:
        raise Unavailable(f"decord: {error}") from error
    from PIL import Image

    def read(path: Path) -> tuple[list, float]:
        reader = decord.VideoReader(str(path))
        rate = reader.get_avg_fps()
        step = round(rate / FRAMES_PER_S)
        frames = reader.get_batch(list(range(0, len(reader), step))).asnumpy()
        return [Image.fromarray(frame) for frame in frames], step / rate

    return read


def _torchcodec():
    try:
        # Imports without FFmpeg's libraries too, and fails at first use.
        from torchcodec.decoders import VideoDecoder
    except (ImportError, OSError, RuntimeError) as error:
        raise Unavailable(f"torchcodec: {_first_line(error)}") from error
    from PIL import Image

    def read(path: Path) -> tuple[list, float]:
        # All cores (0), because its default of one thread would be an easy victory.
        decoder = VideoDecoder(str(path), dimension_order="NHWC", num_ffmpeg_threads=0)
        rate = decoder.metadata.average_fps
        step = round(rate / FRAMES_PER_S)
        frames = decoder.get_frames_at(list(range(0, len(decoder), step))).data
        return [Image.fromarray(frame.numpy()) for frame in frames], step / rate

    try:
        VideoDecoder(b"")
    except (OSError, RuntimeError, ValueError) as error:
        if "libtorchcodec" in str(error) or "Could not load" in str(error):
            raise Unavailable("torchcodec: FFmpeg's shared libraries are not installed on this system") from error
    return read


class _Ours:
    """Puts the product together as its command line does."""

    def __init__(self) -> None:
        import asyncio
        from contextlib import ExitStack

        from serving.local import local_toolkit

        self._stack = ExitStack()
        self._toolkit = self._stack.enter_context(local_toolkit(MODEL))
        # One event loop for all videos, as in a server.
        self._runner = asyncio.Runner()

    def prepare(self, path: Path) -> None:
        """Nothing: indexing the file is part of the work."""


class OursEmbed(_Ours):
    """The same output as the scripts': embeddings at one frame per second."""

    def __init__(self) -> None:
        from pipeline.engine import LocalEngine
        from pipeline.toolkit import EMBEDDING

        super().__init__()
        whole = self._toolkit.engine
        self._engine = LocalEngine({EMBEDDING: whole.models[EMBEDDING]}, whole.decoder, whole.options)

    def run(self, path: Path) -> Answer:
        """See `Contender.run`."""
        return self._runner.run(self._embed(path))

    async def _embed(self, path: Path) -> Answer:
        from pipeline.dispatch import gather
        from pipeline.media import LocalMedia
        from pipeline.plans import plan
        from pipeline.sampling import choose
        from pipeline.spec import Sampling
        from pipeline.toolkit import EMBEDDING

        index = LocalMedia(path).inspect().index
        plans = plan(index, choose(index, Sampling(fps=FRAMES_PER_S)))
        found = await gather(LocalMedia(path), index, plans, self._engine)
        parts = {
            "decode_thread_s": found.decode_s,
            "preprocess_thread_s": found.preprocess_s,
            "infer_thread_s": found.infer_s,
            "packets_fed": found.packets,
            "packets_total": len(index),
        }
        return Answer(found.pts_s, found.arrays[EMBEDDING], parts)


class OursReport(_Ours):
    """What `automations analyze` runs, far more than the scripts do: shots, signals, segments, tags and sound too."""

    def __init__(self) -> None:
        try:
            import pipeline.analyze  # noqa: F401 - fails here and not at the first video
        except ImportError as error:
            raise Unavailable(f"the whole analysis cannot be imported: {error}") from error
        super().__init__()

    def run(self, path: Path) -> Answer:
        """See `Contender.run`."""
        from pipeline.analyze import analyze
        from pipeline.rescore import unpack
        from pipeline.spec import AnalysisSpec

        report = self._runner.run(analyze(path, AnalysisSpec(), self._toolkit))
        timings = report.timings
        parts = {
            "index_s": timings.index_s,
            "decode_thread_s": timings.decode_s,
            "preprocess_thread_s": timings.preprocess_s,
            "infer_thread_s": timings.infer_s,
            "analyse_s": timings.analyse_s,
            "packets_fed": report.decode.packets_fed,
            "packets_fed_shots": report.decode.packets_fed_shots,
        }
        stored = report.features.embeddings
        return Answer(np.array(stored.pts_s), unpack(stored), parts)


def main() -> None:
    """A contender's process."""
    # open_clip warns that the weights are random.
    logging.getLogger().setLevel(logging.ERROR)
    serve(lambda: make(sys.argv[1]))


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]


if __name__ == "__main__":
    main()
