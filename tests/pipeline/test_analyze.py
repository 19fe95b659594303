"""What becomes of an analysis whose parts fail; whole analyses are run by `tests.serving.test_cli`."""

import asyncio
import gc
import time
from collections.abc import Generator
from typing import Any, cast

import pytest

from pipeline.analyze import analyze
from pipeline.clips import Clip
from pipeline.decode.choice import choose
from pipeline.engine import LocalEngine
from pipeline.errors import CorruptVideo
from pipeline.media import LocalMedia
from pipeline.spec import AnalysisSpec
from pipeline.toolkit import TextTower, Toolkit


class Twice(LocalMedia):
    """Its sound fails at once, and its pictures later or earlier than that."""

    pictures_after_s = 0.0
    sound_after_s = 0.0

    def listen(self, **_: Any):
        """Never works."""
        time.sleep(self.sound_after_s)
        raise CorruptVideo("the sound")

    def clips(self, *_: Any, **__: Any) -> Generator[Clip]:
        """Never works."""
        time.sleep(self.pictures_after_s)
        raise CorruptVideo("the pictures")
        yield


@pytest.mark.parametrize(("pictures_s", "sound_s"), [(0.3, 0.0), (0.0, 0.3)])
def test_of_two_failures_one_is_raised_and_none_is_left_behind(video, monkeypatch, pictures_s, sound_s):
    monkeypatch.setattr(Twice, "pictures_after_s", pictures_s)
    monkeypatch.setattr(Twice, "sound_after_s", sound_s)
    decoding = choose("pyav")
    engine = LocalEngine({}, decoding.decoder)
    toolkit = Toolkit(engine=engine, encoder=cast(TextTower, None), decoding=decoding.told, open=Twice)
    complaints: list[str] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, said: complaints.append(said["message"]))
        with pytest.raises(CorruptVideo, match="the pictures"):
            await analyze(video("h264-gop12-cfr"), AnalysisSpec(), toolkit)
        await asyncio.sleep(sound_s + 0.1)
        gc.collect()

    try:
        asyncio.run(run())
    finally:
        engine.close()
    assert complaints == []
