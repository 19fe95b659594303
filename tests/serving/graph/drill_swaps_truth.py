"""What the models of `drill_swaps` make of its films, computed here, without a server."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from models import catalog
from models.base import ModelInfo
from models.catalog import Loaded
from models.frame_stats import FrameStats
from pipeline.analyze import analyze
from pipeline.decode.choice import choose
from pipeline.decode.pyav import PyAVDecoder
from pipeline.engine import LocalEngine
from pipeline.report import Report
from pipeline.spec import AnalysisSpec, Sampling
from pipeline.toolkit import EMBEDDING, STATS, Toolkit
from tests.serving.graph.drill_count import unlike
from tests.serving.graph.drill_swaps_load import FPS, TEXT, Vector

#: Arithmetic of all models: what comes out of one is then the same, whatever it is computed together with.
DTYPE: Final = "float32"

#: How far numbers of one vector may be apart. Those of two of these models are at least six times as far.
NEAR: Final = 2e-3


@dataclass(slots=True)
class Truth:
    """Models by their spaces, and what they see in films."""

    films: tuple[Path, ...]
    models: dict[str, Loaded] = field(default_factory=dict)
    _reports: dict[tuple[str, int], Report] = field(default_factory=dict)

    def add(self, source: str) -> ModelInfo:
        """Load a model, as `models.catalog.load` takes it. Raises ModelError."""
        loaded = catalog.load(source, dtype=DTYPE)
        self.models[loaded.model.info.space] = loaded
        return loaded.model.info

    async def difference(self, report: Report, film: int) -> str | None:
        """Between a report and what the model that it names sees in that film, in words; None where there is none."""
        spaces = [model.space for model in report.models]
        if len(spaces) != 1 or spaces[0] not in self.models:
            return f"its models are of the spaces {spaces}"
        expected = await self.report(spaces[0], film)
        # A server knows of its own isolation, and a video by the name that it was sent with.
        video = msgspec.structs.replace(expected.video, path=report.video.path)
        return unlike(report, msgspec.structs.replace(expected, video=video, warnings=report.warnings))

    def text_difference(self, vector: Vector) -> str | None:
        """Between the vector of a text and that by the model of the space that it names."""
        if vector.space not in self.models:
            return f"there is no model of the space {vector.space}"
        expected = self.models[vector.space].model.embed_text([TEXT])[0]
        found = np.array(vector.numbers)
        if found.shape != expected.shape:
            return f"it is of the shape {found.shape}, not {expected.shape}"
        far = float(np.abs(found - expected).max())
        return None if far <= NEAR else f"it is {far:g} from that of its model"

    async def report(self, space: str, film: int) -> Report:
        """What a model sees in a film, by its number. The first time it takes a second or two."""
        if (space, film) not in self._reports:
            model = self.models[space].model
            choice = choose("auto", model.info.device, reference=PyAVDecoder())
            engine = LocalEngine({EMBEDDING: model, STATS: FrameStats()}, choice.decoder)
            try:
                toolkit = Toolkit(engine=engine, encoder=model, decoding=choice.told)
                spec = AnalysisSpec(model="bundled", sampling=Sampling(fps=FPS))
                self._reports[space, film] = await analyze(self.films[film], spec, toolkit)
            finally:
                engine.close()
        return self._reports[space, film]
